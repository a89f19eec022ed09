"""Frames of a video in order, at chosen times."""

from __future__ import annotations

import errno
import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import av
import av.error
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from cezsar.errors import VideoError, VideoLost
from cezsar.video.between import Between
from cezsar.video.opening import opened, reason
from cezsar.video.recorded import recorded_s
from cezsar.video.skipping import LONGEST_GAP_S, Skipper
from cezsar.video.stamps import Stamps, may_jump, may_seek
from cezsar.video.streams import picture_duration_s, picture_number, sound_of, take_only

DECODER = f"PyAV {av.__version__}, streams 2"  # another one may make more of a file
# A longer wait is a broken clock in any container. Where frames are skipped, what is left may lie two gaps apart.
_LONGEST_FRAME_S = 2 * LONGEST_GAP_S
_MOST_BYTES = 64 << 20  # of packets that are kept until it is known from where to decode
_MAX_ASPECT = 16  # a wider frame is squeezed to this, so that no file decides how much memory a frame takes
_Sampled: TypeAlias = "tuple[NDArray[np.uint8], float, int, float, float, NDArray[np.float32]]"  # as FrameBatch has it
_TICK = Fraction(1, av.time_base)  # of a container's own times
_DEFAULT_RATE = Fraction(25)  # FFmpeg's own assumption for streams without any timing


def can_decode(codec: str) -> bool:
    """Whether this FFmpeg knows how to decode a codec, as 'h264'."""
    try:
        av.codec.Codec(codec, "r")
    except av.codec.codec.UnknownCodecError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """Consecutive distinct frames of one video.

    frames_uint8 is (N, 3, H, W) RGB; times_s (N,) float64 are seconds from the start of the file; repeats (N,) int64
    says for how many consecutive times of the sampling grid each frame stands (at least 1). jumps_s (N,) float64 says
    when, since the frame before it, the picture changed most, and jumps (N,) float64 by how many levels of brightness
    more than it usually did there; both are 0 for a video's first frame. averages (N, 8, 8) float32 are the brightness
    of the picture's cells, on average over the time since the frame before it.
    """

    frames_uint8: NDArray[np.uint8]
    times_s: NDArray[np.float64]
    repeats: NDArray[np.int64]
    jumps_s: NDArray[np.float64]
    jumps: NDArray[np.float64]
    averages: NDArray[np.float32]


