"""What --out holds: the receipt, the figures, and one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from cezsar.errors import VideoError
from cezsar.files import write
from cezsar.query.benchmark.drawing import draw
from cezsar.query.benchmark.run import Result, Scored
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
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 2rem 0; } img { max-width: 100%; height: auto; }
pre { background: #f4f4f4; padding: 1rem; overflow: auto; max-height: 30rem; font-size: 13px; }
"""


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
    write(out / "report.html", "\n".join(_page(result, images, receipt, limits)).encode())


def _page(result: Result, images: dict[str, bytes], receipt: str, limits: Limits | None) -> Iterator[str]:
    about = result.receipt
    title = f"{about['request']['dataset']}, {about['protocol']}: {about['model']['name']}"
    yield f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{html.escape(title)}</title>"
    yield f"<style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>"
    yield from _facts(about)
    yield from _accuracies(about["tasks"], about["summary"], about["std_ddof"]) if "tasks" in about else _recalls(about)
    for name, data in images.items():
        yield f"<figure><img alt='{_TITLES[name]}' src='{_inline(data, 'png')}'></figure>"
    if result.scored:
        yield from _worst(result.scored[0], about["tasks"][0]["confusions"], limits)
    yield f"<h2>Receipt</h2><pre>{html.escape(receipt)}</pre></body></html>"


def _facts(about: dict[str, Any]) -> Iterator[str]:
    clips, request = about["clips"], about["request"]
    rows = [
        ("model", f"{about['model']['name']} ({about['model']['streams']})"),
        ("clips judged", f"{clips['found']:,}" + (f" of {clips['listed']:,}" if clips["listed"] else "")),
        ("missing", f"{len(clips['missing']):,}"),
        ("sentences", f"{about['sentences']['source']}, {about['sentences']['count']:,}"),
        *([("labels", about["labels"]["method"])] if "labels" in about else []),
        ("prototypes", request["prototypes"]),
        ("correction", request["correction"]),
        *(("note", note) for note in about["notes"]),
    ]
    yield from _table(("", ""), rows)


def _accuracies(tasks: Sequence[dict[str, Any]], summary: dict[str, Any], ddof: int) -> Iterator[str]:
    names = ("top_1", "top_5", "mean_class")
    rows = [
        (task["name"], task["num_classes"], task["num_clips"], *(_interval(task[name]) for name in names))
        for task in tasks
    ]
    if len(tasks) > 1:
        rows.append(
            (
                f"mean ± std over runs, ddof {ddof}",
                "",
                "",
                *(f"{100 * summary[n]['mean']:.1f} ± {100 * summary[n]['std']:.1f}" for n in names),
            )
        )
    yield "<h2>Accuracy (%), with 95% intervals</h2>"
    yield from _table(("", "classes", "clips", "top-1", "top-5", "class mean"), rows)


def _recalls(about: dict[str, Any]) -> Iterator[str]:
    rows = []
    for name, key in (("text to video", "text_to_video"), ("video to text", "video_to_text")):
        found = about[key]
        recalls = [_interval(found[f"recall_{k}"]) for k in (1, 5, 10)]
        rows.append((name, *recalls, f"{found['median_rank']:g}", f"{found['mean_rank']:.1f}"))
    yield "<h2>Retrieval (%), with 95% intervals</h2>"
    yield from _table(("", "recall@1", "recall@5", "recall@10", "median rank", "mean rank"), rows)


def _worst(scored: Scored, confusions: Sequence[Sequence[int]], limits: Limits | None) -> Iterator[str]:
    """The pairs of classes that are confused most often, each with one of the clips."""
    counts = np.array(confusions)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:_WORST]
    predicted = scored.predicted
    rows = []
    with Pool(limits) as pool, pool.decoder() as decoder:
        for right, taken in zip(*np.unravel_index(order, counts.shape), strict=True):
            if counts[right, taken]:
                clip = int(np.flatnonzero((scored.targets == right) & (predicted == taken))[0])
                path, names = scored.task.clips[clip].path, scored.task.classes
                picture = _thumbnail(path, decoder)
                rows.append((picture, names[right], names[taken], int(counts[right, taken]), path.name))
    yield "<h2>The worst confusions</h2>"
    if not rows:
        yield "<p>None: every clip was recognised.</p>"
        return
    yield "<table><tr><th></th><th>class</th><th>taken for</th><th>clips</th><th>one of them</th></tr>"
    for image, *cells in rows:
        yield f"<tr><td>{image}</td>{''.join(_cell(cell) for cell in cells)}</tr>"
    yield "</table>"


def _thumbnail(path: Path, decoder: Decoder) -> str:
    """A frame of its first seconds, as an inline image; words where it cannot be read any more."""
    from matplotlib.image import imsave

    try:
        with closing(decoder.sample(path, fps=1, short_side=_THUMBNAIL_PX, batch_size=4)) as batches:
            frames = next(batches).frames_uint8
    except VideoError as error:
        return html.escape(str(error))
    buffer = io.BytesIO()
    imsave(buffer, frames[-1].transpose(1, 2, 0), format="png")
    return f"<img alt='' src='{_inline(buffer.getvalue(), 'png')}'>"


def _inline(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield "<table>"
    if any(titles):
        yield f"<tr>{''.join(f'<th>{html.escape(title)}</th>' for title in titles)}</tr>"
    for row in rows:
        yield f"<tr>{''.join(_cell(cell) for cell in row)}</tr>"
    yield "</table>"


def _cell(value: object) -> str:
    kind = " class='number'" if isinstance(value, int) else ""
    said = f"{value:,}" if isinstance(value, int) else str(value)
    return f"<td{kind}>{html.escape(said)}</td>"


def _interval(found: dict[str, float]) -> str:
    return f"{100 * found['value']:.1f} ({100 * found['low']:.1f} to {100 * found['high']:.1f})"
