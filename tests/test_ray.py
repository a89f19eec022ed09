"""Indexing on Ray: on this machine's own, and on two nodes, with whatever can be lost on the way."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import rays
from click.testing import CliRunner
from make_videos import COLOURS, write_video

from cezsar import indexer, store
from cezsar.cli import cli
from cezsar.errors import RunnerError
from cezsar.indexer import pipeline, runners
from cezsar.settings import Settings, load

_NAMES = list(COLOURS)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty videos of six shots each, and a file that is no video."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(20):
        shots = [(_NAMES[(number + step * (1 + number % 5)) % 8], 3.0 + number % 3) for step in range(6)]
        write_video(folder / f"{number:02d}.mp4", shots, size=(160, 120))
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture(scope="module")
def expected(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[bytes, Any]:
    """What threads make of the clips."""
    settings = load(environ={}, index=tmp_path_factory.mktemp("threads") / "index", model="toy")
    indexer.index([clips], settings)
    return _content(settings)


@pytest.fixture
def on_ray(tmp_path: Path) -> Settings:
    """Settings for a new index that Ray fills."""
    return load(environ={}, index=tmp_path / "index", model="toy", runner="ray")


class _Watch:
    """Calls `then` with the number of videos that are done, and keeps what is said."""

    def __init__(self, then: Callable[[int], object] = lambda _: None) -> None:
        self.num_done, self.lines, self.then = 0, list[str](), then

    def comparing(self, path: Path, num_bytes: int) -> None: ...

    def start(self, num_videos: int, num_bytes: int) -> None: ...

    def done(self, path: Path, num_bytes: int) -> None:
        self.num_done += 1
        self.then(self.num_done)

    def skipped(self, path: Path, num_bytes: int, reason: str) -> None:
        self.lines.append(f"{path.name}: {reason}")

    def notice(self, line: str) -> None:
        self.lines.append(line)


def _content(settings: Settings) -> dict[bytes, Any]:
    """All that an index holds of each file, by path, but for ids, whose order is that of the commits."""
    with store.open(settings.index) as catalog, catalog.read() as rows:
        found: dict[bytes, Any] = {failure.path: failure.reason for failure in rows.failures()}
        for video in rows.videos():
            parts = rows.parts(video.id, after=0, limit=1_000)
            runs = rows.runs([part.id for part in parts])
            outline = rows.outlines([video.id])[video.id]
            found[video.file.absolute] = (
                video[1:],
                [(*part[2:], runs[part.id][1]) for part in parts],
                rows.segments(video.id)[1].tobytes(),
                [np.asarray(one).tobytes() for one in (outline.edges_s, outline.codes, outline.fingerprints)],
            )
    return found


def _processes(name: str) -> list[psutil.Process]:
    """The processes below this one whose command begins with a name."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if " ".join(process.cmdline()).startswith(name) or process.name() == name:
                found.append(process)
    return found


@pytest.mark.slow
def test_ray_makes_what_threads_make_and_says_what_they_say(
    clips: Path, expected: dict[bytes, Any], on_ray: Settings
) -> None:
    watch = _Watch()
    report = indexer.index([clips], on_ray, progress=watch)
    assert (report.added, report.segments, len(report.skipped)) == (20, sum(len(v[1]) for v in _videos(expected)), 1)
    assert watch.lines == ["broken.mp4: not a readable video (invalid data found when processing input)"]
    assert watch.num_done == 20
    assert _content(on_ray) == expected
    assert _processes("raylet") == _processes("gcs_server") == _processes("ray::") == []


@pytest.mark.slow
def test_ray_fills_a_database_with_the_same_bits(clips: Path, expected: dict[bytes, Any], database: str) -> None:
    settings = load(environ={}, index=database, model="toy", runner="ray")
    assert indexer.index([clips], settings).added == 20
    assert _content(settings) == expected


