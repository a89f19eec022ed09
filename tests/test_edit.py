"""Lists for the edit: what they say is read back by readers of our own, and by OpenTimelineIO's."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import shutil
import time
from fractions import Fraction
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit
from xml.etree import ElementTree

import av
import opentimelineio as otio
import pytest
from click.testing import CliRunner, Result
from make_videos import write_video
from opentimelineio.opentime import RationalTime
from PIL import Image

from cezsar.cli import cli
from cezsar.edit import MOST_CLIPS, MOST_PICTURES, Clip, Exported, exported, play, write
from cezsar.edit.timecode import can_drop, frame_of, timecode
from cezsar.errors import CezsarError, QueryError
from cezsar.video import Timing
from cezsar.video.browser import still
from cezsar.video.frames import Video
from cezsar.video.timing import timing

FILM, PAL, NTSC, FIFTY, SIXTY = (
    Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(50), Fraction(60000, 1001),
)  # fmt: skip
RATES = (FILM, PAL, NTSC, FIFTY, SIXTY)


def made(form: str, clips: list[Clip], *, title: str = "red") -> Exported:
    return exported(form, clips, title=title, timing_of=timing, still_of=_still)


def _still(path: Path, time_s: float, target: Path) -> None:
    still(path, time_s, target, width=320)


def text(form: str, clips: list[Clip], name: str) -> str:
    return made(form, clips).files[name].decode()


def coded(path: Path, code: str, *, fps: Fraction, seconds: float = 4.0) -> Path:
    """A video whose file says what time code it begins with."""
    plain = write_video(path.with_name(f"plain-{path.name}"), [("red", seconds)], fps=fps)
    with av.open(str(plain)) as source, av.open(str(path), "w", format="mov") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        out.metadata["timecode"] = code
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    plain.unlink()
    return path


# time code


@pytest.mark.parametrize(
    ("frame", "rate", "drop", "code"),
    [
        (0, PAL, False, "00:00:00:00"),
        (90_000, PAL, False, "01:00:00:00"),
        (86_400, FILM, False, "01:00:00:00"),
        (108_000, NTSC, False, "01:00:00:00"),
        (1_799, NTSC, True, "00:00:59;29"),
        (1_800, NTSC, True, "00:01:00;02"),
        (17_981, NTSC, True, "00:09:59;29"),
        (17_982, NTSC, True, "00:10:00;00"),
        (107_892, NTSC, True, "01:00:00;00"),
        (3_599, SIXTY, True, "00:00:59;59"),
        (3_600, SIXTY, True, "00:01:00;04"),
        (215_784, SIXTY, True, "01:00:00;00"),
        (4_320_000, FIFTY, False, "00:00:00:00"),  # a day later
        (2_589_408, NTSC, True, "00:00:00;00"),
    ],
)
def test_time_code_of_a_frame(frame: int, rate: Fraction, drop: bool, code: str) -> None:
    assert timecode(frame, rate, drop=drop) == code


@pytest.mark.parametrize("rate", RATES)
def test_time_code_is_what_opentimelineio_makes_of_every_seventh_frame_of_an_hour(rate: Fraction) -> None:
    for drop in {False, can_drop(rate)}:
        for frame in range(0, 3_600 * round(rate) + 200, 7):
            code = timecode(frame, rate, drop=drop)
            assert code == otio.opentime.to_timecode(RationalTime(frame, float(rate)), float(rate), drop)
            assert frame_of(code, rate) == frame


@pytest.mark.parametrize("code", ["", "1:2:3:4", "00:00:60:00", "00:00:00:25", "24:00:00:00", "00:00:00:00:00", "x"])
def test_what_is_no_time_code_at_25_frames_names_no_frame(code: str) -> None:
    assert frame_of(code, PAL) is None


def test_a_dropped_number_names_no_frame() -> None:
    assert frame_of("00:01:00;01", NTSC) is None
    assert frame_of("00:01:00;02", NTSC) == 1_800
    assert frame_of("00:10:00;01", NTSC) == 17_983


# which frame is shown when


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi", ".ts"])
def test_the_time_of_each_frame_names_that_frame(tmp_path: Path, suffix: str, rate: Fraction) -> None:
    codec = "mpeg4" if suffix == ".avi" else "libx264"  # AVI has no time stamps for frames out of order
    path = write_video(tmp_path / f"a{suffix}", [("red", 2.0)], fps=rate, codec=codec)
    found = timing(path)
    with Video(path) as video:
        times_s = [time_s for _, time_s, _ in video.spans()]
    assert (found.rate, found.is_steady) == (rate, True)
    assert [found.frames(time_s, time_s + 1e-4)[0] for time_s in times_s] == list(range(len(times_s)))
    stops = [found.frames(0.0, end_s)[1] for end_s in times_s[1:]]
    assert stops == list(range(1, len(times_s)))


def test_a_clip_has_a_frame_at_least_and_none_beyond_the_end(tmp_path: Path) -> None:
    found = timing(write_video(tmp_path / "a.mp4", [("red", 2.0)], fps=25))
    assert found.frames(0.5, 0.5001) == (12, 13)
    assert found.frames(1.0, 9.0) == (25, 50)
    assert found.frames(8.0, 9.0) == (49, 50)


def test_a_variable_frame_rate_is_noticed(tmp_path: Path) -> None:
    times_s = [0.0, 0.1, 0.2, 0.9, 1.0, 1.4, 1.5, 2.3, 2.4, 2.5]
    for name in ("a.mp4", "a.mkv"):
        assert not timing(write_video(tmp_path / name, [("red", 1.0)], times_s=times_s)).is_steady


def test_the_time_code_that_a_file_begins_with_is_read(tmp_path: Path) -> None:
    assert timing(coded(tmp_path / "a.mov", "10:00:00:00", fps=PAL)).timecode == "10:00:00:00"
    assert timing(coded(tmp_path / "b.mov", "01:00:00;00", fps=NTSC)).timecode == "01:00:00;00"
    assert timing(write_video(tmp_path / "c.mp4", [("red", 1.0)])).timecode is None


# edit decision lists

_EVENT = re.compile(r"(\d{3})  AX       (V|AA/V) {1,4} C        " + " ".join([r"(\d\d:\d\d:\d\d[:;]\d\d)"] * 4))


def read_edl(content: str, rate: Fraction) -> list[tuple[str, int, int]]:
    """(clip name, first frame, stop frame) of each event of a list that is strictly as CMX 3600 has it."""
    lines = content.split("\n")
    assert re.fullmatch(r"TITLE: .{1,70}", lines[0])
    assert lines[1] in ("FCM: DROP FRAME", "FCM: NON-DROP FRAME")
    mark = ";" if lines[1] == "FCM: DROP FRAME" else ":"
    assert lines[2] == ""
    assert lines[-1] == ""
    events: list[list[int | str]] = []
    position = frame_of(f"01:00:00{mark}00", rate)
    for line in lines[3:-1]:
        if line.startswith("* FROM CLIP NAME: "):
            events[-1][0] = line.removeprefix("* FROM CLIP NAME: ")
        elif not line.startswith("* "):
            match = _EVENT.fullmatch(line)
            assert match, line
            assert int(match[1]) == len(events) + 1
            assert all(code[8] == mark for code in match.groups()[2:])
            first, stop, begin, end = (frame_of(code, rate) for code in match.groups()[2:])
            assert None not in (first, stop, begin, end)
            assert begin == position
            assert end - begin == stop - first > 0
            position = end
            events.append(["", first, stop])
    return [(str(name), int(first), int(stop)) for name, first, stop in events]


@pytest.mark.parametrize("rate", RATES)
def test_an_edl_has_the_frames_of_its_clips_at_every_rate(tmp_path: Path, rate: Fraction) -> None:
    path = write_video(tmp_path / "a.mp4", [("red", 4.0)], fps=rate)
    clips = [Clip(path, float(20 / rate), float(50 / rate)), Clip(path, 0.0, float(1 / rate))]
    content = text("edl", clips, "hits.edl")
    assert read_edl(content, rate) == [("a.mp4", 20, 50), ("a.mp4", 0, 1)]
    assert content.startswith(f"TITLE: red\nFCM: {'DROP' if can_drop(rate) else 'NON-DROP'} FRAME\n\n001  AX       V ")
    track = otio.adapters.read_from_string(content, "cmx_3600", rate=float(rate)).tracks[0]
    assert [(one.source_range.start_time.value, one.source_range.duration.value) for one in track] == [(20, 30), (0, 1)]


def test_an_edl_counts_from_the_time_code_that_the_file_says(tmp_path: Path) -> None:
    dropped, plain = (coded(tmp_path / f"{n}.mov", f"01:00:00{m}00", fps=NTSC) for n, m in (("d", ";"), ("n", ":")))
    assert "01:00:01;00 01:00:02;00 01:00:00;00 01:00:01;00" in text(
        "edl", [Clip(dropped, float(30 / NTSC), float(60 / NTSC))], "hits.edl"
    )
    assert "FCM: NON-DROP FRAME\n\n001  AX       V     C        01:00:01:00 01:00:02:00 01:00:00:00 01:00:01:00" in (
        text("edl", [Clip(plain, float(30 / NTSC), float(60 / NTSC))], "hits.edl")
    )


def test_an_edl_carries_notes_and_names_as_single_lines(tmp_path: Path) -> None:
    path = write_video(tmp_path / "ä 'b' \"c\"\n* d.mp4", [("red", 1.0)], sound=True)
    content = text("edl", [Clip(path, 0.0, 0.5, "two\nlines")], "hits.edl")
    assert content.split("\n")[3:] == [
        "001  AX       AA/V  C        00:00:00:00 00:00:00:05 01:00:00:00 01:00:00:05",
        "* FROM CLIP NAME: ä 'b' \"c\"\\x0a* d.mp4",
        f"* SOURCE FILE: {tmp_path}/ä 'b' \"c\"\\x0a* d.mp4",
        "* COMMENT: two lines",
        "",
    ]


def test_markers_lie_where_the_events_begin(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [("red", 2.0)], fps=25)
    content = text("edl", [Clip(path, 0.0, 1.0, "a|b"), Clip(path, 1.0, 1.4)], "hits-markers.edl")
    assert content == (
        "TITLE: red\nFCM: NON-DROP FRAME\n\n"
        "001  001      V     C        01:00:00:00 01:00:00:01 01:00:00:00 01:00:00:01\n"
        "a/b |C:ResolveColorBlue |M:a.mp4 |D:25\n\n"
        "002  001      V     C        01:00:01:00 01:00:01:01 01:00:01:00 01:00:01:01\n"
        " |C:ResolveColorBlue |M:a.mp4 |D:10\n"
    )


def test_each_frame_rate_has_an_edl_of_its_own(tmp_path: Path) -> None:
    slow, fast = (write_video(tmp_path / f"{rate}.mp4", [("red", 1.0)], fps=rate) for rate in (25, 50))
    result = made("edl", [Clip(slow, 0.0, 0.4), Clip(fast, 0.0, 0.4), Clip(slow, 0.4, 0.8)])
    assert sorted(result.files) == ["hits-25.edl", "hits-50.edl", "hits-markers-25.edl", "hits-markers-50.edl"]
    assert read_edl(result.files["hits-25.edl"].decode(), PAL) == [("25.mp4", 0, 10), ("25.mp4", 10, 20)]
    assert result.notices == ("a list has one frame rate: there is one list for each of 25, 50",)


def test_an_edl_has_999_events_at_most(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [("red", 1.0)], fps=25)
    result = made("edl", [Clip(path, 0.0, 0.4)] * MOST_CLIPS)
    lists = [read_edl(result.files[f"hits-{number}.edl"].decode(), PAL) for number in range(1, 12)]
    assert [len(one) for one in lists] == [999] * 10 + [10]


def test_a_rate_that_time_code_cannot_count_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [("red", 1.0)], fps=120)
    with pytest.raises(CezsarError, match=r"a\.mp4 is left out: time code cannot count 120 frames a second"):
        made("edl", [Clip(path, 0.0, 0.5)])


# FCPXML and OTIO


def read_fcpxml(content: str) -> list[tuple[str, Path, Fraction, Fraction]]:
    """(name, path, start and duration in frames of its own format) of each clip of the one project."""

    def seconds(value: str) -> Fraction:
        assert re.fullmatch(r"\d+(/\d+)?s", value)
        return Fraction(value[:-1])

    root = ElementTree.fromstring(content)
    assert root.attrib == {"version": "1.9"}
    lasts = {one.attrib["id"]: seconds(one.attrib["frameDuration"]) for one in root.iter("format")}
    assets = {one.attrib["id"]: one for one in root.iter("asset")}
    (sequence,) = root.iter("sequence")
    (spine,) = sequence
    step = lasts[sequence.attrib["format"]]
    position, found = Fraction(0), []
    for clip in spine:
        assert clip.tag == "asset-clip"
        asset = assets[clip.attrib["ref"]]
        own = lasts[asset.attrib["format"]]
        offset, start, duration = (seconds(clip.attrib[key]) for key in ("offset", "start", "duration"))
        assert offset == position
        assert duration % step == 0
        assert seconds(asset.attrib["start"]) <= start
        assert start + duration <= seconds(asset.attrib["start"]) + seconds(asset.attrib["duration"]) + step
        position += duration
        address = urlsplit(asset.find("media-rep").attrib["src"])  # type: ignore[union-attr]
        assert (address.scheme, address.netloc) == ("file", "")
        path = Path(os.fsdecode(unquote_to_bytes(address.path)))
        found.append((clip.attrib["name"], path, start / own, duration / own))
    assert seconds(sequence.attrib["duration"]) == position
    return found


@pytest.mark.parametrize("rate", RATES)
def test_fcpxml_and_otio_have_the_frames_of_their_clips_at_every_rate(tmp_path: Path, rate: Fraction) -> None:
    path = coded(tmp_path / "a.mov", "00:00:10:00", fps=rate)
    clips = [Clip(path, float(20 / rate), float(50 / rate), "says <this> & that"), Clip(path, 0.0, float(1 / rate))]
    begin = 10 * round(rate)
    content = text("fcpxml", clips, "hits.fcpxml")
    assert read_fcpxml(content) == [("a.mov", path, begin + 20, 30), ("a.mov", path, begin, 1)]
    assert [note.text for note in ElementTree.fromstring(content).iter("note")] == ["says <this> & that"]
    wanted = [("a.mov", begin + 20, 30), ("a.mov", begin, 1)]
    if rate.denominator == 1:  # OpenTimelineIO's adapter takes 29.97 for 29
        (read,) = otio.adapters.read_from_string(content, "fcpx_xml")
        assert [_told(one) for one in read.tracks[0]][:2] == wanted
    track = otio.adapters.read_from_string(text("otio", clips, "hits.otio"), "otio_json").tracks[0]
    assert [_told(one) for one in track] == wanted
    assert {one.source_range.start_time.rate for one in track} == {float(rate)}
    assert track[0].media_reference.target_url == path.as_uri()
    assert track[0].metadata["cezsar"]["note"] == "says <this> & that"


def _told(clip: otio.schema.Clip) -> tuple[str, float, float]:
    return clip.name, round(clip.source_range.start_time.value, 6), round(clip.source_range.duration.value, 6)


def test_a_clip_of_another_rate_lasts_to_the_timelines_next_frame(tmp_path: Path) -> None:
    slow, fast = (write_video(tmp_path / f"{rate}.mp4", [("red", 1.0)], fps=rate) for rate in (25, 50))
    result = made("fcpxml", [Clip(slow, 0.0, 0.4), Clip(slow, 0.4, 0.8), Clip(fast, 0.02, 0.32)])
    assert read_fcpxml(result.files["hits.fcpxml"].decode())[2] == ("50.mp4", fast, 1, 16)
    assert result.notices == ("1 of 3 clips have another frame rate than the timeline, 25",)


def test_a_variable_frame_rate_is_told_in_seconds_with_a_line(tmp_path: Path) -> None:
    times_s = [0.0, 0.1, 0.2, 0.9, 1.0, 1.4, 1.5, 2.3, 2.4, 2.5]
    clips = [Clip(write_video(tmp_path / "a.mp4", [("red", 1.0)], times_s=times_s), 0.25, 1.25)]
    line = "a.mp4 has a variable frame rate: its times are seconds, not frames"
    for form in ("edl", "fcpxml", "otio", "csv", "json"):
        assert made(form, clips).notices[0] == line
    (clip,) = ElementTree.fromstring(text("fcpxml", clips, "hits.fcpxml")).iter("asset-clip")
    assert clip.attrib["start"] == "1/4s"
    (one,) = otio.adapters.read_from_string(text("otio", clips, "hits.otio"), "otio_json").tracks[0]
    assert one.source_range == otio.opentime.TimeRange(RationalTime(250, 1000), RationalTime(1000, 1000))
    (row,) = csv.DictReader(io.StringIO(text("csv", clips, "hits.csv")))
    assert (row["start_s"], row["end_s"], row["start_timecode"], row["first_frame"]) == ("0.25", "1.25", "", "")


# playlists, tables and sheets


def read_m3u(content: str) -> list[tuple[Path, float, float]]:
    """(path, start, stop) of each entry of a playlist with VLC's options."""
    head, *lines = content.splitlines()
    assert head == "#EXTM3U"
    assert len(lines) % 4 == 0
    found = []
    for title, start, stop, address in zip(*[iter(lines)] * 4, strict=True):
        assert re.fullmatch(r"#EXTINF:\d+,.+", title)
        times = [
            float(line.removeprefix(f"#EXTVLCOPT:{name}-time=")) for line, name in ((start, "start"), (stop, "stop"))
        ]
        assert address.isascii()
        found.append((_path(address), *times))
    return found


