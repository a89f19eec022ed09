"""Cutting a stretch out of a video: packets copied if that is exact enough, else encoded anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import dropwhile
from pathlib import Path
from typing import Any

import av
import av.error
from av.audio.resampler import AudioResampler
from av.container import OutputContainer

from cezsar.errors import VideoError
from cezsar.files import appearing
from cezsar.types import Segment
from cezsar.video.frames import Video, is_turned, upright
from cezsar.video.opening import reason

_CLOCK = Fraction(1, 90_000)  # the time base of what is encoded
_SOUND_RATE = 48_000
_EARLY_S = 0.5  # a copy has to begin with a key frame; one this much before the start will do


@dataclass(frozen=True, slots=True)
class Codecs:
    """The formats that may be copied: FFmpeg's names of codecs, and of pixel formats (none: any)."""

    picture: tuple[str, ...]
    sound: tuple[str, ...]
    pixels: tuple[str, ...] = ()


CANNOT = "it cannot be cut"
Progress = Callable[[], None]
PLAYERS = Codecs(("h264", "hevc", "av1", "vp9"), ("aac", "mp3", "ac3", "eac3"))  # what players expect in an MP4 file


def cut(
    source: Path, segment: Segment, target: Path, *, copied: Codecs = PLAYERS, short_side: int | None = None
) -> bool:
    """Write [start_s, end_s) of a video to an MP4 file, with its sound; returns whether the picture was copied.

    If a key frame lies at most half a second before the start, the picture is copied and begins there; otherwise it is
    encoded with H.264, from the frame that is shown at the start, and with short_side at most so many pixels. target
    appears whole or not at all. Raises VideoError.
    """
    with made(target, CANNOT) as draft:
        return cut_into(draft, source, segment, copied=copied, short_side=short_side)


def cut_into(
    file: Path,
    source: Path,
    segment: Segment,
    *,
    copied: Codecs = PLAYERS,
    short_side: int | None = None,
    progress: Progress = lambda: None,
) -> bool:
    """As cut, into a file that is whole only when this is over; progress is called for every packet and frame."""
    with failing(CANNOT):
        if segment.end_s <= segment.start_s:
            raise ValueError("there are no frames in that stretch")
        copy = _copy_plan(source, segment, copied, progress)
        with file.open("wb") as opened_file, av.open(opened_file, "w", format="mp4") as out:
            sound = _Sound(source, copied, progress)
            if copy is None:
                _encode_picture(source, segment, out, sound, short_side, progress)
            else:
                _copy_picture(source, copy, out, sound, progress)
    return copy is not None


@contextmanager
def made(target: Path, failure: str) -> Iterator[Path]:
    """A draft to write, which takes target's name when it is whole. Raises VideoError as failing() does."""
    with failing(failure), appearing(target) as draft:
        yield draft


@contextmanager
def failing(failure: str) -> Iterator[None]:
    """Raises VideoError, failure and the reason, on errors of FFmpeg and the system, and on ValueError."""
    try:
        yield
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise VideoError(f"{failure} ({reason(error)})") from None


@dataclass(frozen=True, slots=True)
class _Copy:
    """A stretch that packets can be copied for: stamps are their PTS in decoding order."""

    stretch: Segment
    stamps: tuple[int, ...]


def _copy_plan(source: Path, segment: Segment, copied: Codecs, progress: Progress) -> _Copy | None:
    """The packets that show a segment and nothing else, from a key frame near enough, if codec and order allow it."""
    with Video(source) as video:
        codec = video.stream.codec_context
        if codec.name not in copied.picture or (copied.pixels and codec.pix_fmt not in copied.pixels):
            return None
        frame, time_s, _ = next(video.spans(from_s=segment.start_s))
        near = segment.start_s - _EARLY_S <= time_s <= segment.start_s + 1e-3
        plain = frame.pts is not None and not is_turned(frame)
        if not (near and plain and frame.key_frame):
            return None
    stretch = Segment(time_s, segment.end_s)
    stamps: list[int] = []
    past_end = False
    with Video(source) as video:
        for packet in _from_key_frame(video, stretch.start_s):
            progress()
            first = stamps[0] if stamps else packet.pts
            if (packet.pts - first) * packet.time_base >= stretch.end_s - stretch.start_s:
                past_end = True
                if packet.is_keyframe:
                    break
            elif past_end:
                return None  # it is decoded after a picture that is shown past the end
            else:
                stamps.append(packet.pts)
    return _Copy(stretch, tuple(stamps)) if stamps else None