class Video:
    """An open video file. Use as a context manager; its frames can be read once, in order.

    stream_number is that of the stream that is taken, as picture_number has it. Raises VideoError if the file cannot
    be read as a video.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open = ExitStack()
        self._begin()
        self.duration_s: float | None = None  # known once the last frame has been decoded
        self._stamps: Stamps | None = None
        self._others_end_s = 0.0  # when the latest packet of any other stream ends, as far as they were read

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def sample(self, *, fps: float, short_side: int, batch_size: int) -> Iterator[FrameBatch]:
        """The frames at 0, 1/fps, 2/fps ... seconds, each distinct frame once, in batches of at most batch_size.

        Each time takes the latest frame at or before it, or the first frame if there is none. Frames are upright,
        with square pixels, the short side resized to short_side. When the last batch has been given, duration_s is
        set: the last frame's time plus its duration. Raises VideoError if no frame at all can be decoded.
        """
        batch: list[_Sampled] = []
        size: tuple[int, int] | None = None
        reformatter, between = VideoReformatter(), Between()
        step = 0  # the first grid time that no frame has been given for
        for frame, time_s, end_s in self.spans(fps=fps):
            between.see(frame, time_s)
            repeats = _grid_steps(end_s, fps) - step
            if self.duration_s is not None and step == 0:
                repeats = max(repeats, 1)
            if repeats <= 0:
                continue
            size = size or _scaled_size(frame, self.stream, short_side)
            batch.append((_pixels(frame, size, reformatter), time_s, repeats, *between.taken()))
            step += repeats
            if len(batch) == batch_size:
                yield _stack(batch)
                batch = []
        if batch:
            yield _stack(batch)

    def spans(self, *, from_s: float = 0.0, fps: float | None = None) -> Iterator[tuple[VideoFrame, float, float]]:
        """Every frame with its time and the time of the next one, in seconds; the last one's is the duration.

        With from_s, begins at the key frame before it if one leads there, and at the first frame if not.
        With fps instead, frames that none of the times 0, 1/fps, 2/fps ... takes may be left out.
        Raises VideoError if no frame can be decoded.
        """
        clock = _Clock(self.stream, self.container, from_start=from_s <= 0)
        skipper = None if fps is None else _skipper(self.stream, clock, fps)
        shown: VideoFrame | None = None
        shown_s = 0.0
        for frame in _decode(self.packets(from_s=from_s), self.stream, skipper):
            time_s = clock.tick(frame)
            if skipper is not None:
                skipper.saw(frame)
            if from_s > 0 and shown is None and time_s > from_s:
                break  # it landed too late
            if shown is not None:
                yield shown, shown_s, time_s
            shown, shown_s = frame, time_s
        if shown is None and from_s > 0:
            self._open.close()
            self._begin()
            yield from self.spans()
            return
        if shown is None:
            raise VideoError("no frame could be decoded")
        self.duration_s = max(round(shown_s + clock.frame_s, 6), 1e-6)
        yield shown, shown_s, self.duration_s

    def packets(self, *, from_s: float = 0.0) -> Iterator[Packet[VideoStream]]:
        """The picture's packets, on one clock, from the key frame at or before a time on, as far as one is known."""
        packets = (packet for packet in self._packets(from_s) if packet.stream is self.stream)
        return packets if from_s <= 0 else _from_key_frame(packets, self.origin_s + from_s)

    def sound_packets(self, *, from_s: float = 0.0) -> Iterator[Packet[AudioStream]]:
        """The sound's packets, on the same clock, from before a time on."""
        return (packet for packet in self._packets(from_s) if packet.stream is self.sound)

    @property
    def origin_s(self) -> float:
        """The time stamp of second 0."""
        return _seconds(self.container.start_time, _TICK) or 0.0

    @property
    def shortfall(self) -> str | None:
        """Once all frames are read: how much of the picture's claimed duration is missing, if it is much."""
        claimed_s = self._claimed_s
        if claimed_s is None or self.duration_s is None:
            return None
        read_s = self.duration_s + max(0.0, self.origin_s)  # some claim the end
        if picture_duration_s(self.stream) is None:  # claimed of all streams: the longest one may explain it
            read_s = max(read_s, self._others_end_s)
        if claimed_s - read_s < max(1.0, claimed_s / 10):
            return None
        return f"only {self.duration_s:.1f} of the {claimed_s:.1f} s that it claims could be read"

    @property
    def recorded_s(self) -> float | None:
        """As the function recorded_s."""
        return recorded_s(self.container)

    @property
    def _claimed_s(self) -> float | None:
        if may_jump(self.container) or (self._stamps is not None and self._stamps.have_moved):
            return None  # the last stamps say nothing
        return picture_duration_s(self.stream) or _seconds(self.container.duration, _TICK)

    def _begin(self) -> None:
        self.container = self._open.enter_context(opened(self._path))
        try:
            self.stream_number = picture_number(self.container, self._path)
        except VideoError:
            self._open.close()
            raise
        self.stream: VideoStream = self.container.streams.video[self.stream_number]
        self.stream.thread_type = "AUTO"
        self.sound = sound_of(self.container, self.stream)

    def _packets(self, from_s: float) -> Iterator[Packet[Any]]:
        """Packets of picture and sound, and of what else is looked at, in the file's order and on one clock."""
        leads_there = self.stream.start_time is not None and may_seek(self.container, from_s)
        is_sought = from_s > 0 and leads_there and self._seek(from_s)
        looks_at_all = self._claimed_s is not None and picture_duration_s(self.stream) is None
        streams = [one for one in self.container.streams if looks_at_all or one in (self.stream, self.sound)]
        take_only(self.container, streams)
        self._stamps = Stamps(self.container, self.stream, self.sound, from_start=not is_sought)
        for packet in self._stamps.moved(_packets(self.container, streams)):
            if packet.stream is not self.stream and packet.pts is not None:
                end_s = _seconds(packet.pts + (packet.duration or 0), packet.time_base) or 0.0
                self._others_end_s = max(self._others_end_s, end_s)
            yield packet

    def _seek(self, time_s: float) -> bool:
        """Go to the key frame before a time; whether that could be done."""
        try:
            self.container.seek(round((time_s + self.origin_s) / _TICK), backward=True)
        except (av.error.FFmpegError, ValueError, OSError):
            return False
        return True


