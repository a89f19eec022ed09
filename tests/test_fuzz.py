"""Whatever comes in, there is an answer or an error of the project's own tree: tests/corpus replayed, and mutated.

CEZSAR_FUZZ_EXAMPLES multiplies the number of examples: CEZSAR_FUZZ_EXAMPLES=100 for a long run.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import numpy as np
import pytest
from caches import beside_of, data_of, trained_of
from click.testing import CliRunner
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from torture import random_index
from transformers.utils import logging as transformers_logging

from cezsar import encoders, maintenance, store
from cezsar.cli import main
from cezsar.cli.query import _parse_example
from cezsar.encoders.toy import COLOURS, Toy
from cezsar.errors import BadIndex, BenchmarkError, EncoderError, PairsError, QueryError, SettingsError, VideoError
from cezsar.indexer.segments import grid_steps, plan
from cezsar.model import CezsarConfig, CezsarModel
from cezsar.pairs import read_pairs
from cezsar.query import Filters, Searcher
from cezsar.query.benchmark.receipt import compare, read_receipt
from cezsar.query.benchmark.sentences import class_sentences
from cezsar.query.prompts import from_names, read_labels, visible, words
from cezsar.store import Embedding, File
from cezsar.store.local import opening
from cezsar.store.local.stamp import STAMP
from cezsar.types import Hit, Limits, Sampling, Segment
from cezsar.video import Decoder

CORPUS = Path(__file__).parent / "corpus"
_TIMES = int(os.environ.get("CEZSAR_FUZZ_EXAMPLES", "1"))
_PATIENCE_S = 30  # longer is a hang, on a busy machine too
_FEATURES = 6
_INDEX_ID = "0" * 32
_RED = (np.array(list(COLOURS)) == "red").astype(np.float32)

Edits = list[list[Any]]


def _examples(count: int) -> Callable[[Any], Any]:
    """A profile of so many examples, the same in every run but a long one."""
    return settings(
        max_examples=count * _TIMES,
        derandomize=_TIMES == 1,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def _seeds(target: str) -> list[Path]:
    """The corpus of a target; videos by name, so that a run repeats."""
    found = sorted((CORPUS / target).iterdir())
    assert found
    return found


def _replayed(target: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("seed", _seeds(target), ids=lambda path: path.name)


@st.composite
def _mutated(draw: st.DrawFn, seeds: Sequence[bytes], most: int = 1 << 16) -> bytes:
    """Bytes of a seed with a few changes: flips, cuts, insertions, and parts repeated or taken from another seed."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, min(64, len(data) - at)) | st.integers(0, len(data) - at))
        kind = draw(st.sampled_from(["flip", "cut", "insert", "repeat", "overwrite", "splice"]))
        if kind == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del data[at : at + length]
        elif kind == "insert":
            data[at:at] = draw(st.sampled_from(_TRICKY) | st.binary(max_size=16))
        elif kind == "repeat":
            data[at:at] = data[at : at + length] * draw(st.integers(1, 4))
        elif kind == "overwrite":
            data[at : at + length] = draw(st.sampled_from([b"\0", b"\xff", b"\x7f"])) * length
        elif kind == "splice":
            other = draw(st.sampled_from(seeds))
            start = draw(st.integers(0, len(other)))
            data[at : at + length] = other[start : start + length]
    return bytes(data[:most])


_TRICKY = [
    b"\0", b"\r\n", b"\n", b'"', b"'", b",", b"\\", b"{", b"[", b"]", b"}", b":", b"null", b"NaN", b"-Infinity",
    b"1e999", b"-1", b"9" * 30, b"\xef\xbb\xbf", b"\xff", b"\\ud800", b"\\u0000", b'""', b"[" * 1500, b"@", b"0-1",
]  # fmt: skip


