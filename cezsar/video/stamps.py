"""Time stamps of a file's packets, put on one clock that never starts anew."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

_TS_DISCONT = 0x200  # FFmpeg's flag for formats in which stamps may jump
_LEAP_S = 10.0  # beyond what was expected: FFmpeg's dts_delta_threshold
_BEHIND_S = 0.1  # before the packet before it, in such a format: it jumped back
_RESET_S = 1.0  # before the packet before it, in any other
_REORDERED = 16  # frames that may be out of order without any reset
_INDEXED = ("mov", "avi")
_SMALL_BYTES = 16 << 20
_AHEAD = 256  # packets that are looked at to see whether a stamp stands alone

_Packet: TypeAlias = "Packet[Any]"


def may_jump(container: InputContainer) -> bool:
    """Whether stamps jump in this format without any meaning, as they do where recordings of a broadcast are joined.

    Such a file has no index either, and no duration but what its last stamps seem to say. FFmpeg counts Ogg among them,
    for files that are several in a row; but Ogg's stamps count the time that is shown, so they only go back.
    """
    return bool(container.format.flags & _TS_DISCONT) and container.format.name != "ogg"


def may_seek(container: InputContainer, time_s: float) -> bool:
    """Whether the file's own stamps lead to what is shown at a time, in seconds from its start.

    MP4 and AVI have one index of all their contents. In other formats another recording may follow the first, and one
    stamp leads to either: in those that jump anywhere, else beyond what the file says that it lasts, or where FFmpeg
    has seen both. A small file is read from its start as quickly.
    """
    if container.duration is None or container.format.flags & _TS_DISCONT:
        return False
    if container.format.name.split(",")[0] in _INDEXED:
        return True
    end = container.duration - max(0, container.start_time or 0)
    return container.size > _SMALL_BYTES and time_s * av.time_base <= end


@dataclass(slots=True)
class _Track:
    """What is known of a stream's stamps, in seconds: raw ones as the file has them, others on the one clock."""

    frame_s: float  # how long a packet lasts that does not say so
    is_sound: bool
    first_raw_s: float | None = None
    last_raw_s: float = 0.0
    last_s: float = 0.0
    step_s: float = 0.0  # between the last two
    next_s: float | None = None