def _copy_picture(source: Path, copy: _Copy, out: OutputContainer, sound: _Sound, progress: Progress) -> None:
    shown = sorted(copy.stamps)
    delay = max(in_order - decoded for in_order, decoded in zip(shown, copy.stamps, strict=True))
    with Video(source) as video:
        picture = out.add_stream_from_template(video.stream)
        sound.open(out)
        for in_order, packet in zip(shown, _from_key_frame(video, copy.stretch.start_s), strict=False):
            progress()
            packet.dts = in_order - delay - shown[0]  # Matroska has none of its own
            packet.pts, packet.stream = packet.pts - shown[0], picture
            out.mux(packet)
    sound.write(copy.stretch, out)


def _from_key_frame(video: Video, start_s: float) -> Iterator[Any]:
    """The picture's packets that have a time, from the key frame at or before a time."""
    packets = (packet for packet in video.packets(from_s=start_s) if packet.pts is not None)
    return dropwhile(lambda packet: not packet.is_keyframe, packets)


def _encode_picture(
    source: Path, stretch: Segment, out: OutputContainer, sound: _Sound, short_side: int | None, progress: Progress
) -> None:
    with Video(source) as video:
        picture: Any = None
        last = -1
        for frame, time_s, end_s in video.spans(from_s=stretch.start_s):
            progress()
            if end_s <= stretch.start_s + 1e-6:
                continue
            if time_s >= stretch.end_s - 1e-6:
                break
            shown = upright(frame, video.stream, short_side=short_side)
            if picture is None:
                picture = out.add_stream("libx264", rate=video.stream.average_rate or 25)
                picture.width, picture.height, picture.pix_fmt = shown.width, shown.height, "yuv420p"
                picture.options = {"crf": "20", "preset": "veryfast"}
                picture.codec_context.time_base = _CLOCK
                sound.open(out)
            last = max(last + 1, round((max(time_s, stretch.start_s) - stretch.start_s) / _CLOCK))
            shown = shown.reformat(width=picture.width, height=picture.height, format="yuv420p")
            shown.pts, shown.time_base = last, _CLOCK
            out.mux(picture.encode(shown))
        if picture is None:
            raise ValueError("there are no frames in that stretch")
        out.mux(picture.encode(None))
    sound.write(stretch, out)


class _Sound:
    """The sound of a stretch: copied if MP4 takes its codec, else AAC; nothing if there is none."""

    def __init__(self, source: Path, copied: Codecs, progress: Progress) -> None:
        self._source, self._progress = source, progress
        self._copied = copied.sound
        self._target: Any = None

    def open(self, out: OutputContainer) -> None:
        """Add the stream, before the first packet is written."""
        with Video(self._source) as video:
            stream = video.sound
            if stream is None:
                return
            if stream.codec_context.name in self._copied:
                self._target = out.add_stream_from_template(stream)
            else:
                self._target = out.add_stream("aac", rate=_SOUND_RATE, layout="stereo")

    def write(self, stretch: Segment, out: OutputContainer) -> None:
        """Write what sounds in a stretch, in seconds of the file."""
        if self._target is None:
            return
        with Video(self._source) as video:
            assert video.sound is not None
            copied = video.sound.codec_context.name in self._copied
            origin_s = video.origin_s
            resampler = AudioResampler(format="fltp", layout="stereo", rate=_SOUND_RATE)
            position: int | None = None  # of the next sample in what is encoded
            for packet in video.sound_packets(from_s=stretch.start_s):
                if packet.pts is None or packet.time_base is None:
                    continue
                self._progress()
                time_s = float(packet.pts * packet.time_base) - origin_s
                if time_s < stretch.start_s:
                    continue
                if time_s >= stretch.end_s:
                    break
                if copied:
                    shift = round((stretch.start_s + origin_s) / packet.time_base)
                    packet.pts, packet.dts, packet.stream = packet.pts - shift, (packet.dts or 0) - shift, self._target
                    out.mux(packet)
                    continue
                for frame in packet.decode():
                    for part in resampler.resample(frame):
                        if position is None:
                            position = round((time_s - stretch.start_s) * _SOUND_RATE)
                        part.pts, part.time_base = position, Fraction(1, _SOUND_RATE)
                        position += part.samples
                        out.mux(self._target.encode(part))
            if not copied:
                out.mux(self._target.encode(None))