@contextmanager
def _promptly() -> Iterator[None]:
    """Fails where what is inside takes as long as a hang would."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"no answer for {_PATIENCE_S} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(_PATIENCE_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _texts() -> st.SearchStrategy[str]:
    """Any text, lone surrogates and NUL too."""
    return st.text(st.characters(exclude_categories=()), max_size=40) | st.text("ab,._- @:\0\ud800\udcff\n\ufeff12")


def _arguments() -> st.SearchStrategy[str]:
    """Any text that a command line can bring: bytes without NUL."""
    return st.binary(max_size=40).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"")))


# Videos


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    """Opens and samples a video in a process of its own, which survives what FFmpeg does not."""
    with Decoder(Limits(stall_s=_PATIENCE_S, time_s=2 * _PATIENCE_S)) as made:
        yield made


def _check_video(decoder: Decoder, path: Path, *, fps: float = 4.0) -> None:
    decoder.duration_s, num_frames, steps, times = 0.0, 0, 0, [0.0]
    try:
        for batch in decoder.sample(path, fps=fps, short_side=16, batch_size=3):
            frames = batch.frames_uint8
            assert frames.dtype == np.uint8
            assert frames.shape[1] == 3
            assert min(frames.shape[2:]) == 16
            assert len(frames) == len(batch.times_s) == len(batch.repeats) in (1, 2, 3)
            assert (batch.repeats >= 1).all()
            times += batch.times_s.tolist()
            num_frames += len(frames)
            steps += int(batch.repeats.sum())
    except VideoError as error:
        # a child that an error of no tree ended, or that hung; a signal would be FFmpeg's own crash
        if "exit status" in str(error) or "given up" in str(error):
            raise
        return
    assert num_frames > 0
    assert 0 < decoder.duration_s < math.inf
    assert all(0 <= before <= after < math.inf for before, after in pairwise(times))
    assert steps == max(1, math.ceil((decoder.duration_s - 1e-6) * fps))
    segments = plan(decoder.duration_s, window_s=8.0, stride_s=4.0)
    assert max(grid_steps(segment, fps=fps)[-1] for segment in segments) < steps


@_replayed("video")
def test_a_file_of_the_corpus_is_a_video_or_not_one(decoder: Decoder, seed: Path) -> None:
    _check_video(decoder, seed)


def test_a_mutated_file_is_a_video_or_not_one(decoder: Decoder, tmp_path: Path) -> None:
    @_examples(60)
    @given(_mutated([path.read_bytes() for path in _seeds("video")]), st.sampled_from([0.5, 4.0, 30.0]))
    def check(data: bytes, fps: float) -> None:
        path = tmp_path / "video"
        path.write_bytes(data)
        _check_video(decoder, path, fps=fps)

    check()


# Segments


def _check_plan(duration_s: float, window_s: float, stride_s: float) -> None:
    segments = plan(duration_s, window_s=window_s, stride_s=stride_s)
    slack = 1e-9 * max(stride_s, duration_s)  # of counting in whole strides
    assert len(segments) <= duration_s / stride_s + 1
    assert len(segments) <= max(0.0, duration_s - window_s) / stride_s + 2
    assert bool(segments) == (duration_s > 0)
    assert all(0 <= segment.start_s < segment.end_s <= duration_s for segment in segments)
    assert all(before.start_s < after.start_s for before, after in pairwise(segments))
    assert all(segment.end_s - segment.start_s <= window_s + slack for segment in segments)
    if segments and stride_s <= window_s:
        assert segments[0].start_s == 0
        assert segments[-1].end_s >= duration_s - slack
        assert all(after.start_s <= before.end_s + slack for before, after in pairwise(segments))


@_examples(400)
@given(st.floats(0, 1e6), st.floats(0, 1e9), st.floats(0, 1e9))
@example(0.3, 0.1, 0.1)
@example(5.0, 1e-300, 1.0)
@example(1e6, 1e6, 1e6)
@example(8.0000000001, 8.0, 8.0)
@example(1e-6, 8.0, 4.0)
@example(5e-324, 8.0, 4.0)
def test_segments_cover_a_video_in_order_and_end_with_it(duration_s: float, window_s: float, stride_s: float) -> None:
    try:
        sampling = Sampling(2.0, window_s, stride_s)
    except SettingsError:
        assume(False)
    assume(duration_s / sampling.stride_s < 20_000)
    _check_plan(duration_s, sampling.window_s, sampling.stride_s)


@_examples(200)
@given(*[st.floats(allow_nan=True, allow_infinity=True)] * 3)
def test_a_sampling_is_usable_or_refused(fps: float, window_s: float, stride_s: float) -> None:
    try:
        sampling = Sampling(fps, window_s, stride_s)
    except SettingsError:
        return
    assert all(math.isfinite(value) and value > 0 for value in (fps, window_s, stride_s))
    segments = plan(min(9 * stride_s, 1e6), window_s=sampling.window_s, stride_s=sampling.stride_s)
    assert 1 <= len(segments) <= 10
    assert all(len(grid_steps(segment, fps=sampling.fps)) <= 10_001 for segment in segments)


@_examples(200)
@given(st.floats(max_value=0.0) | st.just(-math.inf))
def test_nothing_is_planned_of_no_time(duration_s: float) -> None:
    assert plan(duration_s, window_s=8.0, stride_s=4.0) == []


# Queries


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index, always of the same bytes: a hidden video, deleted segments, a cache, and a tail that came after it."""
    folder = tmp_path_factory.mktemp("fuzz").resolve() / "index"
    names = {
        b"red.mp4": "red",
        b"green.mp4": "green",
        b"blue.mp4": "blue",
        b"gone.mp4": "red",
        b"gone-later.mp4": "red",
    }
    with store.create(folder, Toy.identity, Sampling()) as catalog:
        ids = [_add(catalog, name, colour) for name, colour in names.items()]
        with catalog.transaction() as writer:
            writer.hide_videos([ids[2]])
            writer.purge_videos([ids[3]])
            writer.note_failure(store.Failure(b"/videos/bad", 7, 1, "PyAV", "no video stream"))
    with closing(sqlite3.connect(folder / store.FILE)) as database, database:
        database.execute("UPDATE index_info SET index_id = ?", (_INDEX_ID,))
    with opening.open_to_write(folder) as catalog:
        catalog.rebuild()
        _add(catalog, b"cyan.mp4", "cyan")
        _add(catalog, b"red-too.mp4", "red")
        with catalog.transaction() as writer:
            writer.purge_videos([ids[4]])
    with closing(sqlite3.connect(folder / store.FILE)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder


def _add(catalog: store.Catalog, name: bytes, colour: str) -> int:
    vectors = np.zeros((2, len(COLOURS)), np.float32)
    vectors[:, list(COLOURS).index(colour)] = 1
    parts = (Segment(0.0, 8.0), Segment(4.0, 9.5))
    with catalog.transaction() as writer:
        file = File(b"/videos", name, 1000, 1_700_000_000_000_000_000)
        return writer.add_video(file, bytes(32), Embedding(9.5, parts, (0, 1), vectors))


def _check_command(base: Path, words: Sequence[str], stdin: bytes = b"") -> str:
    """cezsar query, which ends as it says it does; returns its stdout."""
    command = ["cezsar", "query", "--index", str(base), "--json", *words]
    with _promptly(), CliRunner().isolation(input=stdin) as streams, patch.object(sys, "argv", command):
        with pytest.raises(SystemExit) as ended:
            main()
        out = streams[0].getvalue().decode()
    code = ended.value.code or 0
    assert code in (0, 1, 2)
    assert (code == 0) == bool(out.strip()) or (code == 1 and "-" in words)
    return out


def _check_lines(base: Path, stdin: bytes) -> None:
    lines = [line.decode(errors="replace").strip().removeprefix("\ufeff") for line in stdin.split(b"\n")]
    out = _check_command(base, ["-"], stdin)
    documents = [json.loads(line) for line in out.split("\n") if line]
    lines = [line for line in lines if visible(line).strip()]
    assert len(documents) <= len(lines)
    assert [document["query"] for document in documents] == lines[: len(documents)]
    assert all(len(document["hits"]) == 4 for document in documents)


@_replayed("query")
def test_lines_of_the_corpus_are_queries(base: Path, seed: Path) -> None:
    _check_lines(base, seed.read_bytes())


def test_mutated_lines_are_queries(base: Path) -> None:
    @_examples(25)
    @given(_mutated([path.read_bytes() for path in _seeds("query")], most=4000))
    def check(stdin: bytes) -> None:
        assume(stdin.count(b"\n") < 50)
        _check_lines(base, stdin)

    check()


def test_any_argument_is_a_query_or_refused(base: Path) -> None:
    @_examples(25)
    @given(_arguments(), st.none() | _arguments(), st.none() | _arguments())
    def check(text: str, without: str | None, glob: str | None) -> None:
        assume(text != "-")
        options = [*([] if without is None else ["--not", without]), *([] if glob is None else ["--path", glob])]
        _check_command(base, [*options, "--", text])

    check()


def _check_example(spec: str) -> None:
    try:
        path, segment = _parse_example(spec)
    except click.UsageError:
        return
    assert segment is None or 0 <= segment.start_s < segment.end_s
    assert (str(path) == str(Path(spec))) if segment is None else str(path) in str(Path(spec))


@_replayed("example")
def test_an_example_of_the_corpus_is_a_video_and_a_range_or_refused(base: Path, seed: Path) -> None:
    spec = os.fsdecode(seed.read_bytes())
    _check_example(spec)
    if "\0" not in spec:  # a command line cannot bring one
        _check_command(base, [f"--like={spec}"])


@_examples(300)
@given(
    _texts()
    | st.builds("{}@{}-{}".format, _texts(), *[st.text("0123456789:.٣²", max_size=12)] * 2)
    | _mutated([path.read_bytes() for path in _seeds("example")]).map(os.fsdecode)
)
def test_any_example_is_a_video_and_a_range_or_refused(spec: str) -> None:
    _check_example(spec)


@_examples(300)
@given(_texts())
def test_any_text_is_a_label(text: str) -> None:
    assert words(text) or not text
    try:
        labels = from_names(text.split(","))
    except QueryError:
        return
    assert labels
    assert all(name and name.encode() and said for name, said in labels.items())


@pytest.mark.parametrize(
    "source", ["\0.txt", "a\0.json", "\ud800.txt", "a" * 5000 + ".json", "~\0/x.txt", "/.txt", "."]
)
def test_a_name_that_no_file_can_have_is_refused_as_labels(source: str) -> None:
    try:
        labels = read_labels(source)
    except QueryError:
        return
    assert labels


@_examples(200)
@given(_texts(), st.sampled_from(["", ".txt", ".json", ",b"]))
def test_any_argument_is_labels_or_refused(text: str, suffix: str) -> None:
    try:
        labels = read_labels(text + suffix)
    except QueryError:
        return
    assert labels
    assert "" not in labels


# Files that people give


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that a file of captions may name."""
    folder = tmp_path_factory.mktemp("clips")
    for name in ("a.mp4", "b.mkv"):
        (folder / name).write_bytes(b"never opened")
    return folder


def _check_pairs(file: Path, clips: Path, field: str | None = None) -> None:
    try:
        with _promptly():
            captions = read_pairs(file, clips, field=field)
    except PairsError:
        return
    for pair in captions.pairs:
        assert pair.video.is_file()
        assert 0 <= pair.start_s < math.inf
        assert pair.end_s is None or pair.start_s < pair.end_s < math.inf
        assert pair.sentences
        assert all(sentence.strip() and sentence.encode() for sentence in pair.sentences)
        assert isinstance(pair.source, str)
    assert all(rejected.reason and rejected.where.startswith(file.name) for rejected in captions.rejected)


@_replayed("pairs")
def test_a_file_of_captions_of_the_corpus_is_read_or_refused(clips: Path, seed: Path) -> None:
    _check_pairs(seed, clips)
    _check_pairs(seed, clips, field="caption")


@pytest.mark.parametrize(
    "text", ["x" * 200_000, "video,sentence\na," + "x" * 200_000, "video,sentence," + "x" * 200_000]
)
def test_a_long_field_of_captions_is_refused(clips: Path, tmp_path: Path, text: str) -> None:
    file = tmp_path / "long.csv"
    file.write_text(text)
    _check_pairs(file, clips)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".json"])
def test_a_mutated_file_of_captions_is_read_or_refused(clips: Path, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"pairs{suffix}"

    @_examples(120)
    @given(_mutated([path.read_bytes() for path in _seeds("pairs") if path.suffix == suffix]))
    def check(data: bytes) -> None:
        file.write_bytes(data)
        _check_pairs(file, clips)

    check()


def _json_values() -> st.SearchStrategy[Any]:
    """Any JSON, also what only Python's json reads."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | _texts()
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts(), inner, max_size=3)
    )


