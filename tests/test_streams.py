"""Which of a file's streams is taken, and how long it says that its picture is."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from make_videos import COLOURS, gather, rewrite, solid, write_pictures, write_sound, write_video

from cezsar import indexer, maintenance, store
from cezsar.documents import stats_document
from cezsar.errors import VideoError
from cezsar.settings import load
from cezsar.types import Limits, Segment
from cezsar.video import Decoder
from cezsar.video.browser import still
from cezsar.video.cut import cut
from cezsar.video.frames import Video

_NONE, _DEFAULT, _COVER = Disposition(0), Disposition.default, Disposition.attached_pic
_PROGRAMME_PID = 0x100  # of the first stream of what FFmpeg writes


def _film(folder: Path, colour: str, *, seconds: float = 2.0, size: tuple[int, int] = (64, 48), **more: Any) -> Path:
    suffix = ".mkv" if more.get("codec") == "ffv1" else ".mp4"
    options = {"bf": "0", "g": "10"}
    path = folder / f"{colour}-{size[0]}-{seconds}{suffix}"
    return write_video(path, [(colour, seconds)], size=size, options=options, **more)


def _preview(folder: Path, *, num_frames: int = 1) -> Path:
    """A picture of green, in a codec of cameras' previews."""
    pictures = [solid("green", (128, 96))] * num_frames
    return write_pictures(folder / "preview.mov", pictures, codec="mjpeg", pix_fmt="yuvj420p")


def _taken(path: Path) -> tuple[int, str, float | None, str | None]:
    """The number of the stream that is taken, the colour of its first picture, its duration, and what is missing."""
    with Video(path) as video:
        (first, *_) = video.sample(fps=2, short_side=16, batch_size=100)
        mean = first.frames_uint8[0].mean(axis=(1, 2))
        colour = min(COLOURS, key=lambda name: np.abs(mean - COLOURS[name]).sum())
        return video.stream_number, colour, video.duration_s, video.shortfall


# the rule


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("flags", [(_NONE, _NONE), (_NONE, _DEFAULT), (_DEFAULT, _NONE), (_DEFAULT, _DEFAULT)])
def test_a_preview_of_one_picture_is_left_out_whatever_its_flags(
    tmp_path: Path, suffix: str, flags: tuple[Disposition, Disposition]
) -> None:
    sources = [(_preview(tmp_path), flags[0]), (_film(tmp_path, "red"), flags[1])]
    assert _taken(gather(tmp_path / f"a{suffix}", sources)) == (1, "red", 2.0, None)
    assert _taken(gather(tmp_path / f"b{suffix}", sources[::-1])) == (0, "red", 2.0, None)


def test_a_cover_is_left_out(tmp_path: Path) -> None:
    path = rewrite(_film(tmp_path, "red"), tmp_path / "a.mp4", cover="green")
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 2
    assert _taken(path) == (0, "red", 2.0, None)


@pytest.mark.parametrize("flags", [_COVER | _DEFAULT, Disposition.timed_thumbnails | _DEFAULT])
def test_a_cover_or_thumbnails_may_have_the_default_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: Disposition
) -> None:
    """As some files have it, though FFmpeg does not write them so."""
    path = gather(tmp_path / "a.mp4", [(_preview(tmp_path, num_frames=9), _NONE), (_film(tmp_path, "red"), _NONE)])
    monkeypatch.setattr(
        "cezsar.video.streams._flags", lambda stream: flags if stream.index == 0 else Disposition(stream.disposition)
    )
    assert _taken(path) == (1, "red", 2.0, None)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_picture_alone_is_a_video(tmp_path: Path, suffix: str) -> None:
    assert _taken(gather(tmp_path / f"a{suffix}", [(_preview(tmp_path), _NONE)]))[:2] == (0, "green")


