"""What several test modules need."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import databases
import hypothesis
import milvuses
import nursery
import pytest

sys.path.insert(0, str(Path(__file__).parent / "data"))
# tests run beside one another, a process a core: threads of one would only wait for the other's
os.environ.setdefault("OMP_NUM_THREADS", "1")

from make_videos import COLOURS, write_video

from cezsar import indexer
from cezsar.settings import Settings, load
from cezsar.types import IndexReport
from cezsar.video.frames import Video

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# a machine may be busy: how long an example takes says nothing
# and CI repeats the same examples, so that a red run is about the change
hypothesis.settings.register_profile(
    "patient",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
hypothesis.settings.load_profile("patient")

_REAL = Path(os.environ.get("CEZSAR_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have settings of their own."""
    for name in [name for name in os.environ if name.startswith("CEZSAR_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def _nursery() -> Iterator[None]:
    """Hundreds of decoders are started: a fork takes a fifth of the time. test_decoder.py starts them as users do."""
    if not hasattr(socket, "send_fds"):  # Windows
        yield
        return
    with nursery.opened() as start, pytest.MonkeyPatch.context() as patch:
        patch.setattr("cezsar.video.decoder._START", start)
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real videos; skips where it is absent."""
    if not _REAL.is_dir():
        pytest.skip(f"no real videos: {_REAL} is not there (set CEZSAR_TEST_DATA)")
    return _REAL


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one video a colour."""
    folder = tmp_path_factory.mktemp("videos")
    for name in COLOURS:
        write_video(folder / f"{name}.mp4", [(name, 1.0)])
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny checkpoint, written once; not to be changed."""
    from make_models import WRITERS  # which imports torch: most tests need none

    root = tmp_path_factory.mktemp("models").resolve()
    return cache(lambda kind: WRITERS[kind](root / kind))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL with pgvector; the folder of its socket."""
    with tempfile.TemporaryDirectory(prefix="pg") as folder, databases.server(Path(folder)) as host:  # a short name
        yield host


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """The location of an empty PostgreSQL database."""
    with databases.database(postgres) as location:
        yield location


@pytest.fixture(scope="module")
def shared_database(postgres: str) -> Iterator[str]:
    """The location of one database, in which each test takes a schema of its own."""
    with databases.database(postgres) as location:
        yield location


@pytest.fixture(scope="module")
def milvus() -> Iterator[str]:
    """A Milvus; its host and port."""
    with tempfile.TemporaryDirectory(prefix="milvus") as folder, milvuses.server(Path(folder)) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A chromium of the test module's own."""
    from pages import chromium  # Playwright, which a light installation lacks

    with chromium() as made:
        yield made


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page of the server at a test module's address, whose console stays free of errors."""
    from pages import watched

    with watched(browser, address) as made:
        yield made


@pytest.fixture
def toy(tmp_path: Path) -> Settings:
    """Settings for a new index of the toy encoder, in a folder of its own."""
    return load(environ={}, index=tmp_path / "index", model="toy")


@pytest.fixture
def index_toy(toy: Settings) -> Callable[..., IndexReport]:
    """Index paths into the toy index: index_toy(folder, prune=True)."""

    def run(*paths: Path, **options: object) -> IndexReport:
        return indexer.index(paths, toy, **options)  # type: ignore[arg-type]

    return run


@pytest.fixture
def unprivileged(tmp_path: Path) -> Callable[[], object]:
    """A context in which the system refuses what it refuses to ordinary users: root becomes nobody in it.

    The way to tmp_path is open to everybody then, however deep it lies.
    """
    if os.geteuid() == 0:
        import mmap  # noqa: F401  # NumPy asks for it late, and nobody may not look where root's Python lies

        for folder in (tmp_path, *tmp_path.parents):
            if folder.is_relative_to(Path(tempfile.gettempdir()).resolve()):
                folder.chmod(folder.stat().st_mode | 0o755)

    @contextmanager
    def dropped() -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    return dropped


_DEADLY = """
import sys; sys.path[:] = sys.argv[2:]
import os, signal
from cezsar.video import decoder, frames
real = frames.Video.__init__
def deadly(video, path):
    if "deadly" in path.name:
        os.kill(os.getpid(), signal.SIGSEGV)
    real(video, path)
frames.Video.__init__ = deadly
decoder.serve(int(sys.argv[1]))
"""


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files called deadly crash the decoder, and would crash whoever opened them himself."""
    monkeypatch.setattr("cezsar.video.decoder._START", _DEADLY)
    real = Video.__init__

    def refuse(video: Video, path: Path) -> None:
        if "deadly" in path.name:
            pytest.fail(f"{path} was opened in this process")
        real(video, path)

    monkeypatch.setattr(Video, "__init__", refuse)
