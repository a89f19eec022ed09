"""Which packets of a video need no decoding, when only the frames at some times are wanted."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

# How many frames may be decoded before one that is shown before them, as each codec's standard has it. Other codecs
# hide what depends on what, or their decoders cannot skip.
_REORDERED = {"h264": 16, "hevc": 16, "mpeg2video": 1, "prores": 0, "dnxhd": 0}
LONGEST_GAP_S = 3 * 3600.0  # between two frames that follow one another
_WARM_UP = 8  # frames that have to come out as their packets promise, before any is skipped
_MOST_PACKETS = 256  # that wait here
_MOST_BYTES = 16 << 20

_VideoPacket: TypeAlias = "Packet[VideoStream]"


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a packet is to those after it in decoding order."""

    starts: bool = False  # nothing from here on depends on anything before
    is_plain: bool = False  # it holds a picture and nothing else that others may depend on, as settings
    may_skip: bool = True  # the decoder knows whether others depend on it


@dataclass(slots=True)
class _Waiting:
    packet: _VideoPacket
    kind: _Kind
    is_needed: bool | None = None  # None: not known yet
    is_forced: bool = False


class Skipper:
    """Passes on a video's packets, except those that no wanted frame needs; wanted frames are the same as without it.

    grid_step says how many of the wanted times lie before the time of a PTS; it is asked once a frame has come out. saw
    must be called for each frame that comes out. If packets or frames are not as they should be, all packets are passed
    on from there.
    """

    def __init__(self, stream: VideoStream, grid_step: Callable[[int], int]) -> None:
        self._context = stream.codec_context
        self._grid_step = grid_step
        self._kinds = _Kinds(self._context.name, self._context.extradata or b"")
        self._reordered = _REORDERED[self._context.name]
        self._longest_gap = LONGEST_GAP_S / float(stream.time_base or 1)
        self._waiting: deque[_Waiting] = deque()  # in decoding order
        self._num_bytes = 0
        self._undecided: dict[int, _Waiting] = {}  # by PTS
        self._stamps: list[int] = []  # of those, in order
        self._is_first_fixed = False  # nothing can be shown before the first of the stamps any more
        self._depth = 0  # the most frames so far that were decoded before one shown before them
        self._promised: deque[int] = deque()  # PTS of needed frames that have not come out yet
        self._num_seen = 0
        self._has_given_up = False

    @staticmethod
    def knows(codec: str) -> bool:
        """Whether anything can be skipped in a codec, as 'h264'."""
        return codec in _REORDERED

    def passed(self, packets: Iterable[_VideoPacket]) -> Iterator[_VideoPacket]:
        """The packets to decode, each right after the decoder was told whether it may skip it."""
        for packet in packets:
            self._take(packet)
            yield from self._ready()
        self.give_up()
        yield from self._ready()

    def saw(self, frame: VideoFrame) -> None:
        """A frame came out of the decoder."""
        if frame.pts is None or frame.is_corrupt:
            self.give_up()
            return
        while self._promised and self._promised[0] < frame.pts:
            self._promised.popleft()
            if self._num_seen:  # the first frames of a recording may depend on what came before it
                self.give_up()
        if self._promised and self._promised[0] == frame.pts:
            self._promised.popleft()
            self._num_seen += 1

    def give_up(self) -> None:
        """Pass on everything from here on."""
        self._has_given_up = True
        for one in self._waiting:
            one.is_needed = one.is_needed is not False
        self._promised.clear()

    def _take(self, packet: _VideoPacket) -> None:
        kind = None if self._has_given_up else self._kinds.of(packet)
        one = _Waiting(packet, kind or _Kind())
        self._waiting.append(one)
        self._num_bytes += packet.size
        if kind is None or packet.pts is None:
            self.give_up()
        elif packet.is_discard:  # others may depend on it, but it is not shown
            one.is_needed = True
        else:
            self._place(one, packet.pts)

    def _place(self, one: _Waiting, stamp: int) -> None:
        """Sort a packet in by its PTS, and decide on those before it."""
        place = bisect_left(self._stamps, stamp)
        depth = len(self._stamps) - place
        if stamp in self._undecided or (place == 0 and self._is_first_fixed) or (one.kind.starts and depth):
            self.give_up()
            return
        self._stamps.insert(place, stamp)
        self._undecided[stamp] = one
        if depth > self._depth:  # a decoder may have to learn from these how long it has to wait for others
            self._depth = depth
            for each in self._waiting:
                each.is_forced = True
        while len(self._stamps) >= self._reordered + 2 and not self._has_given_up:
            self._decide(self._stamps[0], self._stamps[1])

    def _decide(self, stamp: int, following: int) -> None:
        """Whether the frame of a PTS is needed, the next frame being known."""
        if following - stamp > self._longest_gap:
            self.give_up()
            return
        one = self._undecided.pop(stamp)
        del self._stamps[0]
        self._is_first_fixed = True
        one.is_needed = (
            one.is_forced or self._num_seen < _WARM_UP or self._grid_step(following) > self._grid_step(stamp)
        )
        if one.is_needed:
            self._promised.append(stamp)

    def _ready(self) -> Iterator[_VideoPacket]:
        """What can be decoded, or left out, without knowing more."""
        while self._waiting:
            first = self._waiting[0]
            is_full = len(self._waiting) >= _MOST_PACKETS or self._num_bytes >= _MOST_BYTES
            if first.is_needed is None and is_full:
                self.give_up()
            num_useless = None if first.is_needed is None else self._num_useless()
            if num_useless is None and not is_full:
                return
            for _ in range(num_useless or 1):
                self._num_bytes -= self._waiting.popleft().packet.size
            if not num_useless:
                may_skip = not first.is_needed and first.kind.may_skip
                self._context.skip_frame = "NONREF" if may_skip else "DEFAULT"
                yield first.packet

    def _num_useless(self) -> int | None:
        """How many packets from the first on no needed frame depends on; None if it is not known yet."""
        for number, one in enumerate(self._waiting):
            if number and one.kind.starts:
                return number
            if one.is_needed is None:
                return None
            if one.is_needed or not one.kind.is_plain:
                return 0
        return None


