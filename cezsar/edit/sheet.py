"""Contact sheets: a picture of each clip with its number, name, times and note, as PNG files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cezsar.edit.clips import Clip
from cezsar.errors import QueryError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont
    from PIL.ImageFont import ImageFont as PlainFont

WIDTH = 320  # of a picture
MOST = 100  # clips on one sheet
_HEIGHT, _LINE, _MARGIN, _COLUMNS = 180, 20, 12, 5
_PAPER, _INK, _FAINT, _EMPTY = "#ffffff", "#111111", "#555555", "#222222"
_FONTS = ("DejaVuSans.ttf", "Arial Unicode.ttf", "Arial.ttf")  # with letters of many scripts; Pillow's own has few


def sheets(clips: Sequence[Clip], pictures: Sequence[Path | None], *, title: str) -> list[bytes]:
    """PNG files of at most MOST clips each; a clip without a picture has a dark field. Raises QueryError.

    pictures are JPEG files of this program's own making.
    """
    font = _font()
    pairs = list(zip(clips, pictures, strict=True))
    return [
        _sheet(pairs[start : start + MOST], font, title=title, begin=start + 1) for start in range(0, len(pairs), MOST)
    ]


def _sheet(
    pairs: Sequence[tuple[Clip, Path | None]], font: FreeTypeFont | PlainFont, *, title: str, begin: int
) -> bytes:
    from PIL import Image, ImageDraw

    num_columns = min(_COLUMNS, max(2, len(pairs)))
    num_rows = -(-len(pairs) // num_columns)
    cell = (WIDTH + _MARGIN, _HEIGHT + 3 * _LINE + _MARGIN)
    top = 2 * _MARGIN + _LINE
    paper = Image.new("RGB", (_MARGIN + num_columns * cell[0], top + num_rows * cell[1]), _PAPER)
    pen = ImageDraw.Draw(paper)
    pen.text((_MARGIN, _MARGIN), _fitting(title, font, paper.width - 2 * _MARGIN), _INK, font=font)
    for place, (clip, picture) in enumerate(pairs):
        left, upper = _MARGIN + place % num_columns * cell[0], top + place // num_columns * cell[1]
        pen.rectangle((left, upper, left + WIDTH - 1, upper + _HEIGHT - 1), _EMPTY)
        if picture is not None:
            small = _small(picture)
            paper.paste(small, (left + (WIDTH - small.width) // 2, upper + (_HEIGHT - small.height) // 2))
        times = f"{begin + place}   {_clock(clip.start_s)} - {_clock(clip.end_s)}"
        for number, (line, ink) in enumerate(((times, _INK), (clip.name, _INK), (clip.remark, _FAINT))):
            pen.text((left, upper + _HEIGHT + 3 + number * _LINE), _fitting(line, font, WIDTH), ink, font=font)
    out = io.BytesIO()
    paper.save(out, "PNG")
    return out.getvalue()


def _small(picture: Path) -> Image:
    from PIL.Image import open as open_picture

    with open_picture(picture, formats=["JPEG"]) as opened:
        small: Image = opened.convert("RGB")
    small.thumbnail((WIDTH, _HEIGHT))
    return small


def _font() -> FreeTypeFont | PlainFont:
    try:
        from PIL import ImageFont
    except ModuleNotFoundError:
        raise QueryError("A contact sheet needs Pillow: pip install 'cezsar[edit]' brings it.") from None
    for name in _FONTS:
        with suppress(OSError):  # it is not installed
            return ImageFont.truetype(name, 14)
    return ImageFont.load_default(14)


def _fitting(text: str, font: FreeTypeFont | PlainFont, width: int) -> str:
    """As much of a line as fits, with three dots if that is not all."""
    text = text[:400]
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _clock(seconds: float) -> str:
    tenths = round(seconds * 10)
    hours, minutes = tenths // 36_000, tenths // 600 % 60
    return (f"{hours}:" if hours else "") + f"{minutes:02d}:{tenths // 10 % 60:02d}.{tenths % 10}"