def test_rows_of_any_json_are_pairs_or_rejected(clips: Path, tmp_path: Path) -> None:
    names = ["video", "sentence", "sentences", "start_s", "end_s", "source"]
    likely = {"video": st.just("a"), "sentence": st.just("x"), "start_s": st.floats(0), "end_s": st.floats(1)}
    values = {name: likely.get(name, st.nothing()) | _json_values() for name in names}

    @_examples(150)
    @given(st.lists(st.fixed_dictionaries({}, optional=values), max_size=4))
    def check(rows: list[dict[str, Any]]) -> None:
        file = tmp_path / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        _check_pairs(file, clips)

    check()


def _check_labels(file: Path) -> None:
    try:
        with _promptly():
            labels = read_labels(str(file))
    except QueryError:
        pass
    else:
        assert labels
        for label, sentences in labels.items():
            assert label.encode()
            assert sentences
            assert all(sentence.strip() and sentence.encode() for sentence in sentences)
    try:
        said = class_sentences("folder", ["archery", "b"], str(file))
    except (BenchmarkError, QueryError):
        return
    assert list(said) == ["archery", "b"]
    assert all(said.values())


@_replayed("labels")
def test_a_file_of_labels_of_the_corpus_is_read_or_refused(seed: Path) -> None:
    _check_labels(seed)


