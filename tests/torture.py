"""What would lose data in an index of years, done on purpose; one table of what came of it: make torture.

Nothing here knows how the product guards itself: real processes are killed, real files are damaged, and afterwards the
catalog is compared with that of a run that nothing happened to.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import faiss
import numpy as np

TESTS = Path(__file__).parent
sys.path += [str(TESTS), str(TESTS / "data")]

import databases  # noqa: E402
import rays  # noqa: E402
import zoo  # noqa: E402
from killable import PLANTS, POINTS, lower  # noqa: E402
from make_catalogs import CATALOGS  # noqa: E402
from make_videos import write_video  # noqa: E402

from cezsar import (  # noqa: E402
    indexer,
    maintenance,
    store,
)
from cezsar.encoders.toy import COLOURS, Toy  # noqa: E402
from cezsar.errors import BadIndex, CezsarError  # noqa: E402
from cezsar.location import Database, Location, located  # noqa: E402
from cezsar.query import Filters, Searcher  # noqa: E402
from cezsar.settings import Settings, load  # noqa: E402
from cezsar.store import rows  # noqa: E402
from cezsar.store.local import cache, keeping, opening, stamp  # noqa: E402
from cezsar.types import Hit, Sampling, Segment, Vectors, unit  # noqa: E402

Contents = dict[bytes, tuple[bytes, bool, tuple[tuple[float, float, bytes], ...]]]


@dataclass
class Outcome:
    """How often something was tried, how often nothing was lost, and what was, if anything."""

    tried: int = 0
    survived: int = 0
    lost: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, what: str, problems: Sequence[str]) -> None:
        """One more try."""
        self.tried += 1
        self.survived += not problems
        self.lost += [f"{what}: {problem}" for problem in problems]


class Ground:
    """Folders to try things in: three videos that an index knows, and what a run then finds: one of them changed, one
    gone, three new."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.videos, self.clips = work / "videos", work / "clips"
        self.clips.mkdir(parents=True)
        for colour in COLOURS:
            write_video(self.clips / f"{colour}.mp4", [(colour, 0.2)], fps=5)
        self.videos.mkdir()
        for colour in ("red", "green", "blue"):
            self.put(colour, colour)
        self.before = self.settings("before")
        indexer.index([self.videos], self.before)
        self.put("white", "red", mtime_s=2)
        (self.videos / "green.mp4").unlink()
        for colour in ("cyan", "magenta", "yellow"):
            self.put(colour, colour)
        self.updated = self.uninterrupted("updated", self.before.index)
        self.fresh = self.uninterrupted("fresh", None)

    def put(self, colour: str, name: str, *, mtime_s: int = 1) -> None:
        """A video of one colour under a name."""
        shutil.copyfile(self.clips / f"{colour}.mp4", self.videos / f"{name}.mp4")
        os.utime(self.videos / f"{name}.mp4", (mtime_s, mtime_s))

    def settings(self, name: str) -> Settings:
        """The settings of an index of that name."""
        return load(environ={}, index=self.work / name, model="toy")

    def uninterrupted(self, name: str, start: Path | None) -> Contents:
        """What the catalog holds after a run that nothing happens to."""
        settings = self.settings(name)
        if start is not None:
            shutil.copytree(start, settings.index)
        indexer.index([self.videos], settings, prune=True)
        return contents(settings.index)


def contents(index: Location) -> Contents:
    """What the catalog says of each video, without ids: they say only in which order things came."""
    found: Contents = {}
    with store.open(index) as catalog, catalog.read() as session:
        for video in session.videos():
            parts, rows = session.segments(video.id)
            listed = tuple((one.start_s, one.end_s, row.tobytes()) for one, row in zip(parts, rows, strict=True))
            found[video.file.absolute] = (video.content_sha256, video.hidden, listed)
    return found


def wrong(index: Path, colours: Sequence[str]) -> list[str]:
    """What verify and a query a colour find wrong; nothing where there is no index yet."""
    if not store.exists(index):
        return []
    with store.open(index) as catalog:
        problems = list(maintenance.verify(catalog).problems)
    known = contents(index)
    twice = [path for path, (_, _, parts) in known.items() if len({part[0] for part in parts}) < len(parts)]
    problems += [f"a segment twice in {path!r}" for path in twice]
    shown = {path for path, (_, hidden, _) in known.items() if not hidden}
    for colour in colours:
        try:
            found = {path for path, _ in answers(index, colour)}
        except BadIndex as error:
            problems.append(f"a query for {colour}: {error}")
            continue
        if found != shown:
            problems.append(f"a query for {colour} does not find every video")
    return problems


def answers(index: Path, colour: str) -> list[tuple[bytes, float]]:
    """Every hit for a colour: its path and score."""
    with Searcher(index) as searcher:
        return [(os.fsencode(hit.path), hit.score) for hit in searcher.search(colour, filters=Filters(top_k=100))]


# Killed


def kill(ground: Ground, point: str, seed: int, planted: str = "-") -> tuple[bool, list[str]]:
    """Start a process, kill it at a point or, with 'random', at any time; whether it was hit, and what was lost."""
    draw = random.Random(f"{point} {seed}")
    index, hit = ground.work / "killed", ground.work / "hit"
    shutil.rmtree(index, ignore_errors=True)
    hit.unlink(missing_ok=True)
    expected, arguments = ground.updated, ["index", str(ground.videos), "--prune", "--quiet"]
    if point == "migration":
        return _kill_migration(ground, index, hit, draw, seed)
    if point == "lists":
        return _kill_lists(ground, index, hit, draw, seed)
    if point == "merge":
        return _kill_merge(ground, index, hit, seed)
    if point in ("create", "created") or (draw.random() < 0.3 and point != "prune" and planted == "-"):
        expected = ground.fresh
        arguments += ["--model", "toy"]
    else:
        shutil.copytree(ground.before.index, index)
        if planted == "-" and draw.random() < 0.2 and point in ("cache-write", "before-cache", "before-stamp"):
            arguments = ["rebuild"]
    nth = (
        1
        if point in ("prune", "create", "created") or "rebuild" in arguments
        else draw.randint(1, 3 if planted == "-" else 8)
    )
    was_hit = _run(point, nth, seed, planted, [*arguments, "--index", str(index)], hit, draw)
    problems = wrong(index, ("red", "white"))
    settings = replace(ground.before, index=index)
    try:
        indexer.index([ground.videos], settings, prune=True)
    except BadIndex as error:
        return was_hit, [*problems, f"the next run: {error}"]
    problems += wrong(index, ("red", "cyan"))
    if contents(index) != expected:
        problems.append("the next run's catalog is not that of a run without a kill")
    problems += [f"{draft.name} was left behind" for draft in [*index.glob("*.new"), *index.glob(".*.cezsar-draft*")]]
    return was_hit, problems


