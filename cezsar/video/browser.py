"""Videos in a browser: whether it plays the file as it is, what a part may copy, and a still picture."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from cezsar.video.cut import Codecs, failing
from cezsar.video.frames import Video, upright
from cezsar.video.opening import opened

_PIXELS = ("yuv420p", "yuvj420p")  # 8 bits, 4:2:0: what every browser decodes
_PLAYED = {  # container: media type, picture, sound
    "mov": ("video/mp4", ("h264", "av1", "vp9"), ("aac", "mp3", "opus", "flac")),
    "matroska": ("video/webm", ("vp8", "vp9", "av1"), ("opus", "vorbis")),
}
BROWSERS = Codecs(picture=("h264", "av1", "vp9"), sound=("aac", "mp3"), pixels=_PIXELS)  # what plays in an MP4 file
NO_PICTURE = "no picture can be made of it"
_WORTH_SEEKING_S = 5.0  # to the next picture; less is decoded through
_QUALITY = "4"  # of JPEG, 2 the best, 31 the worst


def media_type(source: Path) -> str | None:
    """video/mp4 or video/webm if every browser should play this file as it is; else None. Raises VideoError."""
    with opened(source) as container:
        played = _PLAYED.get(container.format.name.split(",")[0])
        pictures, sounds = container.streams.video, container.streams.audio
        if played is None or len(pictures) != 1 or len(sounds) > 1:
            return None
        kind, known_pictures, known_sounds = played
        picture = pictures[0].codec_context
        if picture is None or picture.name not in known_pictures or picture.pix_fmt not in _PIXELS:
            return None
        if sounds and (sounds[0].codec_context is None or sounds[0].codec_context.name not in known_sounds):
            return None
        return kind


def still(source: Path, time_s: float, file: Path, *, width: int) -> None:
    """Write the frame that is shown at a time (past the end, the last one) as a JPEG file at most width pixels wide.

    The file is whole only when this is over. Raises VideoError.
    """
    with failing(NO_PICTURE):
        with Video(source) as video:
            for frame, _, end_s in video.spans(from_s=time_s):
                shown = frame
                if end_s > time_s:
                    break
            shown = upright(shown, video.stream)
        file.write_bytes(_jpeg(shown, *_at_most(shown, width)))


def sprite(source: Path, times_s: Sequence[float], file: Path, *, width: int) -> None:
    """Write the frames that are shown at some times, ascending, side by side as a JPEG file: each at most width pixels
    wide, and all of the first one's size.

    The file is whole only when this is over. Raises VideoError.
    """
    with failing(NO_PICTURE):
        pictures: list[NDArray[np.uint8]] = []
        while len(pictures) < len(times_s):
            with Video(source) as video:
                for frame, _, end_s in video.spans(from_s=times_s[len(pictures)]):
                    is_last = video.duration_s is not None
                    num_due = sum(time_s < end_s or is_last for time_s in times_s[len(pictures) :])
                    if not num_due:
                        continue
                    shown = upright(frame, video.stream, short_side=width)
                    size = pictures[0].shape[1::-1] if pictures else _at_most(shown, width)
                    small = np.asarray(shown.reformat(size[0], size[1], format="rgb24").to_ndarray(), np.uint8)
                    pictures += [small] * num_due
                    if is_last or len(pictures) == len(times_s):
                        break
                    if times_s[len(pictures)] - end_s > _WORTH_SEEKING_S:
                        break
        row = av.VideoFrame.from_ndarray(np.hstack(pictures), format="rgb24")
        file.write_bytes(_jpeg(row, row.width, row.height))


def _at_most(frame: av.VideoFrame, width: int) -> tuple[int, int]:
    """The size of a frame that is made smaller, if it is wider than that."""
    scale = min(1.0, width / frame.width)
    return max(2, round(frame.width * scale)), max(2, round(frame.height * scale))


def _jpeg(frame: av.VideoFrame, width: int, height: int) -> bytes:
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height = width, height
    encoder.pix_fmt, encoder.time_base = "yuvj420p", Fraction(1, 25)
    encoder.options = {"qmin": _QUALITY, "qmax": _QUALITY}
    small = frame.reformat(width, height, format="yuvj420p")
    small.pts, small.time_base = 0, encoder.time_base
    return b"".join(bytes(packet) for packet in [*encoder.encode(small), *encoder.encode(None)])