@pytest.mark.parametrize("suffix", [".txt", ".json"])
def test_a_mutated_file_of_labels_is_read_or_refused(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"labels{suffix}"

    @_examples(120)
    @given(_mutated([path.read_bytes() for path in _seeds("labels") if path.suffix == suffix]))
    def check(data: bytes) -> None:
        file.write_bytes(data)
        _check_labels(file)

    check()


_REQUEST: dict[str, tuple[type, ...]] = {
    "dataset": (str,),
    "protocol": (str, type(None)),
    "runs": (int,),
    "seed": (int,),
    "sentences": (str,),
    "prototypes": (str,),
    "correction": (str,),
    "allow_missing": (bool,),
    "query_field": (str, type(None)),
}


def _check_receipt(file: Path) -> None:
    try:
        with _promptly():
            receipt, request = read_receipt(file)
    except BenchmarkError:
        return
    for name, types in _REQUEST.items():
        assert type(getattr(request, name)) in types, name
    compare(receipt, {})
    if "NaN" not in json.dumps(receipt):
        assert compare(receipt, receipt).is_identical


@_replayed("receipt")
def test_a_receipt_of_the_corpus_is_read_or_refused(seed: Path) -> None:
    _check_receipt(seed)


def test_a_mutated_receipt_is_read_or_refused(tmp_path: Path) -> None:
    whole = json.loads((CORPUS / "receipt" / "seed.json").read_bytes())
    changes = st.dictionaries(st.sampled_from(sorted(_REQUEST)), _json_values(), max_size=2)

    @_examples(150)
    @given(
        _mutated([path.read_bytes() for path in _seeds("receipt")])
        | changes.map(lambda one: json.dumps({**whole, "request": {**whole["request"], **one}}).encode())
    )
    def check(data: bytes) -> None:
        file = tmp_path / "receipt.json"
        file.write_bytes(data)
        _check_receipt(file)

    check()


# The index


def _copied(base: Path, folder: Path) -> Path:
    """A copy of an index, in place of an earlier one."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in base.iterdir():
        if path.suffix in (".sqlite", ".json", ".faiss", ".npy"):
            shutil.copyfile(path, folder / path.name)
    return folder


def _asked(index: Path) -> tuple[list[list[Hit]], str | None]:
    """What an index answers, and its notice."""
    with _promptly(), Searcher(index) as searcher:
        filters = (Filters(per_video=0), Filters(top_k=1), Filters(path="*red*"), Filters(min_score=0.5))
        return [searcher.search(like=[_RED], filters=one) for one in filters], searcher.notice


def _verified(index: Path) -> maintenance.Verification:
    with _promptly(), store.open(index) as catalog:
        return maintenance.verify(catalog)


def _check_index(index: Path, untouched: list[list[Hit]], *, is_whole: bool) -> None:
    """An index with a changed file answers, or says what is wrong; is_whole: its catalog is as it was."""
    is_right = _is_verified(index)
    try:
        answers, notice = _asked(index)
    except BadIndex:
        assert not is_whole or not is_right
        return
    for hits in answers:
        assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
        assert len({hit.segment_id for hit in hits}) == len(hits)
    if is_whole:
        assert answers == untouched or not is_right, (answers, notice)
    elif is_right:
        for hit in (hit for hits in answers for hit in hits):
            assert isinstance(hit.start_s, float)
            assert isinstance(hit.end_s, float)
            assert 0 <= hit.start_s < hit.end_s < math.inf
            assert -1.001 < hit.score < 1.001


def _is_verified(index: Path) -> bool:
    try:
        return _verified(index).ok
    except BadIndex:
        return False


@pytest.fixture(scope="module")
def untouched(base: Path) -> list[list[Hit]]:
    """What the index answers as it was made."""
    answers, notice = _asked(base)
    assert notice is None
    assert _verified(base).ok
    assert [len(hits) for hits in answers] == [8, 1, 2, 2]
    return answers


def _edit(path: Path, edits: Edits) -> None:
    """Put bytes, in hex, at places that count from the end where negative."""
    data = bytearray(path.read_bytes())
    for at, put in edits:
        start, new = (at if at >= 0 else max(0, len(data) + at)), bytes.fromhex(put)
        data[start : start + len(new)] = new[: max(0, len(data) - start)]
    path.write_bytes(data)


def _edits() -> st.SearchStrategy[Edits]:
    """A few bytes anywhere."""
    places = st.integers(0, 300) | st.integers(-400, -1) | st.integers(0, 120_000)
    bits = st.binary(min_size=1, max_size=9) | st.sampled_from([bytes(8), b"\xff" * 8, b"\x7f", b"\0"])
    return st.lists(st.tuples(places, bits.map(bytes.hex)).map(list), min_size=1, max_size=4)


def _check_stamp(base: Path, folder: Path, untouched: list[list[Hit]], text: bytes) -> None:
    """A stamp that is not as it was written is noticed, or changes no answer."""
    index = _copied(base, folder / "index")
    (index / STAMP).write_bytes(text)
    answers, _ = _asked(index)
    assert answers == untouched
    _is_verified(index)


@_replayed("stamp")
def test_a_stamp_of_the_corpus_costs_no_answer(
    base: Path, untouched: list[list[Hit]], tmp_path: Path, seed: Path
) -> None:
    _check_stamp(base, tmp_path, untouched, seed.read_bytes())


@_replayed("stamp-fields")
def test_a_stamp_with_another_field_costs_no_answer(
    base: Path, untouched: list[list[Hit]], tmp_path: Path, seed: Path
) -> None:
    fields = json.loads((base / STAMP).read_bytes())
    part = fields["parts"][0]
    for name, value in json.loads(seed.read_bytes()).items():  # where they are since there are parts
        renamed = {"file": "name", "last_segment_id": "last", "generation": "pieces"}.get(name, name)
        value = [[0, value]] if name == "generation" else value
        next((one for one in (part["data"], part, fields) if renamed in one), fields)[renamed] = value
    _check_stamp(base, tmp_path, untouched, json.dumps(fields).encode())


def test_a_mutated_stamp_costs_no_answer(base: Path, untouched: list[list[Hit]], tmp_path: Path) -> None:
    @_examples(40)
    @given(_mutated([(base / STAMP).read_bytes()]))
    def check(text: bytes) -> None:
        _check_stamp(base, tmp_path, untouched, text)

    check()


_SMALL = {"vectors": data_of, "ids": beside_of}
_LARGE = {"centres": trained_of, "lists": data_of, "checksums": beside_of}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[Hit]]]:
    """An index of 400 segments, with a cache as a large one has it, and what it answers."""
    index = tmp_path_factory.mktemp("large") / "index"
    random_index(index, num_segments=400, is_large=True)
    answers, notice = _asked(index)
    assert notice is None
    assert _verified(index).ok
    return index, answers


def _check_cache(
    base: Path,
    folder: Path,
    untouched: list[list[Hit]],
    file_of: Callable[[Path], Path],
    edits: Edits,
    kept: int | None = None,
) -> None:
    """A cache that is not as it was written is noticed; where its vectors are other ones, by verify at the latest."""
    index = _copied(base, folder / "index")
    file = file_of(index)
    before = file.read_bytes()
    _edit(file, edits)
    file.write_bytes(file.read_bytes()[:kept])
    _check_index(index, untouched, is_whole=True)
    assert file.read_bytes() == before or not _is_verified(index)


@pytest.mark.parametrize("file_of", _SMALL.values(), ids=_SMALL)
@_replayed("faiss")
def test_a_cache_of_the_corpus_is_whole_or_noticed(
    base: Path, untouched: list[list[Hit]], tmp_path: Path, seed: Path, file_of: Callable[[Path], Path]
) -> None:
    _check_cache(base, tmp_path, untouched, file_of, json.loads(seed.read_bytes()))


@pytest.mark.parametrize("file_of", _LARGE.values(), ids=_LARGE)
@_replayed("faiss")
def test_a_large_cache_of_the_corpus_is_whole_or_noticed(
    large: tuple[Path, list[list[Hit]]], tmp_path: Path, seed: Path, file_of: Callable[[Path], Path]
) -> None:
    _check_cache(large[0], tmp_path, large[1], file_of, json.loads(seed.read_bytes()))


@pytest.mark.parametrize("file_of", _SMALL.values(), ids=_SMALL)
def test_a_mutated_cache_is_whole_or_noticed(
    base: Path, untouched: list[list[Hit]], tmp_path: Path, file_of: Callable[[Path], Path]
) -> None:
    @_examples(40)
    @given(_edits(), st.none() | st.integers(0, 1000))
    def check(edits: Edits, kept: int | None) -> None:
        _check_cache(base, tmp_path, untouched, file_of, edits, kept)

    check()


@pytest.mark.parametrize("file_of", _LARGE.values(), ids=_LARGE)
def test_a_mutated_large_cache_is_whole_or_noticed(
    large: tuple[Path, list[list[Hit]]], tmp_path: Path, file_of: Callable[[Path], Path]
) -> None:
    @_examples(20)
    @given(_edits(), st.none() | st.integers(0, 10_000))
    def check(edits: Edits, kept: int | None) -> None:
        _check_cache(large[0], tmp_path, large[1], file_of, edits, kept)

    check()


@_replayed("catalog-bytes")
def test_bytes_of_the_corpus_in_a_catalog_are_answered_or_refused(
    base: Path, untouched: list[list[Hit]], tmp_path: Path, seed: Path
) -> None:
    index = _copied(base, tmp_path / "index")
    _edit(index / store.FILE, json.loads(seed.read_bytes()))
    _check_index(index, untouched, is_whole=seed.stem == "none")


def test_a_mutated_catalog_answers_or_is_refused(base: Path, untouched: list[list[Hit]], tmp_path: Path) -> None:
    @_examples(40)
    @given(_edits(), st.none() | st.integers(0, 120_000))
    def check(edits: Edits, kept: int | None) -> None:
        index = _copied(base, tmp_path / "index")
        file = index / store.FILE
        _edit(file, edits)
        file.write_bytes(file.read_bytes()[:kept])
        _check_index(index, untouched, is_whole=False)

    check()


def _statements() -> list[Any]:
    """Changes of a catalog that SQLite allows, a line each of the corpus: name, tab, SQL."""
    lines = [line for path in _seeds("catalog-sql") for line in path.read_text().splitlines()]
    return [pytest.param(sql, id=name) for name, sql in (line.split("\t") for line in lines)]


@pytest.mark.parametrize("sql", _statements())
def test_a_catalog_with_other_rows_answers_or_is_refused(
    base: Path, untouched: list[list[Hit]], tmp_path: Path, sql: str
) -> None:
    index = _copied(base, tmp_path / "index")
    with closing(sqlite3.connect(index / store.FILE)) as database:
        database.executescript(f"PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; {sql}")
        database.commit()
    _check_index(index, untouched, is_whole=False)


# A trained model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small model, whole."""
    folder = tmp_path_factory.mktemp("model").resolve()
    sizes = {"joint_dim": 4, "d_model": 4, "feedforward_dim": 8, "num_objects": 5, "top_objects": 2}
    transformers_logging.disable_progress_bar()
    CezsarModel(CezsarConfig(feature_dim=_FEATURES, sentence_dim=6, num_frames=3, **sizes)).save_pretrained(folder)
    return folder


def _check_model(base: Path, folder: Path, file: str, data: bytes) -> None:
    """A model of which one file is another one works, or is refused when it is loaded."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base, folder)
    (folder / file).write_bytes(data)
    with _promptly():
        try:
            encoder = encoders.load(str(folder), device="cpu")
        except EncoderError:
            return
        vectors = encoder.encode_segments([np.ones((5, _FEATURES), np.float32)])
    assert vectors.shape == (1, encoder.identity.dimension)


@_replayed("model")
def test_a_model_with_another_setting_works_or_is_refused(model: Path, tmp_path: Path, seed: Path) -> None:
    config = {**json.loads((model / "config.json").read_bytes()), **json.loads(seed.read_bytes())}
    _check_model(model, tmp_path.resolve() / "model", "config.json", json.dumps(config).encode())


@_replayed("model-config")
def test_a_model_with_a_config_of_the_corpus_is_refused(model: Path, tmp_path: Path, seed: Path) -> None:
    _check_model(model, tmp_path.resolve() / "model", "config.json", seed.read_bytes())


@_replayed("model-weights")
def test_a_model_with_weights_of_the_corpus_is_refused(model: Path, tmp_path: Path, seed: Path) -> None:
    _check_model(model, tmp_path.resolve() / "model", "model.safetensors", seed.read_bytes())


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_mutated_model_works_or_is_refused(model: Path, tmp_path: Path, file: str) -> None:
    @_examples(15)
    @given(_mutated([(model / file).read_bytes()]))
    def check(data: bytes) -> None:
        _check_model(model, tmp_path.resolve() / "model", file, data)

    check()