def test_the_default_film_is_taken(tmp_path: Path) -> None:
    long = _film(tmp_path, "blue", seconds=4.0, size=(128, 96))
    path = gather(tmp_path / "a.mkv", [(long, _NONE), (_film(tmp_path, "red"), _DEFAULT)])
    assert _taken(path) == (1, "red", 2.0, None)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_of_two_films_the_larger_is_taken(tmp_path: Path, suffix: str) -> None:
    flag = _NONE if suffix == ".mkv" else _DEFAULT
    sources = [(_film(tmp_path, "blue"), flag), (_film(tmp_path, "red", size=(128, 96)), flag)]
    assert _taken(gather(tmp_path / f"a{suffix}", sources))[:2] == (1, "red")


def test_of_two_films_the_one_of_more_frames_is_taken_where_that_is_said(tmp_path: Path) -> None:
    small, large = _film(tmp_path, "red", seconds=4.0), _film(tmp_path, "blue", size=(128, 96))
    assert _taken(gather(tmp_path / "a.mp4", [(large, _DEFAULT), (small, _DEFAULT)])) == (1, "red", 4.0, None)


def test_of_equal_films_the_first_is_taken(tmp_path: Path) -> None:
    path = gather(tmp_path / "a.mp4", [(_film(tmp_path, "red"), _DEFAULT), (_film(tmp_path, "blue"), _DEFAULT)])
    assert _taken(path) == (0, "red", 2.0, None)


def test_a_timecode_track_is_no_picture(tmp_path: Path) -> None:
    path = gather(tmp_path / "a.mov", [(_film(tmp_path, "red"), None)], metadata={"timecode": "01:00:00:00"})
    with av.open(str(path)) as container:
        assert [stream.type for stream in container.streams] == ["video", "data"]
    assert _taken(path) == (0, "red", 2.0, None)


# a stream that gives no frame


def _nothing_sent(packet: bytearray) -> None:
    packet[1:3] = b"\x1f\xff"  # FFmpeg's number of packets that hold nothing


def _scrambled(packet: bytearray) -> None:
    packet[3] |= 0x80
    _garbage(packet)


def _garbage(packet: bytearray) -> None:
    packet[4:] = random.Random(bytes(packet)).randbytes(184)


@pytest.mark.parametrize("harm", [_nothing_sent, _scrambled, _garbage])
def test_a_programme_that_gives_no_frame_leaves_its_place_to_the_next(
    tmp_path: Path, harm: Callable[[bytearray], None]
) -> None:
    path = gather(tmp_path / "tv.ts", [(_film(tmp_path, "blue", size=(128, 96)), None), (_film(tmp_path, "red"), None)])
    content = path.read_bytes()
    packets = [bytearray(content[at : at + 188]) for at in range(0, len(content), 188)]
    for packet in packets:
        if (packet[1] & 0x1F) << 8 | packet[2] == _PROGRAMME_PID:
            harm(packet)
    path.write_bytes(b"".join(packets))
    assert _taken(path)[:3] == (1, "red", 2.0)