def _kill_migration(ground: Ground, index: Path, hit: Path, draw: random.Random, seed: int) -> tuple[bool, list[str]]:
    index.mkdir()
    revision = draw.choice([file.stem for file in sorted(CATALOGS.iterdir()) if file.stem < store.REVISION])
    shutil.copyfile(CATALOGS / f"{revision}.sqlite", index / store.FILE)
    was_hit = _run("migration", draw.randint(1, 3), seed, "-", ["db", "upgrade", "--index", str(index)], hit, draw)
    after = store.current(index)
    problems = [] if after in (revision, store.REVISION) else [f"the schema is {after}, between two"]
    store.upgrade(index)
    whole = ground.work / "upgraded"
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir()
    shutil.copyfile(CATALOGS / f"{revision}.sqlite", whole / store.FILE)
    store.upgrade(whole)
    if contents(index) != contents(whole):
        problems.append("rows were lost")
    return was_hit, problems


def _kill_lists(ground: Ground, index: Path, hit: Path, draw: random.Random, seed: int) -> tuple[bool, list[str]]:
    """A small index gets lists, in three parts: the old cache serves meanwhile, and what was done is kept."""
    whole = ground.work / "of-random-vectors"
    if not whole.exists():
        random_index(whole, num_segments=2_500, is_large=False)
    shutil.copytree(whole, index)
    asked = unit(np.random.default_rng(1).normal(size=(3, 8)))
    expected = _asked(whole, asked, exact=True)
    was_hit = _run("lists", draw.randint(1, 4), seed, "-", ["rebuild", "--index", str(index)], hit, draw)
    problems = [] if _asked(index, asked, exact=False) == expected else ["a query was answered otherwise"]
    begun = {file.name for file in index.glob("vectors-*") if file.suffix != ".json"}
    kept = {file.name for file in stamp.read(index / stamp.NEXT).written} if was_hit else set()
    (index / stamp.STAMP).unlink()
    large, slice_, chunk = cache.APPROXIMATE_FROM, cache._SLICE, rows._CHUNK
    try:
        lower(cache, keeping, rows)
        with store.open_to_write(index) as catalog:
            problems += maintenance.verify(catalog).problems
    finally:
        cache.APPROXIMATE_FROM = keeping.APPROXIMATE_FROM = large
        cache._SLICE, rows._CHUNK = slice_, chunk
    left = {file.name for file in index.glob("vectors-*")}
    told = {file.name for file in stamp.read(index / stamp.STAMP).written}
    if left != told:
        problems.append(f"{sorted(left ^ told)} are there or not")
    if not kept <= left & begun:
        problems.append("what was finished was made again")
    return was_hit, problems


def _kill_merge(ground: Ground, index: Path, hit: Path, seed: int) -> tuple[bool, list[str]]:
    """A part and what came since become one: the old cache serves until that one does."""
    whole = ground.work / "of-two-halves"
    if not whole.exists():
        random_index(whole, num_segments=2_500, is_large=False)
        with opening.open_to_write(whole) as catalog, catalog.transaction() as writer:
            parts = tuple(Segment(float(i), i + 1.0) for i in range(1_300))
            more = unit(np.random.default_rng(2).normal(size=(len(parts), 8)).astype(np.float32))
            shows = store.Embedding(1_300.0, parts, tuple(range(len(parts))), more)
            writer.add_video(store.File(b"/more", b"more.mp4", 1, 1), bytes(32), shows)
    shutil.copytree(whole, index)
    asked = unit(np.random.default_rng(1).normal(size=(3, 8)))
    expected = _asked(whole, asked, exact=True)
    was_hit = _run(
        "merge", 1 + seed % 2, seed, "-", ["remove", "/more", "--index", str(index)], hit, random.Random(seed)
    )
    problems = [] if _asked(index, asked, exact=False) == expected else ["a query was answered otherwise"]
    with store.open_to_write(index) as catalog:
        problems += maintenance.verify(catalog).problems
        if catalog.cache_state() != "3,800 vectors, exact; 0 newer ones read from the catalog":
            problems.append(catalog.cache_state())
    left = {file.name for file in index.glob("vectors-*")}
    if left != {file.name for file in stamp.read(index / stamp.STAMP).written}:
        problems.append("files of a cache that is none were left behind")
    return was_hit, problems


def _run(
    point: str, nth: int, seed: int, planted: str, arguments: Sequence[str], hit: Path, draw: random.Random
) -> bool:
    """Run a killable cezsar; whether it died of SIGKILL where it was to."""
    command = [sys.executable, str(TESTS / "killable.py"), point, f"{nth}", f"{seed}", planted, "--", *arguments]
    environment = {**os.environ, "CEZSAR_TORTURE_HIT": str(hit), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        if point == "random":
            try:
                process.wait(draw.uniform(0.4, 2.5))
            except subprocess.TimeoutExpired:
                process.kill()
        _, said = process.communicate()
    if process.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"{point}: {said.decode()}")
    return process.returncode == -signal.SIGKILL and (point == "random" or hit.exists())


def kills(ground: Ground, count: int, *, seed: int = 0) -> Outcome:
    """At least count processes that really were killed, spread over all points and random times."""
    outcome, hits, attempt = Outcome(), Counter[str](), 0
    points = (*POINTS, "random")
    while sum(hits.values()) < count and attempt < 4 * count:
        point = min(points, key=lambda name: (hits[name], attempt % 7 if name == "random" else 0))
        was_hit, problems = kill(ground, point, seed + attempt)
        attempt += 1
        if was_hit or problems:
            outcome.add(point, problems)
        hits[point] += was_hit
        if not was_hit and attempt > 3 * count:
            break
    outcome.notes = [f"{name} {hits[name]}" for name in points]
    return outcome


def plants(ground: Ground) -> Outcome:
    """Bugs put in on purpose: each has to be noticed within a few kills."""
    points = {"split-commit": "after-commit", "early-cache": "before-commit", "lost-delete": "after-commit"}
    outcome = Outcome()
    for bug in PLANTS:
        caught = next((n for n in range(12) if kill(ground, points[bug], n, planted=bug)[1]), None)
        outcome.add(bug, [] if caught is not None else ["it was not noticed"])
        if caught is not None:
            outcome.notes.append(f"{bug} at kill {caught + 1}")
    return outcome


# The cache damaged


def _cut(file: Path, draw: random.Random) -> None:
    file.write_bytes(file.read_bytes()[: draw.randrange(file.stat().st_size)])