class _Clock:
    """The time of each frame in seconds from the file's start; one without a stamp follows the one before it."""

    def __init__(self, stream: VideoStream, container: InputContainer, *, from_start: bool) -> None:
        self._from_start = from_start
        self._rate = stream.average_rate or stream.guessed_rate or stream.base_rate or _DEFAULT_RATE
        self._start_s = _seconds(container.start_time, _TICK)
        self._previous_s: float | None = None
        self.frame_s = float(1 / self._rate)  # how long the latest frame lasts

    def tick(self, frame: VideoFrame) -> float:
        """This frame's time: its PTS if that can be, else one frame after the frame before it."""
        stamp_s = None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)
        if self._previous_s is None:
            if self._start_s is None or stamp_s is None or stamp_s < self._start_s:
                self._start_s = stamp_s or 0.0
            time_s = 0.0 if stamp_s is None else stamp_s - self._start_s
            if self._from_start and time_s > _LONGEST_FRAME_S:
                self._start_s, time_s = stamp_s or 0.0, 0.0
        else:
            expected_s = self._previous_s + self.frame_s
            time_s = expected_s if stamp_s is None else stamp_s - (self._start_s or 0.0)
            if time_s > self._previous_s + _LONGEST_FRAME_S:
                self._start_s = (self._start_s or 0.0) + time_s - expected_s
                time_s = expected_s
            if time_s < self._previous_s:
                time_s = expected_s
        self._previous_s = time_s
        lasts_s = _seconds(frame.duration or None, frame.time_base)
        self.frame_s = min(lasts_s, _LONGEST_FRAME_S) if lasts_s else float(1 / self._rate)
        return time_s

    def time_of(self, stamp_s: float) -> float:
        """The time of a frame with this PTS, after the first tick, where all stamps are sound."""
        return stamp_s - (self._start_s or 0.0)


def _decode(
    packets: Iterator[Packet[VideoStream]], stream: VideoStream, skipper: Skipper | None
) -> Iterator[VideoFrame]:
    """Every frame that can be decoded, but those that may be skipped; a damaged packet costs itself alone."""
    for packet in packets if skipper is None else skipper.passed(packets):
        yield from _decoded(packet, skipper)
    try:
        yield from stream.decode(None)
    except av.error.FFmpegError:
        return


def _decoded(packet: Packet[VideoStream], skipper: Skipper | None) -> list[VideoFrame]:
    """What comes out of the decoder after one more packet; nothing where that one is damaged."""
    try:
        return packet.decode()
    except av.error.FFmpegError as error:
        if error.errno == errno.ENOMEM:
            raise VideoError("decoding it takes more memory than there is") from None
        if skipper is not None:
            skipper.give_up()
        return []


def _packets(container: InputContainer, streams: Sequence[Stream]) -> Iterator[Packet[Any]]:
    """Every packet of some streams that can be read."""
    packets = container.demux(list(streams))
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:
            return  # cut off here: what came before is good
        except OSError as error:  # of the file itself, as from a failing drive
            raise VideoLost(f"it could not be read to its end ({reason(error)})") from None
        if packet is None:
            return
        yield packet


def _from_key_frame(packets: Iterator[Packet[VideoStream]], stamp_s: float) -> Iterator[Packet[VideoStream]]:
    """Leaves out what comes before the last key frame at or before a stamp, as far as memory allows."""
    kept: list[Packet[VideoStream]] = []
    num_bytes = 0
    for packet in packets:
        shown_s = _seconds(packet.dts if packet.pts is None else packet.pts, packet.time_base)
        decoded_s = _seconds(packet.pts if packet.dts is None else packet.dts, packet.time_base)
        if packet.is_keyframe and shown_s is not None and shown_s <= stamp_s + 1e-6:
            kept, num_bytes = [], 0
        kept.append(packet)
        num_bytes += packet.size
        if num_bytes > _MOST_BYTES or (decoded_s is not None and decoded_s > stamp_s):
            break
    yield from kept
    yield from packets


