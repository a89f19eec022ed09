"""The files of --out: the receipt, the figures, and one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from cezsar.errors import VideoError
from cezsar.files import write
from cezsar.query.benchmark.drawing import draw
from cezsar.query.benchmark.run import Result, Scored
from cezsar.query.benchmark.tables import results
from cezsar.tables import Column, Table
from cezsar.types import Limits
from cezsar.video import Decoder, Pool

_WORST = 10
_THUMBNAIL_PX = 160
_TITLES = {
    "confusion.png": "Confusion matrix",
    "classes.png": "Accuracy of each class",
    "tsne.png": "t-SNE of clips and class prototypes",
    "curve.png": "Accuracy against number of classes",
}
_PAGE = Environment(autoescape=True, trim_blocks=True, undefined=StrictUndefined)


@dataclass(frozen=True, slots=True)
class _Picture:
    """An inline image and the words in its place, or, without a source, words alone."""

    words: str
    source: str = ""


def write_report(out: Path, result: Result, *, limits: Limits | None = None) -> None:
    """receipt.json and report.html in out, and of a classification the figures of its first task; each appears whole.

    limits are those of decoding a video for its picture, None the defaults. Raises OSError.
    """
    out.mkdir(parents=True, exist_ok=True)
    receipt = json.dumps(result.receipt, indent=1, ensure_ascii=True) + "\n"
    write(out / "receipt.json", receipt.encode())
    images: dict[str, bytes] = {}
    if result.scored:
        first = result.receipt["tasks"][0]
        images = draw(result.scored[0], first["confusions"], first["by_class"])
        for name, data in images.items():
            write(out / name, data)
    template = (files("cezsar.query") / "benchmark" / "report.html").read_text(encoding="utf-8")
    page = _PAGE.from_string(template).render(_content(result, images, receipt, limits))
    write(out / "report.html", page.encode())


def _content(result: Result, images: dict[str, bytes], receipt: str, limits: Limits | None) -> dict[str, Any]:
    """What the page is filled with: text that the template escapes, and images of our own."""
    about = result.receipt
    worst = _worst(result.scored[0], about["tasks"][0]["confusions"], limits) if result.scored else (None, [])
    return {
        "title": f"{about['request']['dataset']}, {about['protocol']}: {about['model']['name']}",
        "facts": _facts(about),
        "heading": f"{'Accuracy' if result.scored else 'Retrieval'} (%), with 95% intervals",
        "results": results(about),
        "figures": [_Picture(_TITLES[name], _inline(data)) for name, data in images.items()],
        "confusions": worst[0],
        "clips": worst[1],
        "receipt": receipt,
    }


def _facts(about: dict[str, Any]) -> Table:
    clips, request = about["clips"], about["request"]
    rows = (
        ("model", f"{about['model']['name']} ({about['model']['streams']})"),
        ("clips judged", f"{clips['found']:,}" + (f" of {clips['listed']:,}" if clips["listed"] else "")),
        ("missing", f"{len(clips['missing']):,}"),
        ("sentences", f"{about['sentences']['source']}, {about['sentences']['count']:,}"),
        *([("labels", about["labels"]["method"])] if "labels" in about else []),
        ("prototypes", request["prototypes"]),
        ("correction", request["correction"]),
        *(("note", note) for note in about["notes"]),
    )
    return Table((Column(""), Column("")), rows)


def _worst(scored: Scored, confusions: Sequence[Sequence[int]], limits: Limits | None) -> tuple[Table, list[_Picture]]:
    """The pairs of classes that are confused most often, and a picture of one clip of each."""
    counts = np.array(confusions)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:_WORST]
    predicted, names = scored.predicted, scored.task.classes
    rows, pictures = [], []
    with Pool(limits) as pool, pool.decoder() as decoder:
        for right, taken in zip(*np.unravel_index(order, counts.shape), strict=True):
            if counts[right, taken]:
                clip = int(np.flatnonzero((scored.targets == right) & (predicted == taken))[0])
                path = scored.task.clips[clip].path
                pictures.append(_thumbnail(path, decoder))
                rows.append((names[right], names[taken], f"{counts[right, taken]:,}", path.name))
    columns = (Column("class"), Column("taken for"), Column("clips", is_number=True), Column("one of them"))
    return Table(columns, tuple(rows)), pictures


def _thumbnail(path: Path, decoder: Decoder) -> _Picture:
    """A frame of its first seconds; words if it cannot be read any more."""
    from matplotlib.image import imsave

    try:
        with closing(decoder.sample(path, fps=1, short_side=_THUMBNAIL_PX, batch_size=4)) as batches:
            frames = next(batches).frames_uint8
    except VideoError as error:
        return _Picture(str(error))
    buffer = io.BytesIO()
    imsave(buffer, frames[-1].transpose(1, 2, 0), format="png")
    return _Picture("", _inline(buffer.getvalue()))


def _inline(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