class Stamps:
    """Moves the stamps of packets, in the file's order, where the file's clock is broken or starts anew.

    In formats in which stamps jump (may_jump) this is what FFmpeg's command line does: a DTS over ten seconds off what
    was to come next, or behind the one before, takes the place of what was to come. Other containers are believed as
    far as they agree with themselves: a long hold is one. A stamp is broken if it lies far beyond the duration that
    the container claims, or if the next one is back where it was; and the clock starts anew if it goes back by over a
    second or to the beginning. What is moved moves everything after it, in all streams alike.
    """

    def __init__(
        self, container: InputContainer, picture: VideoStream, sound: AudioStream | None, *, from_start: bool
    ) -> None:
        self._jumps = may_jump(container)
        self._shift_s = 0.0
        self.have_moved = False  # so that no duration that the container claims has a meaning
        start_s = None if container.start_time is None else container.start_time / av.time_base
        self._claimed_end_s: float | None = None
        if not self._jumps and container.duration is not None and container.duration > 0:
            length_s = container.duration / av.time_base
            self._claimed_end_s = (start_s or 0.0) + 1.1 * length_s + _LEAP_S
        self._latest_s = None if self._jumps or not from_start else start_s  # of any stream
        rate = picture.codec_context.framerate if self._jumps else picture.average_rate or picture.guessed_rate
        self._tracks = {picture.index: _Track(float(1 / rate) if rate else 0.0, is_sound=False)}
        if sound is not None:
            context = sound.codec_context
            frame_s = context.frame_size / context.sample_rate if context.sample_rate else 0.0
            self._tracks[sound.index] = _Track(frame_s, is_sound=True)

    def moved(self, packets: Iterable[_Packet]) -> Iterator[_Packet]:
        """The same packets, with stamps on the one clock."""
        source = iter(packets)
        ahead: deque[_Packet] = deque()
        while (packet := ahead.popleft() if ahead else next(source, None)) is not None:
            leap_s = self._off_s(packet)
            if leap_s > _LEAP_S and not self._jumps and self._stands_alone(packet, source, ahead):
                self._move(packet, self._shift_s - leap_s)
                self.have_moved = True
            else:
                self._take(packet, leap_s)
            yield packet

    def _off_s(self, packet: _Packet) -> float:
        """How much later a packet's stamp is than what was to come; 0 if nothing was."""
        track = self._tracks.get(packet.stream.index)
        if track is None or packet.dts is None:
            return 0.0
        expected_s = self._latest_s if track.next_s is None else track.next_s
        return 0.0 if expected_s is None else _seconds(packet, packet.dts) + self._shift_s - expected_s

    def _take(self, packet: _Packet, off_s: float) -> None:
        track = self._tracks.get(packet.stream.index)
        if track is not None and packet.dts is not None:
            raw_s = _seconds(packet, packet.dts)
            if self._is_broken(track, raw_s, off_s):
                self._shift_s -= off_s
                self.have_moved = True
            elif track.first_raw_s is not None:
                track.step_s = max(0.0, raw_s - track.last_raw_s)
            track.first_raw_s = raw_s if track.first_raw_s is None else track.first_raw_s
            track.last_raw_s = raw_s
            self._latest_s = track.last_s = raw_s + self._shift_s
            track.next_s = track.last_s + self._lasts_s(track, packet)
        self._move(packet, self._shift_s)

    def _lasts_s(self, track: _Track, packet: _Packet) -> float:
        """How long a packet is expected to last; what claims to last long needs the next stamp's word, too."""
        said_s = _seconds(packet, packet.duration or 0)
        if track.is_sound:
            return track.frame_s or said_s
        if self._jumps:
            return said_s or track.frame_s
        return said_s if 0 < said_s <= _LEAP_S else track.step_s or track.frame_s

    def _is_broken(self, track: _Track, raw_s: float, off_s: float) -> bool:
        """Whether a stamp is to take the place of what was to come."""
        behind_s = 0.0 if track.first_raw_s is None else track.last_s - raw_s - self._shift_s
        if self._jumps:
            return abs(off_s) > _LEAP_S or behind_s > _BEHIND_S
        if off_s > _LEAP_S:
            return self._is_beyond(track, raw_s)
        if track.first_raw_s is None or behind_s <= 0:
            return False
        return behind_s > max(_RESET_S, _REORDERED * track.frame_s) or raw_s <= track.first_raw_s

    def _is_beyond(self, track: _Track, raw_s: float) -> bool:
        """Whether a stamp lies far beyond what the container claims, unless those before it did too."""
        end_s = self._claimed_end_s
        return end_s is not None and track.last_raw_s <= end_s < raw_s

    def _stands_alone(self, packet: _Packet, source: Iterator[_Packet], ahead: deque[_Packet]) -> bool:
        """Whether the stream's next packet is back before this one, and not before those before it."""
        track = self._tracks[packet.stream.index]
        following = next((one for one in ahead if one.stream is packet.stream), None)
        while following is None and len(ahead) < _AHEAD and (one := next(source, None)) is not None:
            ahead.append(one)
            following = one if one.stream is packet.stream else None
        if following is None or following.dts is None or packet.dts is None or track.first_raw_s is None:
            return False
        return track.last_raw_s <= _seconds(packet, following.dts) < _seconds(packet, packet.dts) - _RESET_S

    def _move(self, packet: _Packet, shift_s: float) -> None:
        """Shift both stamps; a PTS that then lies too far from its DTS is none."""
        track = self._tracks.get(packet.stream.index)
        if track is not None and packet.pts is not None and packet.dts is not None:
            is_far = _seconds(packet, packet.pts - packet.dts) > max(_LEAP_S, _REORDERED * track.frame_s)
            if is_far and (self._jumps or self._is_beyond(track, _seconds(packet, packet.pts))):
                packet.pts = None
        if shift_s:
            shift = round(shift_s / (packet.time_base or Fraction(1)))
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift


def _seconds(packet: _Packet, count: int) -> float:
    return float(count * (packet.time_base or Fraction(1)))