def read_mpv(content: str) -> list[tuple[Path, float, float]]:
    """(path, start, stop) of each entry of a playlist of mpv's own addresses."""
    found = []
    for line in content.splitlines()[2::2]:
        length, rest = re.fullmatch(r"edl://%(\d+)%(.+)", line).groups()  # type: ignore[union-attr]
        address, times = rest[: int(length)], rest[int(length) :]
        _, start, lasts = times.split(",")
        found.append((_path(address), float(start), round(float(start) + float(lasts), 6)))
    return found


def _path(address: str) -> Path:
    assert address.startswith("file:///")
    return Path(os.fsdecode(unquote_to_bytes(address.removeprefix("file://"))))


ODD = (b"a b.mp4", "ä€.mp4".encode(), b'it\'s "q".mp4', b"new\nline.mp4", b"\xff\xfe.mp4", b"-x,y;#%20.mp4", b"<&>.mp4")


@pytest.mark.parametrize("name", ODD)
def test_paths_of_any_characters_survive(tmp_path: Path, name: bytes) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    write_video(tmp_path / "plain.mp4", [("red", 1.0)]).rename(path)
    clips = [Clip(path, 0.2, 0.7, "n")]
    playlists = made("m3u", clips).files
    assert read_m3u(playlists["hits.m3u8"].decode()) == [(path, 0.2, 0.7)]
    assert read_mpv(playlists["hits-mpv.m3u8"].decode()) == [(path, 0.2, 0.7)]
    assert read_fcpxml(text("fcpxml", clips, "hits.fcpxml"))[0][1] == path
    (one,) = otio.adapters.read_from_string(text("otio", clips, "hits.otio"), "otio_json").tracks[0]
    assert _path(one.media_reference.target_url) == path
    assert len(read_edl(text("edl", clips, "hits.edl"), Fraction(10))) == 1
    (row,) = csv.DictReader(io.StringIO(text("csv", clips, "hits.csv")))
    (entry,) = json.loads(text("json", clips, "hits.json"))["clips"]
    assert row["path"] == entry["path"]
    if name != b"\xff\xfe.mp4":
        assert row["path"] == str(path)


