"""Decoding in a process of its own: the same frames, and whatever happens there costs one video alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from make_videos import write_video

from cezsar.errors import VideoError, VideoLost
from cezsar.types import Limits, Segment
from cezsar.video import Decoder
from cezsar.video.cut import cut, cut_into
from cezsar.video.decoder import _START
from cezsar.video.frames import Video

ASKED = {"fps": 5.0, "short_side": 16, "batch_size": 2}
# what a child says of one grey frame of 1 x 1
FRAME = b'{"shape": [1, 3, 1, 1]}\n' + bytes(3) + bytes(8) + (1).to_bytes(8, "little") + bytes(8 + 8 + 4 * 64)


def standing_in(code: str) -> list[str]:
    """A child that hears a request and then runs code."""
    return [sys.executable, "-c", f"import os, sys, time; sys.stdin.readline(); out = sys.stdout.buffer\n{code}"]


@pytest.fixture(autouse=True)
def _own_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each decoder is a process of its own from the start, as users have it."""
    monkeypatch.setattr("cezsar.video.decoder._START", _START)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of many colours."""
    colours = ["red", "green", "blue", "white"] * 5
    return write_video(tmp_path_factory.mktemp("decoder") / "many.mp4", [(colour, 0.1) for colour in colours])


def test_frames_are_those_of_the_video_itself(video: Path) -> None:
    with Video(video) as here:
        expected = list(here.sample(**ASKED))
        told = here.duration_s, here.shortfall
    with Decoder(Limits()) as decoder:
        for _ in range(2):  # one process, two videos
            found = list(decoder.sample(video, **ASKED))
            assert len(found) == len(expected) == 5
            for batch, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(batch.frames_uint8, other.frames_uint8)
                np.testing.assert_array_equal(batch.times_s, other.times_s)
                np.testing.assert_array_equal(batch.repeats, other.repeats)
            assert (decoder.duration_s, decoder.shortfall) == told


def test_what_the_video_says_is_wrong_is_said_here_too(tmp_path: Path, video: Path) -> None:
    (tmp_path / "no.mp4").write_text("no video at all")
    with Decoder(Limits()) as decoder:
        with pytest.raises(VideoError, match="not a readable video") as error:
            list(decoder.sample(tmp_path / "no.mp4", **ASKED))
        assert not isinstance(error.value, VideoLost)
        with pytest.raises(VideoLost, match="there is no such file"):
            list(decoder.sample(tmp_path / "gone.mp4", **ASKED))
        assert len(list(decoder.sample(video, **ASKED))) == 5


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL"])
def test_a_crash_names_its_signal_and_the_next_video_is_decoded(name: str, video: Path) -> None:
    with Decoder(Limits()) as decoder:
        batches = decoder.sample(video, **ASKED)
        next(batches)
        process = decoder._process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)  # before it can finish
        os.kill(process.pid, signal.Signals[name])
        os.kill(process.pid, signal.SIGCONT)
        with pytest.raises(VideoError, match=rf"it crashed the decoder \({name}\)"):
            list(batches)
        assert len(list(decoder.sample(video, **ASKED))) == 5


def test_an_exit_in_the_middle_of_a_message_is_a_crash(video: Path) -> None:
    command = standing_in(f"out.write({FRAME[:-4]!r}); out.flush(); os._exit(7)")
    with Decoder(Limits(), command=command) as decoder, pytest.raises(VideoError, match="exit status 7"):
        list(decoder.sample(video, **ASKED))


def test_a_hang_is_given_up(video: Path) -> None:
    command = standing_in("time.sleep(60)")
    with Decoder(Limits(stall_s=0.3), command=command) as decoder:
        began = time.monotonic()
        with pytest.raises(VideoError, match=r"decoding was given up: no frame for 0.3 s"):
            list(decoder.sample(video, **ASKED))
        assert time.monotonic() - began < 30


def test_frames_without_end_are_given_up(video: Path) -> None:
    command = standing_in(f"while True: out.write({FRAME!r}); out.flush(); time.sleep(0.05)")
    with (
        Decoder(Limits(stall_s=50, time_s=0.5), command=command) as decoder,
        pytest.raises(VideoError, match=r"given up: it took over 0.5 s in all"),
    ):
        list(decoder.sample(video, **ASKED))


class _Clock:
    """Time that passes only when it is told to."""

    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


def test_a_cut_is_that_of_this_process(video: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here.mp4", tmp_path / "there.mp4"
    with Decoder(Limits()) as decoder:
        for stretch in (Segment(0.0, 1.0), Segment(0.35, 1.25)):
            assert decoder.cut(video, stretch, there) is cut(video, stretch, here)
            assert there.read_bytes() == here.read_bytes()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("os._exit(7)", r"it crashed the decoder \(exit status 7\)"),
        ("time.sleep(60)", "decoding was given up: no frame for 0.3 s"),
    ],
)
def test_a_cut_that_is_lost_leaves_the_older_one_and_no_draft(
    code: str, said: str, video: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"an older cut")
    asked = "import base64, json; name = base64.b64decode(json.loads(line)['target']); open(name, 'wb').write(b'half')"
    command = [sys.executable, "-c", f"import os, sys, time; line = sys.stdin.readline(); {asked}; {code}"]
    limits = Limits(stall_s=0.3 if "60" in code else 60)
    with Decoder(limits, command=command) as decoder, pytest.raises(VideoError, match=said):
        decoder.cut(video, Segment(0.0, 1.0), target)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("out.mp4", b"an older cut")]


def test_what_cannot_be_cut_says_why(video: Path, tmp_path: Path) -> None:
    with Decoder(Limits()) as decoder:
        with pytest.raises(VideoError, match=r"it cannot be cut \(no such file or directory\)"):
            decoder.cut(video, Segment(0.0, 1.0), tmp_path / "nowhere" / "out.mp4")
        with pytest.raises(VideoError, match=r"it cannot be cut \(there are no frames in that stretch\)"):
            decoder.cut(video, Segment(50.0, 51.0), tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


def test_work_that_goes_on_is_not_given_up(video: Path, tmp_path: Path) -> None:
    beat = """out.write(b'{"alive": true}\\n'); out.flush(); time.sleep(0.1)"""
    done = """out.write(b'{"done": true}\\n'); out.flush(); time.sleep(60)"""
    command = standing_in(f"for _ in range(45): {beat}\n{done}")
    with Decoder(Limits(stall_s=3), command=command) as decoder:
        assert decoder.cut(video, Segment(0.0, 1.0), tmp_path / "out.mp4")


def test_every_frame_that_is_cut_is_a_sign_of_life(video: Path, tmp_path: Path) -> None:
    beats: list[int] = []
    cut_into(tmp_path / "out.mp4", video, Segment(0.35, 1.25), progress=lambda: beats.append(1))
    assert len(beats) >= 9


def test_time_in_which_nobody_asks_does_not_count(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock()
    monkeypatch.setattr("cezsar.video.decoder.time", clock)
    with Decoder(Limits(stall_s=60, time_s=90)) as decoder:
        batches = decoder.sample(video, **ASKED)
        next(batches)
        clock.now_s += 1_000
        assert len(list(batches)) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to its memory limit")
def test_memory_is_limited(tmp_path: Path) -> None:
    large = write_video(tmp_path / "large.mp4", [("red", 0.4)], size=(4096, 2304))
    with Decoder(Limits(memory_gb=0.35)) as decoder, pytest.raises(VideoError):  # FFmpeg gives many reasons for it
        list(decoder.sample(large, **ASKED))
    with Decoder(Limits()) as decoder:
        assert list(decoder.sample(large, **ASKED))


def test_an_interrupted_decoder_begins_nothing_until_it_is_entered_again(video: Path) -> None:
    with Decoder(Limits()) as decoder:
        decoder.interrupt()  # before there is a process
        with pytest.raises(VideoLost, match="nobody waits for it any more"):
            list(decoder.sample(video, **ASKED))
        assert decoder._process is None
    with decoder:
        assert len(list(decoder.sample(video, **ASKED))) == 5


def test_closing_early_ends_the_process(video: Path) -> None:
    with Decoder(Limits()) as decoder:
        batches = decoder.sample(video, **ASKED)
        next(batches)
        process = decoder._process
        assert process is not None
        batches.close()
        assert process.returncode is not None


def test_a_decoder_whose_parent_was_killed_ends_too(tmp_path: Path, video: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from cezsar.types import Limits
from cezsar.video import Decoder
decoder = Decoder(Limits())
batches = decoder.sample(Path({str(video)!r}), fps=5.0, short_side=16, batch_size=1)
next(batches)
print(decoder._process.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    for _ in range(100):
        if not _is_running(child):
            return
        time.sleep(0.1)
    pytest.fail("it goes on alone")


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_no_file_of_the_current_folder_is_imported(
    tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "av", "numpy", "cezsar", "site"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken in')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder])
    with Decoder(Limits()) as decoder:
        assert len(list(decoder.sample(video, **ASKED))) == 5