def _skipper(stream: VideoStream, clock: _Clock, fps: float) -> Skipper | None:
    """Skips what none of 0, 1/fps, 2/fps ... takes; None if nothing can be skipped."""
    unit_s = stream.time_base
    if unit_s is None or fps * LONGEST_GAP_S < 1 or not Skipper.knows(stream.codec_context.name):
        return None
    return Skipper(stream, lambda stamp: _grid_steps(clock.time_of(float(stamp * unit_s)), fps))


def _grid_steps(end_s: float, fps: float) -> int:
    """How many of 0, 1/fps, 2/fps ... lie before end_s; a time within a microsecond of end_s does not."""
    return max(0, int(np.ceil((end_s - 1e-6) * fps)))


def upright(frame: VideoFrame, stream: VideoStream, *, short_side: int | None = None) -> VideoFrame:
    """A frame as it is to be shown, with square pixels and even sides; with short_side at most so many pixels."""
    own_side = min(frame.width, frame.height)
    width, height = _scaled_size(frame, stream, min(own_side, short_side or own_side))
    pixels = _pixels(frame, (max(2, width - width % 2), max(2, height - height % 2)), VideoReformatter())
    return VideoFrame.from_ndarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)), format="rgb24")


def _scaled_size(frame: VideoFrame, stream: VideoStream, short_side: int) -> tuple[int, int]:
    """Width and height, before rotation, with square pixels and the short side as asked."""
    pixel = float(stream.sample_aspect_ratio or 1)
    width, height = max(frame.width, 1) * (pixel if pixel > 0 else 1.0), float(max(frame.height, 1))
    aspect = min(max(width, height) / min(width, height), _MAX_ASPECT)
    long_side = max(short_side, round(short_side * aspect))
    return (long_side, short_side) if width >= height else (short_side, long_side)


def _pixels(frame: VideoFrame, size: tuple[int, int], reformatter: VideoReformatter) -> NDArray[np.uint8]:
    """(3, H, W) uint8, scaled to (width, height) and then turned upright.

    A reformatter is quicker from its second frame on; its output does not depend on those before.
    """
    try:
        scaled = reformatter.reformat(frame, *size, "rgb24", interpolation=Interpolation.BICUBIC)
        pixels = np.asarray(scaled.to_ndarray(), np.uint8)
    except (av.error.FFmpegError, ValueError, MemoryError) as error:
        raise VideoError(f"its frames cannot be converted ({reason(error)})") from None
    return np.ascontiguousarray(_turned(pixels, frame).transpose(2, 0, 1))


def is_turned(frame: VideoFrame) -> bool:
    """Whether a player has to turn or mirror it."""
    try:
        return frame.side_data.get("DISPLAYMATRIX") is not None
    except ValueError:  # as in _turned
        return bool(frame.rotation)


def _turned(pixels: NDArray[np.uint8], frame: VideoFrame) -> NDArray[np.uint8]:
    """(H, W, 3) mirrored and turned in steps of 90 degrees as the frame's display matrix asks of a player.

    The matrix [[a, b], [c, d]] takes (x, y) to (a x + c y, b x + d y).
    """
    try:
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    except (
        ValueError
    ):  # PyAV has no name for something beside the frame, as a photograph's EXIF data: it knows the turn
        return np.rot90(pixels, k=round(frame.rotation / 90) % 4)
    if matrix is None:
        return pixels
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    if a * d - b * c < 0:  # mirrored left to right; what is left is a turn
        pixels, a, b = pixels[:, ::-1], -a, -b
    return np.rot90(pixels, k=round(math.degrees(math.atan2(-b, a)) / 90) % 4)


def _stack(batch: list[_Sampled]) -> FrameBatch:
    frames, times_s, repeats, jumps_s, jumps, averages = zip(*batch, strict=True)
    return FrameBatch(
        np.stack(frames),
        np.array(times_s, np.float64),
        np.array(repeats, np.int64),
        np.array(jumps_s, np.float64),
        np.array(jumps, np.float64),
        np.stack(averages),
    )


def _seconds(count: int | None, unit_s: Fraction | None) -> float | None:
    return None if count is None or unit_s is None else float(count * unit_s)