def test_rows_have_seconds_time_code_and_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [("red", 2.0)], fps=25)
    clips = [Clip(path, 0.4, 1.2, '=1+1, "quoted"\nline')]
    wanted = {
        "number": 1, "path": str(path), "start_s": 0.4, "end_s": 1.2, "start_timecode": "00:00:00:10",
        "end_timecode": "00:00:01:05", "frame_rate": "25", "first_frame": 10, "end_frame": 30,
        "note": '=1+1, "quoted"\nline',
    }  # fmt: skip
    assert json.loads(text("json", clips, "hits.json")) == {"title": "red", "clips": [wanted]}
    (row,) = csv.DictReader(io.StringIO(text("csv", clips, "hits.csv")))
    assert row == {**{name: str(value) for name, value in wanted.items()}, "path_bytes": ""}


def test_a_contact_sheet_has_a_picture_for_each_clip(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [("red", 1.0), ("green", 1.0), ("blue", 1.0)], size=(320, 180))
    result = made("sheet", [Clip(path, start_s, start_s + 1.0, "größer") for start_s in (0.0, 1.0, 2.0)])
    sheet = Image.open(io.BytesIO(result.files["hits.png"]))
    assert sheet.format == "PNG"
    assert sheet.size == (12 + 3 * 332, 44 + 252)
    seen = [sheet.getpixel((12 + 332 * number + 160, 44 + 90)) for number in range(3)]
    assert [max(range(3), key=pixel.__getitem__) for pixel in seen] == [0, 1, 2]
    assert any(sheet.getpixel((x, y)) != (255, 255, 255) for x in range(12, 330) for y in range(226, 242))  # words