def test_of_streams_that_give_no_frame_the_reason_is_said(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mov", [("red", 1.0)], codec="png", pix_fmt="rgb24")
    path = gather(tmp_path / "a.mov", [(film, _DEFAULT), (film, _DEFAULT)])
    path.write_bytes(path.read_bytes().replace(b"\x89PNG", b"----"))
    with pytest.raises(VideoError, match="no frame could be decoded"):
        _taken(path)


# who opens it later


def test_what_is_made_of_it_later_is_of_the_same_stream(tmp_path: Path) -> None:
    path = gather(tmp_path / "a.mp4", [(_preview(tmp_path), _NONE), (_film(tmp_path, "red"), _DEFAULT)])
    with Decoder(Limits()) as decoder:
        assert len(list(decoder.sample(path, fps=2, short_side=16, batch_size=8))) == 1
        assert (decoder.duration_s, decoder.stream_number) == (2.0, 1)
        assert decoder.media_type(path) is None  # a browser may take the other
    still(path, 0.5, tmp_path / "a.jpg", width=64)
    cut(path, Segment(1.0, 2.0), tmp_path / "copied.mp4")
    cut(path, Segment(0.7, 1.7), tmp_path / "encoded.mp4")
    for name in ("a.jpg", "copied.mp4", "encoded.mp4"):
        with av.open(str(tmp_path / name)) as container:
            pixels = next(container.decode(video=0)).to_ndarray(format="rgb24")
        assert np.abs(pixels.mean(axis=(0, 1)) - COLOURS["red"]).max() < 12, name


class _Lines:
    """What an index run says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def comparing(self, path: Path, num_bytes: int) -> None: ...

    def start(self, num_videos: int, num_bytes: int) -> None: ...

    def done(self, path: Path, num_bytes: int) -> None: ...

    def skipped(self, path: Path, num_bytes: int, reason: str) -> None: ...

    def notice(self, line: str) -> None:
        self.lines.append(line)


def test_the_catalog_and_a_line_say_which_stream_was_taken(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    other = gather(folder / "cam.mp4", [(_preview(tmp_path), _NONE), (_film(tmp_path, "red"), _DEFAULT)])
    write_video(folder / "plain.mp4", [("blue", 1.0)])
    settings, said = load(environ={}, index=tmp_path / "i", model="toy"), _Lines()
    indexer.index([folder], settings, progress=said)
    assert said.lines == [
        f"{other}: video stream 1 was indexed, not stream 0, which a player would not show first or which "
        "gives no frame."
    ]
    with store.open(settings.index) as catalog:
        with catalog.read() as rows:
            assert {Path(video.file.path.decode()).name: video.stream for video in rows.videos()} == {
                "cam.mp4": 1,
                "plain.mp4": 0,
            }
        document = stats_document(maintenance.stats(catalog, settings.index))
    assert document["other_streams"] == [{"path": str(other), "stream": 1}]


def test_the_default_sound_is_cut_out(tmp_path: Path) -> None:
    """The first track is silent, the second has the flag and sounds."""
    tracks = []
    for colour in ("black", "red"):
        pictures = [solid(colour, (64, 48))] * 30
        source = write_pictures(tmp_path / f"{colour}.mkv", pictures, sound=True)
        with av.open(str(source)) as container, av.open(str(tmp_path / f"{colour}-sound.mkv"), "w") as out:
            stream = out.add_stream_from_template(container.streams.audio[0])
            for packet in container.demux(audio=0):
                if packet.pts is not None:
                    packet.stream = stream
                    out.mux(packet)
        tracks.append(tmp_path / f"{colour}-sound.mkv")
    film = _film(tmp_path, "red", seconds=3.0)
    for flags, is_loud in (((_NONE, _DEFAULT), True), ((_DEFAULT, _NONE), False), ((_NONE, _NONE), False)):
        path = gather(tmp_path / "a.mkv", [(film, _DEFAULT), *zip(tracks, flags, strict=True)])
        cut(path, Segment(0.5, 2.5), tmp_path / "out.mp4")
        with av.open(str(tmp_path / "out.mp4")) as container:
            level = max(float(np.abs(frame.to_ndarray()).max()) for frame in container.decode(audio=0))
        assert (level > 0.2) is is_loud


# how long the picture is


def _long_sound(folder: Path, suffix: str, *, sound_s: float = 10.0) -> Path:
    """A picture of three seconds, each frame of about as many bytes, and sound that goes on."""
    noise = np.random.default_rng(0).integers(0, 256, (30, 24, 32, 3), np.uint8)
    codec = {".webm": "libvpx", ".avi": "mpeg4"}.get(suffix, "libx264")
    film = write_pictures(folder / "film.mkv", noise, codec=codec, pix_fmt="yuv420p", options={"g": "1", "bf": "0"})
    sound_codec = {".webm": "libopus", ".avi": "mp3"}.get(suffix, "aac")
    with av.open(str(folder / "sound.mkv"), "w") as out:
        track = out.add_stream(sound_codec, rate=48_000, layout="mono")
        for start in range(0, round(sound_s * 48_000), 960):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), format="fltp", layout="mono")
            samples.sample_rate, samples.pts = 48_000, start
            out.mux(track.encode(samples))
        out.mux(track.encode(None))
    options = {"movflags": "faststart"} if suffix in (".mp4", ".mov") else {}
    return gather(folder / f"long{suffix}", [(film, None), (folder / "sound.mkv", None)], options=options)


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".mp4", ".mov", ".avi", ".flv", ".ts"])
def test_sound_that_goes_on_is_no_picture_that_is_missing(tmp_path: Path, suffix: str) -> None:
    with Video(_long_sound(tmp_path, suffix)) as video:
        assert len(list(video.spans())) == 30
        assert video.duration_s == pytest.approx(3.0, abs=0.05)
        assert video.shortfall is None


@pytest.mark.parametrize("options", [{"live": "1"}, {}])
def test_a_matroska_file_without_its_picture_s_own_duration(tmp_path: Path, options: dict[str, str]) -> None:
    path = _long_sound(tmp_path, ".mkv")
    path.write_bytes(path.read_bytes().replace(b"DURATION", b"DURATIOX"))
    with av.open(str(path)) as container:
        assert "DURATION" not in container.streams.video[0].metadata
    assert _taken(path)[3] is None


@pytest.mark.parametrize("keeps_tags", [True, False])
@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".mp4", ".mov", ".avi", ".flv"])
def test_of_a_truncated_file_what_is_missing_is_said(tmp_path: Path, suffix: str, keeps_tags: bool) -> None:
    """Sound as long as the picture, so that both are cut off."""
    path = _long_sound(tmp_path, suffix, sound_s=3.0)
    content = path.read_bytes()
    if not keeps_tags:
        content = content.replace(b"DURATION", b"DURATIOX")
    path.write_bytes(content[: len(content) * 3 // 10])
    _, _, duration_s, shortfall = _taken(path)
    assert duration_s is not None
    assert duration_s < 2.0
    assert shortfall is not None
    assert shortfall.startswith(f"only {duration_s:.1f} of the 3.")


def test_a_longer_second_film_is_not_missing(tmp_path: Path) -> None:
    sources = [(_film(tmp_path, "red"), _DEFAULT), (_film(tmp_path, "blue", seconds=9.0), _NONE)]
    assert _taken(gather(tmp_path / "a.mkv", sources)) == (0, "red", 2.0, None)


def test_subtitles_that_go_on_are_no_picture_that_is_missing(tmp_path: Path) -> None:
    source = _film(tmp_path, "red")
    (tmp_path / "a.srt").write_text(
        "1\n00:00:01,000 --> 00:00:02,000\nhello\n\n2\n00:00:50,000 --> 00:01:00,000\nbye\n"
    )
    path = gather(tmp_path / "a.mkv", [(source, None), (tmp_path / "a.srt", None)])
    assert _taken(path) == (0, "red", 2.0, None)
    path.write_bytes(path.read_bytes().replace(b"DURATION", b"DURATIOX"))
    assert _taken(path) == (0, "red", 2.0, None)


def test_an_edit_list_that_shows_a_part_is_whole(tmp_path: Path) -> None:
    """Of four seconds the first one and a half lie before the file's beginning."""
    source = _film(tmp_path, "red", seconds=4.0)
    path = tmp_path / "a.mp4"
    with av.open(str(source)) as container, av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as out:
        stream = out.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(video=0):
            if packet.pts is not None:
                shift = round(1.5 / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                out.mux(packet)
    assert _taken(path) == (0, "red", 2.5, None)
    assert rewrite(source, tmp_path / "whole.mp4").exists()


def test_of_equal_sounds_of_a_broadcast_the_first_is_taken(tmp_path: Path) -> None:
    film = _film(tmp_path, "red")
    path = gather(tmp_path / "a.ts", [(film, None), *[(write_sound(tmp_path / "sound.mp4", 2.0), None)] * 2])
    with Video(path) as video:
        assert video.sound is not None
        assert (video.sound.index, len(video.container.streams.audio)) == (1, 2)