@pytest.mark.slow
def test_lost_actor_task_and_ray_change_nothing(clips: Path, expected: dict[bytes, Any], on_ray: Settings) -> None:
    killed = []

    def kill(num_done: int) -> None:
        names = {2: "ray::MapWorker", 5: "ray::_decode", 9: "raylet"}
        for process in _processes(names[num_done]) if num_done in names else ():
            killed.append(names[num_done])
            process.kill()

    watch = _Watch(kill)
    report = indexer.index([clips], on_ray, progress=watch)
    assert set(killed) == {"ray::MapWorker", "ray::_decode", "raylet"}
    assert report.added == watch.num_done == 20
    assert _content(on_ray) == expected


def _videos(content: dict[bytes, Any]) -> list[tuple[Any, ...]]:
    return [found for found in content.values() if isinstance(found, tuple)]


@pytest.mark.slow
def test_interrupted_run_keeps_what_is_committed_and_ends_its_ray(
    clips: Path, on_ray: Settings, tmp_path: Path
) -> None:
    for number in range(20):  # enough for a fast machine
        shutil.copytree(clips, tmp_path / "many" / str(number))
    command = [sys.executable, "-m", "cezsar", "index", str(tmp_path / "many")]
    command += ["--index", str(on_ray.index), "--model", "toy"]
    process = subprocess.Popen([*command, "--runner", "ray"], stderr=subprocess.PIPE, text=True)
    while not (store.exists(on_ray.index) and _videos(_content(on_ray))):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "cezsar: interrupted; committed work stays."
    assert 1 <= len(_videos(_content(on_ray))) < 400
    assert _processes("raylet") == _processes("gcs_server") == _processes("ray::") == []


def test_result_that_comes_twice_is_committed_once(
    clips: Path, expected: dict[bytes, Any], toy: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Twice(runners.Threads):
        def embed(self, *given: Any) -> Generator[Any, None, None]:
            with closing(super().embed(*given)) as results:
                for one in results:
                    yield from [one] * 2

    monkeypatch.setattr(pipeline, "runner", lambda settings, notice: Twice(settings))
    watch = _Watch()
    report = indexer.index([clips], toy, progress=watch)
    assert (report.added, watch.num_done, len(watch.lines)) == (20, 20, 1)
    assert _content(toy) == expected


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("here", "A Ray's address is HOST:PORT, as 10.0.0.1:6379, not 'here'."),
        (
            "127.0.0.1:9",
            "There is no Ray at 127.0.0.1:9 (connection refused): `ray start --head` on its first node starts one.",
        ),
    ],
)
def test_address_without_a_ray_is_one_line(clips: Path, on_ray: Settings, address: str, said: str) -> None:
    given = ["index", str(clips), "--index", str(on_ray.index), "--model", "toy", "--runner", "ray"]
    result = CliRunner().invoke(cli, [*given, "--ray-address", address])
    assert (result.exit_code, result.stderr) == (1, f"cezsar: {said}\n")
    assert not on_ray.index.exists()


def test_address_needs_the_runner(clips: Path, on_ray: Settings) -> None:
    given = ["index", str(clips), "--index", str(on_ray.index), "--ray-address", "127.0.0.1:6379"]
    result = CliRunner().invoke(cli, given)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == "Error: --ray-address needs --runner ray."
    assert load(environ={"CEZSAR_RAY_ADDRESS": "127.0.0.1:6379"}).ray_address == "127.0.0.1:6379"


def test_missing_ray_is_one_line(clips: Path, on_ray: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(RunnerError, match=r"^--runner ray needs Ray: pip install 'cezsar\[ray\]'$"):
        indexer.index([clips], on_ray)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rays.Rays]:
    """A cluster of two nodes with a token."""
    with rays.two_nodes(tmp_path_factory.mktemp("two")) as cluster:
        yield cluster