def test_a_sheet_holds_100_clips_and_a_lost_video_costs_its_own_picture_alone(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [("red", 1.0)])
    result = made("sheet", [Clip(path, 0.0, 1.0)] * 100 + [Clip(tmp_path / "gone.mp4", 0.0, 1.0)])
    assert sorted(result.files) == ["hits-1.png", "hits-2.png"]
    assert result.notices == ("gone.mp4: there is no such file; it has no picture",)


# what cannot be done


def test_a_video_that_cannot_be_read_is_left_out_with_a_line(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [("red", 1.0)])
    result = made("edl", [Clip(tmp_path / "gone.mp4", 0.0, 1.0), Clip(path, 0.0, 0.5)])
    assert [name for name, *_ in read_edl(result.files["hits.edl"].decode(), Fraction(10))] == ["a.mp4"]
    assert result.notices == ("gone.mp4: there is no such file; it has no time code",)
    with pytest.raises(CezsarError, match="None of the videos can be read, so nothing can be exported as fcpxml"):
        made("fcpxml", [Clip(tmp_path / "gone.mp4", 0.0, 1.0)])


@pytest.mark.parametrize(
    ("form", "clips", "message"),
    [
        ("edl", [], "There is nothing to export."),
        (
            "m3u",
            [Clip(Path("/a.mp4"), 0.0, 1.0)] * (MOST_CLIPS + 1),
            "10,001 clips are too many: at most 10,000 as m3u.",
        ),
        (
            "sheet",
            [Clip(Path("/a.mp4"), 0.0, 1.0)] * (MOST_PICTURES + 1),
            "201 clips are too many: at most 200 as sheet.",
        ),
        ("m3u", [Clip(Path("/a.mp4"), 2.0, 1.0)], "A clip ends after it begins: not 2 to 1 s of a.mp4."),
        ("m3u", [Clip(Path("/a.mp4"), 0.0, float("nan"))], "A clip ends after it begins: not 0 to nan s of a.mp4."),
    ],
)
def test_clips_that_are_none_or_too_many_are_refused(form: str, clips: list[Clip], message: str) -> None:
    with pytest.raises(QueryError) as raised:
        made(form, clips)
    assert str(raised.value) == message


