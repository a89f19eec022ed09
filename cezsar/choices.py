"""The names that can be chosen from: each list stands here alone, for options, settings, receipts and messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

DEVICES = ("auto", "cpu", "cuda")
STREAMS = ("visual", "object", "visual_object")
RUNNERS = ("threads", "ray")

# how a model is trained
PRESETS = ("lite", "bit")
LOSSES = ("infonce", "triplet", "both")
NEGATIVES = ("batch", "band", "semi-hard")
OBJECT_NEGATIVES = ("caption", "own")
DISTANCES = ("unit", "layernorm")
SCHEDULES = ("cosine", "constant")
PRECISIONS = ("no", "fp16", "bf16", "double")

# what a benchmark asks; its datasets are in cezsar.datasets
SENTENCES = ("names", "ours")  # or a file of them
PROTOTYPES = ("nearest", "mean")
CORRECTIONS = ("none", "csls", "inverted-softmax", "refine")

# how answers are printed
CLASSIFY_FORMATS = ("table", "json", "csv")
QUERY_FORMATS = (*CLASSIFY_FORMATS, "paths")
ListFormat: TypeAlias = Literal["edl", "fcpxml", "otio", "m3u", "csv", "json", "sheet"]  # of all hits
LISTS: tuple[str, ...] = get_args(ListFormat)
ExportFormat: TypeAlias = Literal["clips", ListFormat]
EXPORTS: tuple[str, ...] = get_args(ExportFormat)

# how videos are looked through without a query: what came last, what was recorded last, or by path
VideoOrder: TypeAlias = Literal["added", "recorded", "name"]


def not_one_of(name: str, value: object, choices: Sequence[str]) -> str:
    """The error text, without a full stop, for a value that is none of the choices."""
    return f"{name} must be one of {', '.join(choices)}, not {value!r}"
