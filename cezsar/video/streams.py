"""Which streams of a file are its picture and its sound, and how long the file says that the picture is."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream

from cezsar.errors import VideoError
from cezsar.video.opening import opened

_PREVIEW = Disposition.timed_thumbnails | Disposition.still_image
_NO_FILM_YET = 500  # packets of one stream, while another has given one at most: that one is a still picture
_NO_FRAME_YET = 3_000  # packets without a frame, and the next stream is tried
_OWN_DURATIONS = ("mov", "avi", "mxf")  # say how long each stream is; others have one duration for all
_TICK = Fraction(1, av.time_base)  # of a container's own times


def picture_number(container: InputContainer, path: Path) -> int:
    """The number of the stream to take, among the file's video streams, from 0 (FFmpeg's v:N).

    Attached pictures, thumbnails, and streams of one still picture beside one of more are left out, whatever their
    default flag. Of the others the one with the default flag is taken; then the one of the most frames, if the
    container says how many; of the most pixels; the first. If a stream gives no frame, as of a dead or scrambled
    programme, the next one by the same rule is taken. To read packets, path is opened anew, so that the container stays
    at its beginning. Raises VideoError if there is no such stream, or its codec is not known.
    """
    films = [number for number, one in enumerate(container.streams.video) if not _is_cover(one)]
    if not films:
        raise VideoError("only cover art, no video stream" if container.streams.video else "no video stream")
    known = [number for number in films if container.streams.video[number].codec_context is not None]
    if not known:
        raise VideoError("its video codec is not known")
    if len(known) == 1:
        return known[0]
    order = _ranked(container, known, _num_packets(path, known))
    for is_thorough in (False, True):
        for number in order:
            if _gives_a_frame(path, number, is_thorough=is_thorough):
                return number
    return order[0]


def _ranked(container: InputContainer, numbers: Sequence[int], num_packets: Sequence[int]) -> list[int]:
    """The streams of these numbers, those to be tried first first; num_packets as of _num_packets."""

    def rank(number: int, num_packets: int) -> tuple[bool, bool, int, int, int]:
        stream = container.streams.video[number]
        is_still = bool(_flags(stream) & _PREVIEW) or (is_any_film and num_packets < 2)
        is_default = bool(_flags(stream) & Disposition.default)
        pixels = stream.codec_context.width * stream.codec_context.height
        return is_still, not is_default, -_num_frames(stream), -pixels, number

    is_any_film = max(num_packets) > 1
    return [number for *_, number in sorted(map(rank, numbers, num_packets))]


def sound_of(container: InputContainer, picture: VideoStream) -> AudioStream | None:
    """The sound to take: the first that has the default flag, else the first; None if no codec is known.

    In a transport stream, which has no such flags, it is one of the picture's own programme.
    """
    known = [stream for stream in container.streams.audio if stream.codec_context is not None]
    if container.format.name == "mpegts" and len(known) > 1:
        related = container.streams.best("audio", related=picture)
        return next((stream for stream in known if stream is related), None)
    return min(known, key=lambda stream: not _flags(stream) & Disposition.default, default=None)


def picture_duration_s(stream: VideoStream) -> float | None:
    """The duration that the file claims for this stream alone; None if it claims only one for all streams."""
    container = stream.container
    name = container.format.name.split(",")[0]
    if name in _OWN_DURATIONS:
        # of an AVI file that has lost its index FFmpeg says how long the rest is, but how many frames were claimed
        ticks = (stream.frames if name == "avi" else 0) or stream.duration
        return None if not ticks or stream.time_base is None else float(ticks * stream.time_base)
    for key, said in stream.metadata.items():  # Matroska: DURATION, in some files with a language, as DURATION-eng
        if key.split("-")[0] == "DURATION":
            try:
                hours, minutes, seconds = said.split(":")
                return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
            except ValueError:
                return None
    return None


def take_only(container: InputContainer, streams: Sequence[Stream]) -> None:
    """Let FFmpeg pass over the packets of all other streams."""
    for stream in container.streams:
        stream.discard = Discard.default if stream in streams else Discard.all


def _is_cover(stream: VideoStream) -> bool:
    return bool(_flags(stream) & Disposition.attached_pic)


def _flags(stream: VideoStream | AudioStream) -> Disposition:
    return Disposition(stream.disposition)


def _num_frames(stream: VideoStream) -> int:
    """As the container says; 0 where it does not."""
    if stream.frames:
        return stream.frames
    said = stream.metadata.get("NUMBER_OF_FRAMES", "")
    return int(said) if said.isdecimal() else 0


def _num_packets(path: Path, numbers: Sequence[int]) -> list[int]:
    """How many packets each video stream gives, counted until all have given two or one has given many more."""
    with opened(path) as container:
        streams = [container.streams.video[number] for number in numbers]
        take_only(container, streams)
        counts = {stream.index: 0 for stream in streams}
        try:
            for packet in container.demux(streams):
                counts[packet.stream.index] += packet.size > 0
                if min(counts.values()) > 1 or max(counts.values()) >= _NO_FILM_YET:
                    break
        except (av.error.FFmpegError, OSError):
            pass  # what is wrong there is said when it is read for its frames
    return list(counts.values())


def _gives_a_frame(path: Path, number: int, *, is_thorough: bool) -> bool:
    """Whether a stream gives a sound frame before long; with is_thorough, any frame at all."""
    with opened(path) as container:
        stream = container.streams.video[number]
        take_only(container, [stream])
        stream.thread_type = "AUTO"
        try:
            for position, packet in enumerate(container.demux(stream)):
                try:
                    if any(is_thorough or not frame.is_corrupt for frame in packet.decode()):
                        return True
                except av.error.FFmpegError:
                    continue
                if position > _NO_FRAME_YET and not is_thorough:
                    return False
        except (av.error.FFmpegError, OSError):
            return False
    return False