def test_each_video_is_read_once(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [("red", 1.0)])
    read: list[Path] = []

    def timing_of(one: Path) -> Timing:
        read.append(one)
        return timing(one)

    exported("csv", [Clip(path, 0.0, 0.5)] * 1_000, title="x", timing_of=timing_of, still_of=_still)
    assert read == [path]


def test_a_full_disk_is_one_line_and_leaves_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hits.csv").write_text("old")

    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CezsarError) as raised:
        write(Exported({"hits.csv": b"new"}, ()), tmp_path)
    assert str(raised.value) == f"{tmp_path / 'hits.csv'} cannot be written: No space left on device."
    assert os.listdir(tmp_path) == ["hits.csv"]
    assert (tmp_path / "hits.csv").read_text() == "old"


# the command


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("edit")
    (folder / "videos").mkdir()
    for name in ("red", "green"):
        write_video(folder / "videos" / f"{name}.mp4", [(name, 3.0)], fps=25)
    assert run("index", folder / "videos", "--index", folder / "index", "--model", "toy").exit_code == 0
    return folder / "index"


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("edl", ["hits-markers.edl", "hits.edl"]),
        ("fcpxml", ["hits.fcpxml"]),
        ("otio", ["hits.otio"]),
        ("m3u", ["hits-mpv.m3u8", "hits.m3u8"]),
        ("csv", ["hits.csv"]),
        ("json", ["hits.json"]),
        ("sheet", ["hits.png"]),
    ],
)
def test_query_exports_its_hits_as_lists(index: Path, tmp_path: Path, form: str, names: list[str]) -> None:
    result = run("query", "red", "--index", index, "--export", tmp_path / "out", "--as", form, "--format", "paths")
    assert result.exit_code == 0
    assert sorted(os.listdir(tmp_path / "out")) == names
    assert f"exported 2 hits to {tmp_path / 'out'}: " in result.stderr


