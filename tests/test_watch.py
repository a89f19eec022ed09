"""cezsar watch: files are indexed as they come, go and change, by a command of its own process."""

from __future__ import annotations

import errno
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from make_videos import write_video

from cezsar import indexer, store
from cezsar.cli import cli
from cezsar.errors import CezsarError
from cezsar.indexer import watching
from cezsar.settings import Settings, load

_PATIENCE_S = 90.0


class Watch:
    """A running `cezsar watch`: its lines, and those of its stderr, as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: queue.Queue[str] = queue.Queue()
        for stream in (process.stdout, process.stderr):
            threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream: Iterator[str]) -> None:
        for line in stream:
            self.lines.put(line.rstrip("\n"))

    def wait_for(self, wanted: str) -> list[str]:
        """The lines up to one that has this in it."""
        seen = []
        ends = time.monotonic() + _PATIENCE_S
        while True:
            line = self.lines.get(timeout=max(0.1, ends - time.monotonic()))
            seen.append(line)
            if wanted in line:
                return seen


@contextmanager
def watching_over(*words: object) -> Iterator[Watch]:
    command = [sys.executable, "-m", "cezsar", "watch", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Watch(process)
        finally:
            process.kill()


def shown(index: Path) -> list[str]:
    """The names of the index's visible videos."""
    with store.open(index) as catalog, catalog.read() as rows:
        return sorted(video.file.full_path.name for video in rows.videos() if not video.hidden)


def test_what_comes_moves_and_goes_is_told_in_a_line_each(tmp_path: Path) -> None:
    folder, index = tmp_path / "videos", tmp_path / "index"
    folder.mkdir()
    for name in ("a", "b", "c"):
        write_video(folder / f"{name}.mp4", [("red", 1.0)])
    with watching_over(folder, "--index", index, "--model", "toy", "--settle", "1") as watch:
        for _ in range(3):
            watch.wait_for("indexed ")
        write_video(tmp_path / "d.mp4", [("green", 1.0)]).rename(folder / "d.mp4")
        watch.wait_for("d.mp4")
        (folder / "sub").mkdir()
        (folder / "d.mp4").rename(folder / "sub" / "e.mp4")
        watch.wait_for("1 video moved")
        (folder / "a.mp4").unlink()
        watch.wait_for("1 video gone, hidden")
        (folder / "notes.txt").write_text("no video")
        (folder / "broken.mp4").write_text("no video either")
        watch.wait_for("skipped ")
        watch.process.send_signal(signal.SIGINT)
        assert watch.process.wait(60) == 130
        watch.wait_for("interrupted; committed work stays.")
    assert shown(index) == ["b.mp4", "c.mp4", "e.mp4"]
    verified = CliRunner().invoke(cli, ["verify", "--index", str(index)])
    assert verified.exit_code == 0


def test_a_file_that_grows_slowly_is_taken_when_it_has_stopped_and_others_do_not_wait(tmp_path: Path) -> None:
    folder, index = tmp_path / "videos", tmp_path / "index"
    folder.mkdir()
    write_video(folder / "old.mp4", [("red", 1.0)])
    whole = write_video(tmp_path / "whole.mkv", [("green", 4.0)]).read_bytes()
    with watching_over(folder, "--index", index, "--model", "toy", "--settle", "4") as watch:
        watch.wait_for("old.mp4")
        seen: list[str] = []
        with (folder / "slow.mkv").open("wb") as file:
            for number in range(8):
                file.write(whole[len(whole) * number // 8 : len(whole) * (number + 1) // 8])
                file.flush()
                time.sleep(0.5)
                if number == 2:
                    write_video(tmp_path / "n.mp4", [("blue", 1.0)]).rename(folder / "next.mp4")
        seen = watch.wait_for("slow.mkv")
        watch.process.send_signal(signal.SIGTERM)
        assert watch.process.wait(60) == 130
    assert not any("skipped" in line for line in seen)
    with store.open(index) as catalog, catalog.read() as rows:
        assert {v.file.full_path.name: v.duration_s for v in rows.videos()}["slow.mkv"] == pytest.approx(4.0, abs=0.1)


def test_a_folder_that_vanishes_is_waited_for_and_hides_nothing(tmp_path: Path) -> None:
    folder, index = tmp_path / "videos", tmp_path / "index"
    folder.mkdir()
    write_video(folder / "a.mp4", [("red", 1.0)])
    with watching_over(folder, "--index", index, "--model", "toy", "--settle", "0") as watch:
        watch.wait_for("indexed ")
        folder.rename(tmp_path / "away")
        watch.wait_for("has gone: it is watched again when it comes back")
        assert shown(index) == ["a.mp4"]
        write_video(tmp_path / "away" / "b.mp4", [("green", 1.0)])
        (tmp_path / "away").rename(folder)
        watch.wait_for("b.mp4")
        write_video(tmp_path / "c.mp4", [("green", 1.0)]).rename(folder / "c.mp4")
        watch.wait_for("c.mp4")
        assert watch.process.poll() is None
    assert shown(index) == ["a.mp4", "b.mp4", "c.mp4"]


class Told:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def comparing(self, path: Path, num_bytes: int) -> None: ...

    def start(self, num_videos: int, num_bytes: int) -> None: ...

    def done(self, path: Path, num_bytes: int) -> None:
        self.lines.append(f"done {path.name}")

    def skipped(self, path: Path, num_bytes: int, reason: str) -> None:
        self.lines.append(f"skipped {path.name}")

    def notice(self, line: str) -> None:
        self.lines.append(line)


def test_a_run_that_fails_is_told_and_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    write_video(folder / "a.mp4", [("red", 1.0)])
    settings = load(environ={}, index=tmp_path / "index", model="toy")
    told, ended = Told(), threading.Event()
    real, failures = indexer.index, [OSError(errno.ENOSPC, "No space left on device"), CezsarError("It is locked.")]

    def failing(*arguments: object, **options: object) -> object:
        if failures and len(told.lines) > 0:
            raise failures.pop(0)
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(watching, "index", failing)
    monkeypatch.setattr(watching, "_AGAIN_S", 0.1)
    for number, _ in enumerate(indexer.watch([folder], settings, settle_s=0.0, progress=told, ended=ended)):
        if number == 0:
            write_video(tmp_path / "b.mp4", [("green", 1.0)]).rename(folder / "b.mp4")
        else:
            ended.set()
    assert told.lines == [
        "done a.mp4",
        "[Errno 28] No space left on device Trying again in 0.1 s.",
        "It is locked. Trying again in 0.1 s.",
        "done b.mp4",
    ]


def test_the_encoder_is_loaded_once_for_all_later_runs(
    tmp_path: Path, toy: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "a.mp4", [("red", 1.0)])
    loads: list[object] = []
    real = watching._loaded

    def counting(settings: Settings) -> object:
        loads.append(settings)
        return real(settings)

    monkeypatch.setattr(watching, "_loaded", counting)
    ended = threading.Event()
    for number, report in enumerate(indexer.watch([tmp_path], toy, settle_s=0.0, progress=Told(), ended=ended)):
        assert report.added == 1
        if number == 3:
            ended.set()
        shutil.copy(tmp_path / "a.mp4", tmp_path / f"{number}.mp4")
    assert len(loads) == 1


def test_nothing_to_watch_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["watch", str(tmp_path / "none"), "--index", str(tmp_path / "index")])
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"cezsar: There is nothing to watch: {tmp_path / 'none'} is not there."
    assert not os.path.exists(tmp_path / "index")