class _Kinds:
    """Tells packets of one codec apart by what they hold."""

    def __init__(self, codec: str, extradata: bytes) -> None:
        self._codec = codec
        self._length_size: int | None = None  # of the number before each unit; None where start codes stand there
        self._num_layers = 0  # of time, in HEVC, as far as is known
        if codec in ("h264", "hevc") and extradata and not extradata.startswith((b"\0\0\1", b"\0\0\0\1")):
            at = 4 if codec == "h264" else 21
            described = extradata[at] if len(extradata) > at else 0
            self._length_size = (described & 3) + 1
            self._num_layers = described >> 3 & 7
        elif codec == "hevc":
            self._hevc(_heads(extradata, None) or [])

    def of(self, packet: _VideoPacket) -> _Kind | None:
        """None if the packet is not as it should be."""
        if packet.size == 0 or packet.is_corrupt:
            return None
        if packet.has_sidedata("new_extradata") or packet.has_sidedata("param_change"):
            return None
        if self._codec == "mpeg2video":
            return _Kind()
        if self._codec not in ("h264", "hevc"):
            return _Kind(starts=True, is_plain=True, may_skip=False)
        heads = _heads(bytes(packet), self._length_size)
        if heads is None:
            return None
        return _h264(heads) if self._codec == "h264" else self._hevc(heads)

    def _hevc(self, heads: list[bytes]) -> _Kind | None:
        """The decoder skips what nothing in the same temporal layer depends on: right in the highest layer alone."""
        types = [head[0] >> 1 & 63 for head in heads]
        if not _HEVC_ENDS.isdisjoint(types):
            return None
        for kind, head in zip(types, heads, strict=True):
            if kind == _HEVC_SETTINGS and len(head) == 3:
                self._num_layers = max(self._num_layers, (head[2] >> 1 & 7) + 1)
        pictures = [head for kind, head in zip(types, heads, strict=True) if kind < 32]
        return _Kind(
            starts=bool(pictures)
            and all(head[0] >> 1 & 63 in _HEVC_STARTS and len(head) == 3 and not head[2] & 0x40 for head in pictures),
            is_plain=_HEVC_PLAIN.issuperset(types),
            may_skip=all(len(head) > 1 and head[1] & 7 >= self._num_layers > 0 for head in pictures),
        )


# Types of units. What starts anew is an IDR picture; one of HEVC may ask the decoder to drop what it has not shown.
_H264_PLAIN = frozenset((1, 5, 6, 9, 12))
_H264_ENDS = frozenset((10, 11))
_HEVC_PLAIN = frozenset((*range(10), 19, 20, 35, 38, 39, 40))
_HEVC_STARTS = (19, 20)
_HEVC_SETTINGS = 33
_HEVC_ENDS = frozenset((36, 37))


def _h264(heads: list[bytes]) -> _Kind | None:
    types = [head[0] & 31 for head in heads]
    if not _H264_ENDS.isdisjoint(types):
        return None
    pictures = [kind for kind in types if kind in (1, 2, 3, 4, 5, 20, 21)]
    return _Kind(starts=bool(pictures) and all(kind == 5 for kind in pictures), is_plain=_H264_PLAIN.issuperset(types))


def _heads(data: bytes, length_size: int | None) -> list[bytes] | None:
    """The first three bytes of each unit of H.264 or HEVC, or as many as it has; None if it cannot be parsed."""
    heads = []
    if length_size is None:
        at = data.find(b"\0\0\1")
        while at >= 0:
            heads.append(data[at + 3 : at + 6])
            at = data.find(b"\0\0\1", at + 3)
    else:
        at = 0
        while at < len(data):
            begin = at + length_size
            at = begin + int.from_bytes(data[at:begin], "big")
            if not begin < at <= len(data):
                return None
            heads.append(data[begin : min(begin + 3, at)])
    return heads if heads and all(heads) else None