def test_the_command_keeps_the_hits_order_and_the_query_as_their_note(index: Path, tmp_path: Path) -> None:
    result = run("query", "green", "--index", index, "--export", tmp_path, "--as", "csv", "--json")
    hits = json.loads(result.stdout)["hits"]
    with (tmp_path / "hits.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [hit["path"] for hit in hits]
    assert [float(row["end_s"]) for row in rows] == [hit["end_s"] for hit in hits]
    assert {row["note"] for row in rows} == {"green"}


def test_as_without_export_is_wrong_usage(index: Path) -> None:
    result = run("query", "red", "--index", index, "--as", "edl")
    assert result.exit_code == 2
    assert "--as needs --export DIR." in result.stderr


def test_a_folder_that_cannot_be_made_is_one_line(index: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("query", "red", "--index", index, "--export", tmp_path / "file" / "out", "--as", "m3u")
    assert result.exit_code == 1
    assert (
        result.stderr.splitlines()[-1] == f"cezsar: {tmp_path}/file/out/hits.m3u8 cannot be written: Not a directory."
    )


def test_the_frames_of_exported_clips_are_those_of_the_list(index: Path, tmp_path: Path) -> None:
    run("query", "red", "--index", index, "-k", "1", "--export", tmp_path)
    run("query", "red", "--index", index, "-k", "1", "--export", tmp_path, "--as", "json")
    (entry,) = json.loads((tmp_path / "hits.json").read_text())["clips"]
    (clip,) = tmp_path.glob("*.mp4")
    with av.open(str(clip)) as container:
        assert sum(1 for _ in container.decode(video=0)) == entry["end_frame"] - entry["first_frame"]


def test_a_video_that_crashes_the_decoder_costs_its_own_clip_alone(tmp_path: Path, deadly: None) -> None:
    write_video(tmp_path / "v.mp4", [("red", 1.0)])
    run("index", tmp_path / "v.mp4", "--index", tmp_path / "i", "--model", "toy")
    (tmp_path / "v.mp4").rename(tmp_path / "deadly.mp4")
    run("index", tmp_path / "deadly.mp4", "--index", tmp_path / "i")
    result = run("query", "red", "--index", tmp_path / "i", "--export", tmp_path / "out", "--as", "edl")
    assert result.exit_code == 1
    assert "it crashed the decoder (SIGSEGV)" in result.stderr


# playing


def player(folder: Path, name: str) -> Path:
    """A player that writes down what it was started with; where it does so."""
    told = folder / f"{name}.told"
    program = folder / name
    program.write_text(f"#!/bin/sh\nprintf '%s\\0' \"$@\" > '{told}.part'; mv '{told}.part' '{told}'\n")
    program.chmod(0o755)
    return told


def started_with(told: Path) -> list[str]:
    ends = time.monotonic() + 60
    while not told.exists():
        assert time.monotonic() < ends
        time.sleep(0.05)
    return [os.fsdecode(word) for word in told.read_bytes().split(b"\0")[:-1]]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the player goes on, as it should
def test_a_hit_is_played_by_mpv_or_else_vlc_at_its_second(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    told = player(tmp_path, "vlc")
    if not shutil.which("mpv"):
        result = run("query", "green", "--index", index, "--play", "1", "--json")
        assert result.exit_code == 0
        path = json.loads(result.stdout)["hits"][0]["path"]
        assert started_with(told) == ["--start-time=0.000", Path(path).as_uri()]
        assert "vlc plays " in result.stderr
    told = player(tmp_path, "mpv")
    path = json.loads(run("query", "green", "--index", index, "--play", "2", "--json").stdout)["hits"][1]["path"]
    assert started_with(told) == ["--start=0.000", "--", path]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the player goes on, as it should
def test_a_name_like_an_option_or_a_command_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    told = player(tmp_path, "mpv")
    path = Path("--script=$(touch x); 'a'\n.mp4")
    (tmp_path / path).write_bytes(b"")
    play(path, start_s=61.5)
    assert started_with(told) == ["--start=61.500", "--", str(tmp_path / path)]
    assert not (tmp_path / "x").exists()


def test_what_cannot_be_played_is_one_line(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for rank, line in (
        (1, "There is no mpv and no vlc to play it: install one, or look at the page, `cezsar serve --open`."),
        (9, "There is no hit 9 to play: there are 2."),
    ):
        result = run("query", "red", "--index", index, "--play", rank)
        assert (result.exit_code, result.stderr.splitlines()[-1]) == (1, f"cezsar: {line}")
    assert run("query", "-", "--index", index, "--play", "1").exit_code == 2
    with pytest.raises(QueryError, match=r"gone\.mp4 cannot be played: there is no such file"):
        play(tmp_path / "gone.mp4", start_s=0.0)