def _flip(file: Path, draw: random.Random) -> None:
    data = bytearray(file.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    file.write_bytes(data)


def _remove(file: Path, draw: random.Random) -> None:
    file.unlink()


def _restamp(where: str, **changed: object) -> Callable[[Path, random.Random], None]:
    """Another stamp, or one of another part or file of its vectors, by one who knows how."""

    def change(file: Path, draw: random.Random) -> None:
        told = stamp.read(file.with_name(stamp.STAMP))
        (part,) = told.parts
        if where == "file":
            part = replace(part, data=replace(part.data, **changed))  # type: ignore[arg-type]
        elif where == "part":
            part = replace(part, **changed)  # type: ignore[arg-type]
        told = replace(told, parts=(part,), **(changed if where == "stamp" else {}))  # type: ignore[arg-type]
        stamp.write(file.with_name(stamp.STAMP), told)

    return change


_VECTORS, _IDS = "vectors-*-????????.npy", "vectors-*.ids.npy"
DAMAGES: dict[str, tuple[str, Callable[[Path, random.Random], None]]] = {
    "stamp cut": ("vectors.json", _cut),
    "stamp bit": ("vectors.json", _flip),
    "file gone": (_VECTORS, _remove),
    "ids gone": (_IDS, _remove),
    "file cut": (_VECTORS, _cut),
    "ids cut": (_IDS, _cut),
    "bit flipped": (_VECTORS, _flip),
    "bit of ids flipped": (_IDS, _flip),
    "another index's": (_VECTORS, _restamp("stamp", index_id="f" * 32)),
    "another version's": (_VECTORS, _restamp("stamp", version=3)),
    "a later generation": (_VECTORS, _restamp("part", pieces=((0, 1_000_000),))),
    "another count": (_VECTORS, _restamp("part", count=2)),
    "a folder outside": (_VECTORS, _restamp("file", name="../vectors.npy")),
}


def corruptions(ground: Ground, each: int) -> Outcome:
    """Damage to the cache: verify notices it, a query after an unclean stop is right all the same, rebuild mends it."""
    outcome = Outcome()
    expected = answers(ground.before.index, "red")
    for name, (pattern, damage) in DAMAGES.items():
        for seed in range(each):
            index = ground.work / "damaged"
            shutil.rmtree(index, ignore_errors=True)
            shutil.copytree(ground.before.index, index)
            (file,) = index.glob(pattern)
            before = file.read_bytes(), (index / "vectors.json").read_bytes()
            damage(file, random.Random(f"{name} {seed}"))
            if file.exists() and (file.read_bytes(), (index / "vectors.json").read_bytes()) == before:
                continue
            outcome.add(name, _damage_found(index, expected))
    return outcome


def _damage_found(index: Path, expected: list[tuple[bytes, float]]) -> list[str]:
    problems = []
    with store.open(index) as catalog:
        if maintenance.verify(catalog).ok and not _is_same_stamp(index):
            problems.append("verify did not notice it")
    (index / "writer.json").write_text("{}")  # as a writer that was killed leaves it
    if answers(index, "red") != expected:
        problems.append("a query was wrong")
    with store.open_to_write(index) as catalog:
        if not maintenance.verify(catalog).ok:
            problems.append("the next writer did not mend it")
    return problems


def _is_same_stamp(index: Path) -> bool:
    """Whether the stamp still says the same, as where a flip hit a blank."""
    with store.open(index) as catalog:
        rebuilt = catalog.directory / "vectors.json"
        said = json.loads(rebuilt.read_text())
        catalog.rebuild()
        return bool(said == json.loads(rebuilt.read_text()))


# The cache's files damaged, in an index of a small and of a large one


def _zero(size: int) -> Callable[[Path, random.Random], None]:
    """A sector that cannot be read any more and reads as zeros."""

    def change(file: Path, draw: random.Random) -> None:
        content = bytearray(file.read_bytes())
        at = draw.randrange(0, len(content), size)
        content[at : at + size] = bytes(len(content[at : at + size]))
        _rewrite(file, content)

    return change


def _swap(file: Path, draw: random.Random) -> None:
    """Two blocks in each other's place."""
    content = bytearray(file.read_bytes())
    blocks = range(len(content) // 512)
    one, other = (512 * number for number in draw.sample(blocks, 2)) if len(blocks) > 1 else (0, 0)
    content[one : one + 512], content[other : other + 512] = content[other : other + 512], content[one : one + 512]
    _rewrite(file, content)


def _rewrite(file: Path, content: bytes | bytearray) -> None:
    """Under a new inode: the old one may be mapped."""
    file.unlink()
    file.write_bytes(content)


BLOWS: dict[str, tuple[Callable[[stamp.Stamp], stamp.Written | None], Callable[[Path, random.Random], None]]] = {
    f"{what} of {whose}": (file_of, strike)
    for what, strike in (
        ("a bit", _flip),
        ("512 zeros", _zero(512)),
        ("4,096 zeros", _zero(4096)),
        ("blocks swapped", _swap),
        ("a cut", _cut),
    )
    for whose, file_of in (
        ("the vectors", lambda told: told.parts[0].data),
        ("what is beside", lambda told: told.parts[0].beside),
        ("the centres", lambda told: told.trained),
    )
}
BLOWS |= {"a bit of the stamp": (lambda _: None, _flip), "zeros in the stamp": (lambda _: None, _zero(64))}


def random_index(folder: Path, *, num_segments: int, is_large: bool) -> None:
    """An index of random 8-d vectors, twenty a video, whose cache is made as a large one's is, or as a small one's."""
    drawn = unit(np.random.default_rng(num_segments).normal(size=(num_segments, 8)))
    least, cache.APPROXIMATE_FROM = cache.APPROXIMATE_FROM, 0 if is_large else num_segments + 1
    try:
        with store.create(folder, Toy.identity, Sampling()) as catalog:
            with catalog.transaction() as writer:
                for start in range(0, num_segments, 20):
                    some = drawn[start : start + 20]
                    parts = tuple(Segment(4.0 * i, 4.0 * i + 8) for i in range(len(some)))
                    embedding = store.Embedding(100.0, parts, tuple(range(len(some))), some)
                    writer.add_video(store.File(b"/v", b"%d" % start, 1, 1), bytes(32), embedding)
            catalog.rebuild()
    finally:
        cache.APPROXIMATE_FROM = least


def blows(work: Path, count: int, *, is_large: bool, seed: int = 0) -> Outcome:
    """Damage to the cache's files: each is noticed, and then the catalog answers, or it changes no answer."""
    outcome, noticed = Outcome(), 0
    faiss.omp_set_num_threads(1)  # so small a search takes longer with two, whose turns wait for each other
    whole, index = work / f"whole-{is_large}", work / f"struck-{is_large}"
    random_index(whole, num_segments=2_500 if is_large else 1_500, is_large=is_large)
    shutil.copytree(whole, index)
    asked = unit(np.random.default_rng(1).normal(size=(3, 8)))
    usual, notice = _asked(whole, asked, exact=False)
    exact, _ = _asked(whole, asked, exact=True)
    assert notice is None
    told = stamp.read(whole / stamp.STAMP)
    names = [name for name in BLOWS if is_large or not name.endswith("the centres")]
    for number in range(count):
        name = names[number % len(names)]
        file_of, strike = BLOWS[name]
        written = file_of(told)
        for file in whole.glob("vectors*"):
            (index / file.name).unlink(missing_ok=True)
            shutil.copyfile(file, index / file.name)
        file = index / (written.name if written else stamp.STAMP)
        before = file.read_bytes()
        strike(file, random.Random(f"{name} {seed + number}"))
        if file.read_bytes() == before:
            continue
        problems = []
        try:
            found, notice = _asked(index, asked, exact=False)
        except BadIndex as error:
            outcome.add(f"{name} {number}", [f"a query: {error}"])
            continue
        if notice is None and found != usual:
            problems.append("it answered otherwise, and said nothing")
        if notice is not None and found != exact:
            problems.append("the catalog did not answer in its place")
        with store.open(index) as catalog:
            if written and maintenance.verify(catalog).ok:
                problems.append("verify did not notice it")
        noticed += notice is not None
        outcome.add(f"{name} {number}", problems)
    outcome.notes.append(f"{noticed} noticed, {outcome.tried - noticed} without effect")
    return outcome


def _asked(index: Path, asked: Vectors, *, exact: bool) -> tuple[list[list[Hit]], str | None]:
    """The answers of a searcher that has just opened an index, and what it says of the cache."""
    with Searcher(index) as searcher:
        found = [searcher.search(like=[row], filters=Filters(per_video=0), exact=exact) for row in asked]
        return found, searcher.notice


# The disk full

_SMALL_DISK = """
import resource, sys
from cezsar.cli import main
import faiss, sqlalchemy
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
main()
"""


def full_disk(ground: Ground, steps: int) -> Outcome:
    """No file may grow past a limit, from nothing to enough: one clear line, the old state whole, and it goes on."""
    outcome, exits = Outcome(), Counter[int]()
    enough = 2 * max(file.stat().st_size for file in ground.settings("updated").index.iterdir())
    for step in range(steps):
        limit, index = enough * step // steps, ground.work / "small"
        shutil.rmtree(index, ignore_errors=True)
        is_new = step % 2 == 0
        if not is_new:
            shutil.copytree(ground.before.index, index)
        arguments = ["index", str(ground.videos), "--prune", "--model", "toy", "--quiet", "--index", str(index)]
        command = [sys.executable, "-c", _SMALL_DISK, f"{limit}", *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        exits[ended.returncode] += 1
        problems = [] if ended.returncode in (0, 1) else [f"exit {ended.returncode}: {ended.stderr}"]
        if ended.returncode == 1 and ended.stderr.count("\n") != 1:
            problems.append(f"not one clear line: {ended.stderr}")
        problems += wrong(index, ("red",))
        indexer.index([ground.videos], replace(ground.before, index=index), prune=True)
        problems += wrong(index, ("red", "cyan"))
        if contents(index) != (ground.fresh if is_new else ground.updated):
            problems.append("the next run's catalog is not that of a run with room")
        outcome.add(f"{limit:,} bytes", problems)
    outcome.notes = [f"{exits[1]} stopped, {exits[0]} had room"]
    return outcome


# At once


def at_once(ground: Ground, rounds: int) -> Outcome:
    """Two writers and a reader on one index: the second waits or says who holds it, and no query ever fails."""
    outcome, refused, asked = Outcome(), 0, 0
    index = ground.work / "shared"
    command = [sys.executable, "-m", "cezsar", "index", str(ground.videos), "--prune", "--quiet", "--index", str(index)]
    for number in range(rounds):
        shutil.rmtree(index, ignore_errors=True)
        shutil.copytree(ground.before.index, index)
        problems = []
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        writers = [subprocess.Popen(command, **pipes) for _ in range(2)]  # type: ignore[call-overload]
        while any(writer.poll() is None for writer in writers):
            found = answers(index, "blue")
            asked += 1
            if not found[0][0].endswith(b"blue.mp4") or found[0][1] < 0.99 or len(found) < 2:
                problems.append(f"a query found {found}")
        for writer in writers:
            _, said = writer.communicate()
            if writer.returncode != 0:
                refused += 1
                if "Another cezsar" not in said and "just now" not in said:
                    problems.append(said)
        problems += wrong(index, ("red", "cyan"))
        if contents(index) != ground.updated:
            problems.append("the catalog is not that of one writer alone")
        outcome.add(f"round {number}", problems)
    outcome.notes = [f"{asked} queries meanwhile, {refused} writers turned away"]
    return outcome


def watched(work: Path, rounds: int) -> Outcome:
    """`cezsar watch` of a folder where videos come slowly or whole, change, move and go, while others write to the
    index and read it, and while it is killed and started again: in the end it is as if nothing had been at it."""
    outcome, counts = Outcome(), Counter[str]()
    (work / "clips").mkdir(parents=True)
    clips = [write_video(work / "clips" / f"{one}.mp4", [(one, 0.2)], fps=5).read_bytes() for one in COLOURS]
    for number in range(rounds):
        draw, folder, index = random.Random(number), work / f"watched-{number}", work / f"index-{number}"
        folder.mkdir()
        for name in range(8):
            (folder / f"first-{name}.mp4").write_bytes(draw.choice(clips))
        wanted = load(environ={}, index=work / f"wanted-{number}", model="toy")
        problems: list[str] = []
        with ExitStack() as stack:
            watch = stack.enter_context(_Watching(folder, index))
            _patiently(lambda index=index: store.exists(index) and len(_shown(index)) == 8)
            crowd = stack.enter_context(_Crowd(clips[0], work / f"others-{number}", index))
            for step in range(12):
                counts[_disturb(folder, clips, draw, f"{step}")] += 1
                if step in (3, 7):
                    watch.kill()
                    counts["kills"] += 1
                    watch.start()
                time.sleep(draw.uniform(0.0, 1.0))
            crowd.over()
            problems += crowd.problems
            with store.open_to_write(index):
                (folder / "last.mp4").write_bytes(clips[0])
                time.sleep(8.0)  # it has looked by then, and was turned away
            indexer.index([folder, crowd.folder], wanted)
            expected = _shown(wanted.index)
            if not _patiently(lambda index=index, expected=expected: _shown(index) == expected):
                shown = _shown(index)
                unlike = sorted(path for path in {*shown, *expected} if shown.get(path) != expected.get(path))
                problems.append(f"not shown as they are: {unlike}")
            problems += watch.end()
        problems += wrong(index, ())
        for colour in ("red", "cyan"):
            if [score for _, score in answers(index, colour)] != [score for _, score in answers(wanted.index, colour)]:
                problems.append(f"a query for {colour} finds other videos")
        counts["queries meanwhile"] += crowd.asked
        counts["runs of other writers"] += crowd.ran
        outcome.add(f"round {number}", problems)
    outcome.notes = [f"{count} {what}" for what, count in counts.items()]
    return outcome


def _disturb(folder: Path, clips: Sequence[bytes], draw: random.Random, name: str) -> str:
    """Something that happens to a folder of videos, in words; not so often that most of its videos go."""
    videos = sorted(folder.rglob("*.mp4"))
    one, clip = draw.choice(videos), draw.choice(clips)
    what = draw.choice(("came slowly", "came whole", "changed", "moved", "went"))
    if what == "came slowly":
        with (folder / f"slow-{name}.mp4").open("wb") as file:
            for place in range(0, len(clip), len(clip) // 4 + 1):
                file.write(clip[place : place + len(clip) // 4 + 1])
                file.flush()
                time.sleep(0.4)
    elif what == "came whole":
        (folder / "part").write_bytes(clip)
        (folder / "part").rename(folder / f"whole-{name}.mp4")
    elif what == "changed":
        one.write_bytes(clip)
    elif what == "moved":
        (folder / f"in-{name}").mkdir()
        one.rename(folder / f"in-{name}" / one.name)
    else:
        one.unlink()
    return what


def _shown(index: Path) -> Contents:
    """What the catalog holds of videos that are not hidden."""
    return {path: one for path, one in contents(index).items() if not one[1]}


def _patiently(is_so: Callable[[], bool], wait_s: float = 120.0) -> bool:
    """Whether it comes to be so."""
    ends = time.monotonic() + wait_s
    while not is_so():
        if time.monotonic() > ends:
            return False
        time.sleep(0.25)
    return True


class _Watching(ExitStack):
    """`cezsar watch` of a folder, in a process that is started again if it ends, as a system's services are."""

    def __init__(self, folder: Path, index: Path) -> None:
        super().__init__()
        self._command = [sys.executable, "-m", "cezsar", "watch", str(folder), "--index", str(index)]
        self._command += ["--model", "toy", "--settle", "1"]
        self._is_wanted = threading.Event()
        self._lock = threading.Lock()
        self.start()
        self.callback(self.kill)

    def start(self) -> None:
        """Start it, and go on doing so."""
        self._is_wanted.set()
        self._started = threading.Event()
        self._keeper = threading.Thread(target=self._keep)
        self._keeper.start()
        self._started.wait()

    def _keep(self) -> None:
        while True:
            with self._lock:
                if not self._is_wanted.is_set():
                    return
                self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                self._started.set()
            self._process.wait()
            time.sleep(0.5)

    def kill(self, number: int = signal.SIGKILL) -> int:
        """End it by a signal; its exit status."""
        with self._lock:
            self._is_wanted.clear()
            self._process.send_signal(number)
        self._keeper.join()
        return self._process.returncode

    def end(self) -> list[str]:
        """End it as Ctrl-C does; what is wrong with how it ends."""
        status = self.kill(signal.SIGINT)
        return [] if status == 130 else [f"Ctrl-C ended it with {status}"]


class _Crowd(ExitStack):
    """Others at an index, again and again: one writes a video of another folder, one holds it for longer than anybody
    waits, and one reads."""

    def __init__(self, clip: bytes, folder: Path, index: Path) -> None:
        super().__init__()
        self.folder = folder
        self.asked = self.ran = 0
        self.problems: list[str] = []
        self._clip, self._index = clip, index
        self._is_over = threading.Event()
        folder.mkdir()
        self._threads = [threading.Thread(target=one) for one in (self._write, self._read)]
        for thread in self._threads:
            thread.start()
        self.callback(self.over)

    def over(self) -> None:
        """Send them away, the writer after a last run."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _write(self) -> None:
        command = [sys.executable, "-m", "cezsar", "index", str(self.folder), "--quiet", "--index", str(self._index)]
        is_last = False
        while not is_last:
            is_last = self._is_over.is_set()
            (self.folder / f"{self.ran}.mp4").write_bytes(self._clip)
            ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            if ended.returncode == 0:
                self.ran += 1
            elif not _is_refusal(ended.stderr):
                self.problems.append(ended.stderr)
            else:
                is_last = False
            with suppress(CezsarError), store.open_to_write(self._index):
                self._is_over.wait(4.0)

    def _read(self) -> None:
        while not self._is_over.is_set():
            if not answers(self._index, "blue"):
                self.problems.append("a query found nothing")
            self.asked += 1
            self._is_over.wait(0.2)


# Odd inputs


def inputs(work: Path) -> Outcome:
    """The whole zoo in one run: each ends as it is written down beside it."""
    outcome, ends = Outcome(), Counter[str]()
    made = zoo.make(work / "zoo")
    settings = load(environ={}, index=work / "of-the-zoo", model="toy")
    report = indexer.index([work / "zoo"], settings)
    found: dict[bytes, int | str] = {os.fsencode(skip.path): skip.reason for skip in report.skipped}
    found |= {path: len(parts) for path, (_, _, parts) in contents(settings.index).items()}
    for path, specimen in made.items():
        end, expected = found.get(os.fsencode(path)), specimen.expected
        is_so = isinstance(end, str) and end.startswith(expected) if isinstance(expected, str) else end == expected
        outcome.add(ascii(specimen.name), [] if is_so else [f"{end!r} and not {expected!r}"])
        ends["embedded" if isinstance(end, int) else "refused by name" if end else "no videos"] += 1
    outcome.add("verify", wrong(settings.index, ()))
    outcome.notes = [f"{count} {end}" for end, count in ends.items()]
    return outcome


# PostgreSQL

_WRITES = """
import sys
import numpy as np
from cezsar import store
from cezsar.encoders.toy import Toy
from cezsar.location import located
from cezsar.store import Embedding, File
from cezsar.types import Segment
parts = tuple(Segment(float(i), i + 1.0) for i in range(20))
rows = np.repeat(Toy().encode_texts(["red"]), 20, axis=0)
with store.open_to_write(located(sys.argv[1]), notice=lambda line: None) as catalog:
    for number in range(int(sys.argv[2])):
        file = File(b"/videos", b"%d.mp4" % number, 1, 1)
        shows = Embedding(20.0, parts, tuple(range(20)), rows)
        catalog.write(lambda writer: writer.add_video(file, bytes(32), shows))
        print(number, flush=True)
"""


def server_killed(tries: int, *, has_standby: bool) -> Outcome:
    """Every process of a database's server killed while a video a transaction is written: what was acknowledged is
    there, once and whole. The server comes again, or its standby takes over."""
    outcome, acknowledged, away_s = Outcome(), 0, list[float]()
    for number in range(1 if has_standby else tries):
        with (
            tempfile.TemporaryDirectory(prefix="pg") as name,
            tempfile.TemporaryDirectory(prefix="pg") as other,
            databases.server(Path(name)),
            ExitStack() as stack,
        ):
            folder, follower = Path(name), Path(other) / "s"
            hosts = name
            if has_standby:
                Path(other).chmod(0o777)
                stack.enter_context(databases.standby(follower, folder))
                hosts = f"{name},{follower}"
            location = located(databases.location(hosts, "postgres") + "&target_session_attrs=read-write")
            store.create(location, Toy.identity, Sampling()).__exit__(None, None, None)
            count = 150
            command = [sys.executable, "-c", _WRITES, _url(location), str(count)]
            writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            said = list[str]()
            reader = threading.Thread(target=lambda: said.extend(writer.stdout or ()))  # noqa: B023
            reader.start()
            for turn in range(1, 2 if has_standby else 11):
                while len(said) < turn * 10 and writer.poll() is None:
                    time.sleep(0.002)
                time.sleep(random.Random(number * 100 + turn).random() * 0.05)
                databases.kill(folder)
                began = time.monotonic()
                databases.promote(follower, folder) if has_standby else databases.start(folder)
                away_s.append(time.monotonic() - began)
            reader.join()
            _, error = writer.communicate()
            problems = [] if writer.returncode == 0 else [error]
            with store.open(location) as catalog, catalog.read() as rows:
                known = {video.file.path: len(rows.segments(video.id)[0]) for video in rows.videos()}
                problems += maintenance.verify(catalog).problems
                problems += [f"{path!r} has {some} segments" for path, some in known.items() if some != 20]
                problems += [f"{line} is not there" for line in said if b"%d.mp4" % int(line) not in known]
                problems += ["a video twice"] if len(rows.videos()) != len(known) else []
            acknowledged += len(said)
            outcome.add(f"try {number}", problems)
            if has_standby:
                databases.start(folder)  # so that it can be ended
    outcome.notes = [
        f"{acknowledged} videos acknowledged",
        f"{len(away_s)} kills",
        f"back in {max(away_s):.1f} s at most",
    ]
    return outcome


_RACES = """
import sys
from cezsar import store
from cezsar.encoders.toy import Toy
from cezsar.errors import IndexLocked
from cezsar.location import located
from cezsar.store import Embedding, File
from cezsar.types import Segment
rows = Toy().encode_texts(["red"])
for number in range(int(sys.argv[3])):
    file = File(sys.argv[2].encode(), b"%d.mp4" % number, 1, 1)
    shows = Embedding(1.0, (Segment(0.0, 1.0),), (0,), rows)
    while True:
        try:
            with store.open_to_write(located(sys.argv[1]), notice=print) as catalog:
                print(catalog.write(lambda writer: writer.add_video(file, bytes(32), shows)), flush=True)
            break
        except IndexLocked as error:
            print(error, file=sys.stderr, flush=True)
"""


def writers_of_database(work: Path, rounds: int) -> Outcome:
    """Two `cezsar index` of different folders on one database, and two programs that write a video each time: one
    waits, or is told who writes; nothing is lost, nothing is twice there, and a reader of what is new misses none."""
    outcome, refused, seen = Outcome(), 0, 0
    folders = [work / "one", work / "other"]
    for folder, colours in zip(folders, (list(COLOURS)[:4], list(COLOURS)[4:]), strict=True):
        folder.mkdir(parents=True)
        for colour in colours:
            write_video(folder / f"{colour}.mp4", [(colour, 1.0)])
    alone = load(environ={}, index=work / "alone", model="toy")
    indexer.index(folders, alone)
    with tempfile.TemporaryDirectory(prefix="pg") as name, databases.server(Path(name)) as host:
        for number in range(rounds):
            location = located(databases.location(host, "postgres") + f"&schema=round_{number}")
            store.create(location, Toy.identity, Sampling()).__exit__(None, None, None)
            commands = [
                [sys.executable, "-m", "cezsar", "index", str(folder), "--quiet", "--index", _url(location)]
                for folder in folders
            ]
            problems = []
            for command, ended in zip(commands, _together(commands), strict=True):
                if ended.returncode != 0:
                    refused += 1
                    problems += [] if _is_refusal(ended.stderr) else [ended.stderr]
                    subprocess.run(command, check=True, capture_output=True)
            with store.open(location) as catalog, catalog.read() as rows:
                problems += maintenance.verify(catalog).problems
                problems += ["a video twice"] if len(rows.videos()) != 8 else []
            problems += [] if contents(location) == contents(alone.index) else ["another catalog than of one alone"]
            outcome.add(f"commands {number}", problems)
            count = 20
            races = [[sys.executable, "-c", _RACES, _url(location), f"/{side}", str(count)] for side in "ab"]
            found = list[int]()
            last = 0
            with store.open(location) as catalog:
                with catalog.read() as rows:
                    last = max(rows.tail(after=0)[0].tolist())
                first = last
                for ended in _together(races, meanwhile=lambda: found.extend(_new(catalog, [first, *found][-1]))):  # noqa: B023
                    problems = [] if ended.returncode == 0 else [ended.stderr]
                    refused += ended.stderr.count(" is writing to ")
                    outcome.add(f"program {number}", problems)
                found += _new(catalog, [first, *found][-1])
                with catalog.read() as rows:
                    all_new = rows.tail(after=first)[0].tolist()
                problems = [] if found == all_new and len(found) == 2 * count else [f"a reader saw {found}"]
                problems += maintenance.verify(catalog).problems
            seen += len(found)
            outcome.add(f"reader {number}", problems)
    outcome.notes = [f"{seen} segments seen as they came", f"{refused} writers turned away"]
    return outcome


def _new(catalog: store.Catalog, after: int) -> list[int]:
    with catalog.read() as rows:
        return [int(number) for number in rows.tail(after=after)[0]]


def _is_refusal(said: str) -> bool:
    """Whether one line names another writer."""
    return said.count("\n") == 1 and (" is writing to the index in " in said or "just now" in said)


def _together(
    commands: Sequence[Sequence[str]], *, meanwhile: Callable[[], object] = lambda: None
) -> list[subprocess.CompletedProcess[str]]:
    """What came of commands that ran at once."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **pipes) for command in commands]  # type: ignore[call-overload]
    while any(one.poll() is None for one in running):
        meanwhile()
        time.sleep(0.02)
    said = [one.communicate() for one in running]
    return [
        subprocess.CompletedProcess(one.args, one.returncode, *those) for one, those in zip(running, said, strict=True)
    ]


def server_full(work: Path) -> Outcome:
    """No room on the disk of a database's server: commands end with one line, and what was acknowledged is there."""
    outcome = Outcome()
    (work / "films").mkdir(parents=True)
    write_video(work / "films" / "cyan.mp4", [("cyan", 1.0)])
    with tempfile.TemporaryDirectory(prefix="pg") as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", name], check=True)
        try:
            with databases.server(Path(name)) as host:
                location = located(databases.location(host, "postgres"))
                store.create(location, Toy.identity, Sampling()).__exit__(None, None, None)
                filler = Path(name) / "filler"
                _fill(filler, left=300_000)
                command = [sys.executable, "-c", _WRITES, _url(location), "5000"]
                writer = subprocess.run(command, capture_output=True, text=True, check=False)
                last = writer.stderr.splitlines()[-1:]
                is_told = writer.returncode == 1 and "No space left on device" in "".join(last)
                outcome.add("a program", [] if is_told else [f"exit {writer.returncode}: {last}"])
                _fill(filler, left=0)
                index = ["index", str(work / "films"), "--quiet", "--index", _url(location)]
                ended = subprocess.run([sys.executable, "-m", "cezsar", *index], capture_output=True, text=True)
                is_line = ended.returncode in (0, 1) and ended.stderr.count("\n") == ended.returncode
                outcome.add("a command", [] if is_line else [f"exit {ended.returncode}: {ended.stderr}"])
                filler.unlink()
                again = subprocess.run([sys.executable, "-m", "cezsar", *index], capture_output=True, text=True)
                problems = [again.stderr] if again.returncode else []
                said = writer.stdout.split()
                with store.open(location) as catalog, catalog.read() as rows:
                    problems += maintenance.verify(catalog).problems
                    known = {video.file.path: len(rows.segments(video.id)[0]) for video in rows.videos()}
                problems += [f"{line} is not there" for line in said if known.get(b"%d.mp4" % int(line)) != 20]
                problems += [] if len(known) == len(said) + 1 else [f"{len(known)} videos and not {len(said) + 1}"]
                outcome.add("room again", problems)
        finally:
            subprocess.run(["umount", "--lazy", name], check=True)
    outcome.notes = [f"{len(said)} videos acknowledged", f"the command said {ended.stderr.strip()[-70:] or 'nothing'}"]
    return outcome


def _fill(filler: Path, *, left: int) -> None:
    """Let a file take all of its disk but for some bytes."""
    room = os.statvfs(filler.parent)
    with filler.open("ab") as file:
        for _ in range(max(0, room.f_bavail * room.f_frsize - left) // 4096):
            file.write(bytes(4096))


def reader_through_failover() -> Outcome:
    """A primary killed and its standby promoted while somebody searches: answers are what they were, and go on."""
    outcome, asked = Outcome(), 0
    with (
        tempfile.TemporaryDirectory(prefix="pg") as name,
        tempfile.TemporaryDirectory(prefix="pg") as other,
        databases.server(Path(name)),
        ExitStack() as stack,
    ):
        folder, follower = Path(name), Path(other) / "s"
        Path(other).chmod(0o777)
        stack.enter_context(databases.standby(follower, folder))
        location = located(databases.location(f"{name},{follower}", "postgres"))
        store.create(location, Toy.identity, Sampling()).__exit__(None, None, None)
        subprocess.run([sys.executable, "-c", _WRITES, _url(location), "5"], check=True, capture_output=True)
        problems, refused, away_s = list[str](), list[str](), 0.0
        with Searcher(location) as searcher:
            expected = searcher.search("red")
            killer = threading.Timer(1.0, lambda: (databases.kill(folder), databases.promote(follower, folder)))
            killer.start()
            last = time.monotonic()
            end = last + 60
            while killer.is_alive() or asked == 0 or time.monotonic() < last + 0.5 < end:
                began = time.monotonic()
                try:
                    found = searcher.search("red")
                except BadIndex as error:
                    refused.append(str(error))
                    continue
                away_s, last = max(away_s, time.monotonic() - last), time.monotonic()
                asked += 1
                problems += [] if found == expected else [f"another answer {began - end + 60:.1f} s after the start"]
                if not killer.is_alive() and asked > 20:
                    break
        problems += [error for error in refused if "\n" in error or "went away" not in error]
        problems += [f"no answer for {away_s:.0f} s"] if away_s > 10 else []
        outcome.add("a reader", problems)
        killer.join()
        databases.start(folder)  # so that it can be ended
    outcome.notes = [f"{asked} answers", f"{len(refused)} searches ended by a line", f"{away_s:.1f} s without one"]
    return outcome


def link_down() -> Outcome:
    """The link to a database's server is down for 10 s while a video a transaction is written: it goes on."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="pg") as name, databases.server(Path(name)) as host:
        location = located(databases.location(host, "postgres"))
        store.create(location, Toy.identity, Sampling()).__exit__(None, None, None)
        with databases.reached_by_link(Path(name)) as (there, within, link):
            command = [*within, sys.executable, "-c", _WRITES, there, "100"]
            writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            assert writer.stdout is not None
            said = [writer.stdout.readline() for _ in range(10)]
            subprocess.run([*link, "down"], check=True)
            time.sleep(10)
            subprocess.run([*link, "up"], check=True)
            rest, error = writer.communicate(timeout=300)
            said += rest.splitlines()
        problems = [] if writer.returncode == 0 else [error]
        with store.open(location) as catalog, catalog.read() as rows:
            problems += maintenance.verify(catalog).problems
            known = {video.file.path: len(rows.segments(video.id)[0]) for video in rows.videos()}
            problems += [f"{len(rows.videos())} videos"] if len(rows.videos()) != 100 else []
            problems += [f"{path!r} has {some} segments" for path, some in known.items() if some != 20]
        outcome.add("10 s", problems)
    outcome.notes = [f"{len(said)} videos acknowledged"]
    return outcome


def _url(location: Location) -> str:
    assert isinstance(location, Database)
    return str(location)  # none has a password


# Ray


def ray_lost(work: Path, losses: Sequence[str]) -> Outcome:
    """Parts of a Ray of two nodes that go while it fills an index: it ends as if nothing had gone."""
    outcome = Outcome()
    work.mkdir()
    videos = work / "videos"
    videos.mkdir()
    for number in range(24):
        shots = [(list(COLOURS)[(number + step * (1 + number % 5)) % 8], 4.0) for step in range(8)]
        write_video(videos / f"{number}.mp4", shots, size=(320, 240))
    undisturbed = load(environ={}, index=work / "undisturbed", model="toy")
    indexer.index([videos], undisturbed)
    expected = contents(undisturbed.index)
    with rays.two_nodes(work) as cluster:
        outcome.notes.append("network namespaces" if cluster.are_apart else "loopback addresses")
        for number, loss in enumerate(losses):
            if loss.startswith("link") and not cluster.are_apart:
                continue
            index = work / f"index-{number}"
            began = time.monotonic()
            given = ["--index", str(index), "--model", "toy", "--runner", "ray", "--ray-address", cluster.address]
            running = cluster.run("index", str(videos), *given)
            while running.poll() is None and not (store.exists(index) and len(contents(index)) >= 3):
                time.sleep(0.1)
            with _lost(cluster, loss):
                _, said = running.communicate(timeout=600)
            problems = wrong(index, ()) if running.returncode == 0 else [said]
            problems += [] if contents(index) == expected else ["another catalog"]
            if loss.startswith("no") and ", and waits for room" not in said:
                problems.append(f"nobody was told what it waits for: {said}")
            outcome.add(loss, problems)
            outcome.notes.append(f"{loss} {time.monotonic() - began:.0f} s")
    return outcome


@contextmanager
def _lost(cluster: rays.Rays, loss: str) -> Iterator[None]:
    """Without a part of a cluster, or with it back after a while."""
    with ExitStack() as stack:
        if loss in ("raylet killed", "no node for 75 s"):
            cluster.kill_node()
            time.sleep(75 if loss.startswith("no") else 0)
            cluster.start_node()  # it has all the processors
        elif loss == "link down 10 s":
            cluster.set_link("down")
            time.sleep(10)
            cluster.set_link("up")
        elif loss == "link down for good":
            cluster.set_link("down")
            stack.callback(cluster.set_link, "up")
            stack.enter_context(cluster.another_node())
        else:
            cluster.kill_workers({"actor killed": "ray::MapWorker", "task killed": "ray::_decode"}[loss])
        yield


# Load

_STAND_IN = """
import json, sys
frame = b'{"shape": [1, 3, 1, 1]}\\n' + bytes(3) + bytes(8) + (1).to_bytes(8, "little") + bytes(2 * 8 + 8 * 8 * 4)
done = b'{"done": {"duration_s": 0.5, "shortfall": null, "stream_number": 0, "recorded_s": null}}\\n'
for line in sys.stdin.buffer:
    sys.stdout.buffer.write(frame + done)
    sys.stdout.buffer.flush()
"""


def load_of(work: Path, count: int, *, is_timed: bool) -> Outcome:
    """Very many files with a stand-in for the decoder: memory, open files, a second look, and one percent more."""
    from cezsar.video import decoder

    decoder._START, real = _STAND_IN, decoder._START
    try:
        return _load_of(work, count, is_timed=is_timed)
    finally:
        decoder._START = real


def _load_of(work: Path, count: int, *, is_timed: bool) -> Outcome:
    outcome, videos = Outcome(), work / "many"
    settings = load(environ={}, index=work / "large", model="toy")

    def add(first: int, last: int) -> None:
        for number in range(first, last):
            folder = videos / f"{number // 1000:03}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number:06}.mp4").write_bytes(b"%d" % number)

    import faiss  # noqa: F401  # the first cache would bring it in, once, after the start

    add(0, count)
    start = min(1_000, count // 2)
    watch = _Watch(start)
    first_s = _timed(lambda: indexer.index([videos], settings, progress=watch))
    early, late = watch.megabytes[start], watch.megabytes[count]
    grown = late - early
    outcome.add("memory", [] if grown < 0.1 * early else [f"grew from {early:.0f} to {late:.0f} MB"])
    opened = watch.files[count] - watch.files[start]  # a video being hashed and a reader's WAL come and go
    outcome.add("open files", [] if opened < 4 else [f"{opened} more than after {start:,}"])
    again_s = _timed(lambda: indexer.index([videos], settings))
    is_quick = again_s < 2.0 or not is_timed
    outcome.add("a second look", [] if is_quick else [f"took {again_s:.1f} s"])
    add(count, count + count // 100)
    more_s = _timed(lambda: indexer.index([videos], settings)) - again_s
    is_quick = more_s < 0.05 * first_s or not is_timed
    outcome.add("one percent more", [] if is_quick else [f"took {more_s:.1f} of {first_s:.1f} s"])
    outcome.add("verify", wrong(settings.index, ()))
    outcome.notes = [
        f"{count:,} files in {first_s:.0f} s",
        f"{early:.0f} MB after {start:,}, {late:.0f} MB at the end",
        f"{watch.files[count]} open files",
        f"second look {again_s:.1f} s",
        f"1% more in {more_s:.1f} s",
    ]
    return outcome


class _Watch:
    """A Progress that looks at this process after every so many videos."""

    def __init__(self, each: int) -> None:
        self.megabytes: dict[int, float] = {}
        self.files: dict[int, int] = {}
        self._each, self._num_done = each, 0

    def comparing(self, path: Path, num_bytes: int) -> None: ...

    def start(self, num_videos: int, num_bytes: int) -> None:
        """Nothing yet."""

    def done(self, path: Path, num_bytes: int) -> None:
        self._num_done += 1
        if self._num_done % self._each == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.megabytes[self._num_done] = pages * resource.getpagesize() / 1e6
            self.files[self._num_done] = len(os.listdir("/proc/self/fd"))

    def skipped(self, path: Path, num_bytes: int, reason: str) -> None:
        raise AssertionError(f"{path}: {reason}")

    def notice(self, line: str) -> None:
        raise AssertionError(line)


def _timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


# Everything


def run(work: Path, *, short: bool) -> Iterator[tuple[str, Outcome]]:
    """Each kind of mishap and what came of it."""
    ground = Ground(work / "ground")
    yield "killed", kills(ground, 20 if short else 200)
    yield "bugs planted", plants(ground)
    yield "cache damaged", corruptions(ground, 2 if short else 20)
    yield "small cache", blows(work, 40 if short else 400, is_large=False)
    yield "large cache", blows(work, 40 if short else 400, is_large=True)
    yield "disk full", full_disk(ground, 6 if short else 60)
    yield "odd inputs", inputs(work)
    yield "writers at once", at_once(ground, 2 if short else 20)
    yield "watched", watched(work / "watched", 1 if short else 5)
    yield "server killed", server_killed(1 if short else 5, has_standby=False)
    yield "standby takes over", server_killed(1, has_standby=True)
    yield "database's writers", writers_of_database(work / "writers", 1 if short else 5)
    yield "server's disk full", server_full(work / "full")
    yield "reader at failover", reader_through_failover()
    yield "link to a server", link_down()
    yield "Ray", ray_lost(work / "ray", rays.LOSSES)
    yield "load", load_of(work, 2_000 if short else 20_000, is_timed=not short)


def main() -> None:
    """Print the table; exit 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a tenth of it")
    short = parser.parse_args().short
    is_lost = False
    with tempfile.TemporaryDirectory(prefix="cezsar-torture-") as work:
        print(f"{'':<16} {'tried':>6} {'nothing lost':>13}  notes", flush=True)
        for name, outcome in run(Path(work), short=short):
            notes = textwrap.wrap("; ".join(outcome.notes), 40) or [""]
            print(f"{name:<16} {outcome.tried:>6} {outcome.survived:>13}  {notes[0]}".rstrip(), flush=True)
            for line in notes[1:]:
                print(f"{'':<38} {line}", flush=True)
            for line in outcome.lost:
                print(f"  LOST {line}", flush=True)
            is_lost = is_lost or bool(outcome.lost)
    sys.exit(int(is_lost))


if __name__ == "__main__":
    main()