def _index(
    two: rays.Rays, settings: Settings, *paths: Path, model: str = "toy", **environment: str
) -> subprocess.Popen[str]:
    given = ["--index", str(settings.index), "--model", model, "--runner", "ray", "--ray-address", two.address]
    return two.run("index", *map(str, paths), *given, **environment)


@pytest.mark.slow
def test_node_that_dies_changes_nothing_and_what_it_cannot_see_is_named(
    clips: Path,
    expected: dict[bytes, Any],
    two: rays.Rays,
    on_ray: Settings,
    record_property: Callable[[str, str], None],
) -> None:
    record_property("nodes", "in network namespaces" if two.are_apart else "on loopback addresses")
    unseen = Path(shutil.copyfile(clips / "00.mp4", two.unseen / "unseen.mp4"))
    run = _index(two, on_ray, clips, two.unseen)
    while not (store.exists(on_ray.index) and len(_videos(_content(on_ray))) >= 2):
        assert run.poll() is None
        time.sleep(0.1)
    two.kill_node()
    two.start_node()
    summary, said = run.communicate(timeout=240)
    content = _content(on_ray)
    if two.are_apart:
        assert f"cezsar: skipped {unseen}: it cannot be read on node 10.77.0.2: no such file or directory\n" in said
        assert summary.startswith("20 added, 2 skipped; ")
    else:
        del content[os.fsencode(unseen)]
    assert run.returncode == 0
    assert content == expected


@pytest.mark.slow
def test_node_without_the_encoder_is_one_line(clips: Path, two: rays.Rays, on_ray: Settings, tmp_path: Path) -> None:
    about = tmp_path / "faint-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: faint\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[cezsar.encoders]\nfaint = faint:Faint\n")
    (tmp_path / "faint.py").write_text(
        "from dataclasses import replace\n"
        "from cezsar.encoders.toy import Toy\n"
        "class Faint(Toy):\n"
        "    identity = replace(Toy.identity, name='faint')\n"
        "    def __init__(self, device): ...\n"
    )
    run = _index(two, on_ray, clips, model="faint", PYTHONPATH=str(tmp_path))
    _, said = run.communicate(timeout=240)
    assert run.returncode == 1
    assert re.fullmatch(
        rf"cezsar: node ({two.address[:-5]}|{two.node_address}): The index was made with 'faint', an encoder of a "
        r"package that is not installed here\.\n",
        said,
    )


@pytest.mark.slow
def test_ray_without_its_token_or_of_another_version_is_one_line(clips: Path, two: rays.Rays, on_ray: Settings) -> None:
    run = _index(two, on_ray, clips, RAY_AUTH_MODE="disabled", RAY_AUTH_TOKEN="")
    _, said = run.communicate(timeout=240)
    assert (run.returncode, said.count("\n")) == (1, 1)
    assert said.startswith(f"cezsar: The Ray at {two.address} cannot be worked on: ")
    assert said.endswith("(A cluster with a token needs it here, too: RAY_AUTH_MODE=token, RAY_AUTH_TOKEN.)\n")
    _set_version(two, "2.9.0")
    run = _index(two, on_ray, clips)
    _, said = run.communicate(timeout=240)
    assert (run.returncode, said.count("\n")) == (1, 1)
    assert "Ray: 2.9.0" in said


def _set_version(two: rays.Rays, version: str) -> None:
    """Have the cluster say that it is of another version."""
    program = (
        "import json, ray, sys; ray.init(address=sys.argv[1], log_to_driver=False)\n"
        "from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put\n"
        "key, space = b'CLUSTER_METADATA', b'cluster'\n"
        "about = json.loads(_internal_kv_get(key, namespace=space))\n"
        "about['ray_version'] = sys.argv[2]\n"
        "_internal_kv_put(key, json.dumps(about).encode(), overwrite=True, namespace=space)\n"
    )
    command = [*two.within, sys.executable, "-c", program, two.address, version]
    subprocess.run(command, env=two.environment, check=True, capture_output=True)
