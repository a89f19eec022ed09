"""The fields of a CEZSAR model's config.json: their kinds and least values, to read one without transformers."""

from __future__ import annotations

from collections.abc import Mapping

from cezsar.records import value

ALONG = 0.5  # of a sentence's vector along the diagonal, where there is a query bank
KINDS: dict[str, type] = {  # what is ours; transformers adds its own, other ones in each version
    "backbone": str, "backbone_sha256": str, "sentence_encoder": str, "sentence_encoder_sha256": str,
    "feature_dim": int, "sentence_dim": int, "image_size": int, "fps": float, "num_frames": int, "joint_dim": int,
    "d_model": int, "num_heads": int, "feedforward_dim": int, "dropout": float, "text_dropout": float,
    "num_memories": int, "memory_dim": int, "num_objects": int, "top_objects": int, "object_temperature": float,
    "streams": str, "visual_weight": float, "memory_blocks": int, "querybank_size": int,
    "querybank_temperature": float, "querybank_share": float,
}  # fmt: skip
OWN_FIELDS = tuple(KINDS)
LATER: dict[str, int | float] = {
    "memory_blocks": 1,
    "querybank_size": 0,
    "querybank_temperature": 0.05,
    "querybank_share": 0.25,
}  # with what a config that was written before holds in effect
_NOT_OF_THE_SPACE = ("backbone", "sentence_encoder", "fps")  # their weights have fingerprints
_MOST = 1e9
_LEAST = {  # of the whole numbers; the others may be 0
    "feature_dim": 1, "sentence_dim": 1, "image_size": 1, "num_frames": 1, "joint_dim": 1, "num_heads": 1,
    "feedforward_dim": 1, "memory_dim": 1, "top_objects": 1, "memory_blocks": 1,
}  # fmt: skip


def check(values: Mapping[str, object]) -> None:
    """Raise ValueError on a field of ours that has another type than it should, or is too small."""
    if not isinstance(values, Mapping):
        raise ValueError("it is not a JSON object")
    for name, kind in KINDS.items():
        found = value(kind, values.get(name, LATER.get(name)), name)
        if kind is not str and not _LEAST.get(name, 0) <= found < _MOST:
            raise ValueError(f"{name} cannot be {found!r}")


def own(values: Mapping[str, object]) -> dict[str, object]:
    """The fields that define the space: models with equal fields and equal weights are one encoder."""
    return {
        name: values[name]
        for name in OWN_FIELDS
        if name not in _NOT_OF_THE_SPACE and (name not in LATER or values.get(name, LATER[name]) != LATER[name])
    }
