"""Videos in a browser: whether it plays the file as it is, what a part may copy, and a still picture."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

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
        scale = min(1.0, width / shown.width)
        size = (max(2, round(shown.width * scale)), max(2, round(shown.height * scale)))
        encoder = av.CodecContext.create("mjpeg", "w")
        encoder.width, encoder.height = size
        encoder.pix_fmt, encoder.time_base = "yuvj420p", Fraction(1, 25)
        encoder.options = {"qmin": _QUALITY, "qmax": _QUALITY}
        small = shown.reformat(*size, format="yuvj420p")
        small.pts, small.time_base = 0, encoder.time_base
        file.write_bytes(b"".join(bytes(packet) for packet in [*encoder.encode(small), *encoder.encode(None)]))
