"""The frame-feature cache: what it holds, what it finds again, and what it makes anew."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from make_videos import write_pictures, write_sound, write_video
from numpy.typing import NDArray
from safetensors.numpy import save_file

from cezsar import features
from cezsar.encoders.sentences import SentenceEncoder
from cezsar.errors import TrainingError
from cezsar.features import FeatureCache, VideoFeatures, embed_sentences
from cezsar.types import Limits, Vectors, unit
from cezsar.video import Decoder
from cezsar.video.frames import Video

TWO = [("red", 1.0), ("blue", 1.0)]


class MeanColour:
    """A backbone whose features are a frame's mean colour."""

    short_side = 16
    feature_dim = 3

    def __init__(self, name: str = "mean/colour", fingerprint: str = "0123456789abcdef") -> None:
        self.name, self.fingerprint = name, fingerprint
        self.num_frames = 0

    def features(self, frames_uint8: NDArray[Any]) -> NDArray[np.float32]:
        self.num_frames += len(frames_uint8)
        assert min(frames_uint8.shape[2:]) == self.short_side
        return np.asarray(frames_uint8.mean(axis=(2, 3)) / 7.3, np.float32)

    def head(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        return None

    def objects(self) -> list[str]:
        return []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of the cache; it is not there yet."""
    return tmp_path / "caches" / "features"


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A second of red, then a second of blue, at 10 frames/s."""
    return write_video(tmp_path / "two.mp4", TWO)


def _cache(folder: Path, backbone: MeanColour | None = None, *, fps: float = 2.0) -> FeatureCache:
    return FeatureCache(folder, backbone or MeanColour(), fps=fps)


def _extract(cache: FeatureCache, *videos: Path, batch_size: int = 8) -> tuple[list[VideoFeatures], list[bool]]:
    """The features of these videos, all of which have some, and which were new."""
    done: list[tuple[Path, bool]] = []
    found, reasons = cache.extract(videos, batch_size=batch_size, done=lambda *call: done.append(call))
    assert reasons == {}
    assert [path for path, _ in done] == list(videos)
    assert all(found[path].frames.dtype == np.float32 for path in videos)
    return [found[path] for path in videos], [new for _, new in done]


def _reasons(cache: FeatureCache, *videos: Path) -> dict[Path, str]:
    found, reasons = cache.extract(videos)
    assert found == {}
    return reasons


def _colours(found: VideoFeatures) -> list[str]:
    """Red or blue, frame by frame."""
    return ["red" if row[0] > row[2] else "blue" for row in found.frames]


def _noise(path: Path, seed: int = 0) -> Path:
    """A second of noise, without loss."""
    return write_pictures(path, np.random.default_rng(seed).integers(0, 256, (10, 32, 48, 3), dtype=np.uint8))


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def _nothing_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Decoder, path: Path, **__: object) -> None:
        pytest.fail(f"{path} was opened")

    monkeypatch.setattr(Decoder, "sample", refuse)


# What is extracted


@pytest.mark.parametrize(("fps", "num_red", "num_blue"), [(0.3, 1, 0), (1, 1, 1), (1.5, 2, 1), (2, 2, 2), (20, 20, 20)])
def test_there_is_a_row_for_every_time_that_is_looked_at(
    fps: float, num_red: int, num_blue: int, folder: Path, video: Path
) -> None:
    [found], _ = _extract(_cache(folder, fps=fps), video)

    assert _colours(found) == ["red"] * num_red + ["blue"] * num_blue
    assert found.fps == fps
    assert found.duration_s == pytest.approx(2.0)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_features_are_rounded_to_half_precision_and_no_more(batch_size: int, folder: Path, tmp_path: Path) -> None:
    noise = _noise(tmp_path / "noise.mkv")
    with Video(noise) as opened:
        batches = list(opened.sample(fps=10, short_side=16, batch_size=10))
    exact = MeanColour().features(batches[0].frames_uint8)

    [made], new = _extract(_cache(folder, fps=10), noise, batch_size=batch_size)
    [kept], again = _extract(_cache(folder, fps=10), noise)

    assert new + again == [True, False]
    assert made.frames.shape == (10, 3)
    np.testing.assert_allclose(made.frames, exact, rtol=2**-11)
    assert len(np.unique(made.frames, axis=0)) == 10
    assert np.array_equal(kept.frames, made.frames)
    assert (kept.fps, kept.duration_s) == (made.fps, made.duration_s)


@pytest.mark.parametrize(
    ("start_s", "end_s", "expected"),
    [
        (0.0, 5.0, list(range(10))),
        (0.0, 1.0, [0, 1]),
        (1.0, 2.0, [2, 3]),
        (0.5, 1.0, [1]),
        (0.6, 0.7, [1]),
        (0.6, 1.1, [1, 2]),
        (0.9, 1.0, [1]),
        (0.0, 0.0, [0]),
        (2.0, 1.0, [4]),
        (4.0, 99.0, [8, 9]),
        (4.9, 5.0, [9]),
        (5.0, 6.0, [9]),
        (50.0, 60.0, [9]),
    ],
)
def test_a_segment_has_the_frames_from_its_start_up_to_its_end(
    start_s: float, end_s: float, expected: list[int]
) -> None:
    found = VideoFeatures(np.arange(10, dtype=np.float32)[:, None], 2.0, 5.0)

    assert found.between(start_s, end_s)[:, 0].tolist() == expected


def test_a_time_that_floats_cannot_hold_is_the_frame_that_is_meant() -> None:
    found = VideoFeatures(np.arange(100, dtype=np.float32)[:, None], 100.0, 1.0)

    assert 0.29 * 100 < 29
    assert 0.07 * 100 > 7
    assert found.between(0.29, 0.30)[:, 0].tolist() == [29]
    assert found.between(0.05, 0.07)[:, 0].tolist() == [5, 6]


# What is found again


def test_a_second_time_nothing_is_decoded(folder: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, backbone = _cache(folder), MeanColour()
    [first], _ = _extract(cache, video)
    _nothing_is_decoded(monkeypatch)

    for again in (cache, _cache(folder, backbone)):
        [found], new = _extract(again, video)
        assert new == [False]
        assert np.array_equal(found.frames, first.frames)
        assert (found.fps, found.duration_s) == (first.fps, first.duration_s)
    assert backbone.num_frames == 0


def test_a_video_is_found_by_its_content(folder: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [first], _ = _extract(_cache(folder), video)
    copy = Path(shutil.copy(video, video.with_name("copy.mp4")))
    renamed = video.rename(video.with_name("renamed.mp4"))
    os.utime(renamed, ns=(7, 7))
    _nothing_is_decoded(monkeypatch)

    found, new = _extract(_cache(folder), copy, renamed)
    assert new == [False, False]
    assert all(np.array_equal(one.frames, first.frames) for one in found)


def test_a_changed_video_is_extracted_again(folder: Path, video: Path) -> None:
    cache = _cache(folder)
    _extract(cache, video)
    write_video(video, [("blue", 3.0)])

    [found], new = _extract(cache, video)
    assert new == [True]
    assert _colours(found) == ["blue"] * 6
    assert found.duration_s == pytest.approx(3.0)


def test_a_video_that_was_replaced_with_its_size_and_time_kept_is_extracted_again(folder: Path, tmp_path: Path) -> None:
    """As `cp -p` does it, and rsync: onto the very file, and by a rename."""
    red, blue = (write_video(tmp_path / f"{name}.avi", [(name, 1.0)]) for name in ("red", "blue"))
    size = max(path.stat().st_size for path in (red, blue))
    for path in (red, blue):
        os.truncate(path, size)
        os.utime(path, ns=(10**18, 10**18))
    there, new = tmp_path / "there.avi", tmp_path / "new.avi"
    cache = _cache(folder)
    shutil.copy2(red, there)
    assert set(_colours(_extract(cache, there)[0][0])) == {"red"}
    shutil.copy2(blue, there)
    assert set(_colours(_extract(cache, there)[0][0])) == {"blue"}
    shutil.copy2(red, new)
    new.rename(there)
    assert set(_colours(_extract(_cache(folder), there)[0][0])) == {"red"}


def test_other_sampling_or_another_backbone_has_a_folder_of_its_own(folder: Path, video: Path) -> None:
    caches = [
        _cache(folder),
        _cache(folder, fps=1.5),
        _cache(folder, MeanColour(fingerprint="fedcba9876543210")),
        _cache(folder, MeanColour(name="another/colour")),
    ]

    assert [_extract(cache, video)[1] for cache in caches] == [[True]] * 4
    assert [_extract(cache, video)[1] for cache in caches] == [[False]] * 4
    assert [len(_extract(cache, video)[0][0].frames) for cache in caches] == [4, 3, 4, 4]
    assert len({file.parent for file in _files(folder)}) == len(_files(folder)) == 4
    assert {file.parent.parent for file in _files(folder)} == {folder}


def test_a_known_video_is_not_even_read(folder: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _extract(_cache(folder), video)
    monkeypatch.setattr(features, "sha256", lambda path: pytest.fail(f"{path} was read"))

    assert _extract(_cache(folder), video)[1] == [False]


@pytest.mark.parametrize("cut_off", ['{"file": "b\'/a/b.mp4\' 12', '{"file": "/a/b.mp4"}\n', "[1, 2]\n", "\udcff\n"])
def test_a_damaged_line_in_the_list_of_known_videos_costs_itself_alone(
    cut_off: str, folder: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_video(video.with_name("other.mp4"), [("blue", 1.0)])
    _extract(_cache(folder), video)
    with (folder / "known.jsonl").open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(cut_off)

    assert _extract(_cache(folder), video, other)[1] == [False, True]
    monkeypatch.setattr(features, "sha256", lambda path: pytest.fail(f"{path} was read"))
    assert _extract(_cache(folder), video, other)[1] == [False, False]


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def _without_metadata(file: Path) -> None:
    save_file({"features": np.zeros((4, 3), np.float16)}, file)


def _without_duration(file: Path) -> None:
    save_file({"features": np.zeros((4, 3), np.float16)}, file, {"fps": "2.0"})


def _with_another_tensor(file: Path) -> None:
    save_file({"other": np.zeros((4, 3), np.float16)}, file, {"duration_s": "2.0"})


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(_truncate, id="cut short"),
        pytest.param(lambda file: file.write_bytes(b""), id="empty"),
        pytest.param(lambda file: file.write_bytes(b"\xff" * 500), id="noise"),
        pytest.param(_without_metadata, id="without metadata"),
        pytest.param(_without_duration, id="without its duration"),
        pytest.param(_with_another_tensor, id="another tensor"),
        pytest.param(lambda file: file.unlink(), id="gone"),
    ],
)
def test_a_damaged_file_is_made_again(spoil: Callable[[Path], Any], folder: Path, video: Path) -> None:
    [first], _ = _extract(_cache(folder), video)
    [file] = _files(folder)
    spoil(file)

    [found], new = _extract(_cache(folder), video)
    assert new == [True]
    assert np.array_equal(found.frames, first.frames)
    assert _extract(_cache(folder), video)[1] == [False]


# Videos that give nothing


def test_a_video_that_cannot_be_read_is_left_out_with_its_reason(folder: Path, video: Path, tmp_path: Path) -> None:
    missing, text, empty, sub, sound = (tmp_path / f"{name}.mp4" for name in ("a", "b", "c", "d", "e"))
    text.write_text("not a video")
    empty.touch()
    sub.mkdir()
    write_sound(sound)
    done: list[tuple[Path, bool]] = []

    found, reasons = _cache(folder).extract(
        [missing, text, video, empty, sub, sound], done=lambda *call: done.append(call)
    )

    assert set(found) == {video}
    assert _colours(found[video]) == ["red", "red", "blue", "blue"]
    assert set(reasons) == {missing, text, empty, sub, sound}
    assert "No such file" in reasons[missing]
    assert "not a readable video" in reasons[text]
    assert "empty" in reasons[empty]
    assert "directory" in reasons[sub]
    assert "no video stream" in reasons[sound]
    assert all("\n" not in reason for reason in reasons.values())
    assert done == [(missing, False), (text, False), (video, True), (empty, False), (sub, False), (sound, False)]
    assert len(_files(folder)) == 1


def test_a_video_that_may_not_be_read_is_left_out(folder: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(features, "sha256", refuse)

    assert _reasons(_cache(folder), video) == {video: "it cannot be read (Permission denied)"}


@contextmanager
def _not_waiting() -> Iterator[None]:
    """Fails where the body waits for what never comes."""

    def stop(*_: object) -> None:
        pytest.fail("it waits for what never comes")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(5)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_a_pipe_is_no_video_and_is_not_waited_for(folder: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)

    with _not_waiting():
        assert set(_reasons(_cache(folder), pipe)) == {pipe}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to its memory limit")
def test_a_video_that_takes_too_much_costs_itself_alone(folder: Path, video: Path, tmp_path: Path) -> None:
    large = write_video(tmp_path / "large.mp4", [("red", 0.4)], size=(4096, 2304))
    cache = FeatureCache(folder, MeanColour(), fps=2.0, limits=Limits(memory_gb=0.35))
    found, reasons = cache.extract([large, video])
    assert (list(found), list(reasons)) == ([video], [large])


def test_a_video_that_crashes_its_decoder_costs_itself_alone(folder: Path, video: Path, deadly: None) -> None:
    crashing = Path(shutil.copy(video, video.with_name("deadly.mp4")))
    other = write_video(video.with_name("other.mp4"), [("red", 1.0)])
    found, reasons = _cache(folder).extract([crashing, other])
    assert (list(found), reasons) == ([other], {crashing: "it crashed the decoder (SIGSEGV)"})


def test_several_videos_decoded_at_once_have_the_features_of_one_after_another(
    folder: Path, video: Path, deadly: None
) -> None:
    videos = [video, *(_noise(video.with_name(f"{seed}.mkv"), seed) for seed in range(4))]
    videos.insert(2, Path(shutil.copy(video, video.with_name("deadly.mp4"))))
    for name, colour in (("deadly", "white"), ("known", "green")):
        write_video(video.with_name(f"{name}.mp4"), [(colour, 1.0)])
    known = video.with_name("known.mp4")
    _extract(_cache(folder), known)
    alone, _ = _cache(folder.with_name("alone")).extract([*videos, known])
    done: list[tuple[Path, bool]] = []
    cache = FeatureCache(folder, MeanColour(), fps=2.0, workers=3)
    found, reasons = cache.extract([*videos, known], done=lambda *call: done.append(call))

    assert done == [(path, path.stem not in ("deadly", "known")) for path in (*videos, known)]
    assert reasons == {videos[2]: "it crashed the decoder (SIGSEGV)"}
    assert list(found) == list(alone) == [*videos[:2], *videos[3:], known]
    assert all(np.array_equal(found[path].frames, alone[path].frames) for path in found)


# A cache that cannot be written


def test_a_cache_that_is_a_file_is_refused(folder: Path, video: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("mine")

    with pytest.raises(TrainingError, match=f"The feature cache cannot be written: {folder}"):
        _cache(folder).extract([video])
    assert folder.read_text() == "mine"


def test_a_place_of_features_that_is_a_file_is_refused(folder: Path, video: Path) -> None:
    _extract(_cache(folder), video)
    [file] = _files(folder)
    shutil.rmtree(file.parent)
    file.parent.touch()

    with pytest.raises(TrainingError, match="The feature cache cannot be written: "):
        _cache(folder).extract([video])


def _stop_after(monkeypatch: pytest.MonkeyPatch, error: BaseException, whole: int = 0) -> None:
    """Of the files that are saved, only the first few are written whole; then comes the error."""
    saved: list[Path] = []

    def stop(tensors: dict[str, Vectors], path: Path, *rest: Any) -> None:
        if len(saved) == whole:
            path.write_bytes(b"only a part")
            raise error
        saved.append(path)
        save_file(tensors, path, *rest)

    monkeypatch.setattr(features, "save_file", stop)


def test_a_full_disk_is_said_and_leaves_nothing_behind(folder: Path, video: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        _stop_after(patch, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        with pytest.raises(TrainingError, match=r"cannot be written: .*No space left on device"):
            _cache(folder).extract([video])

    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["known.jsonl"]
    assert _extract(_cache(folder), video)[1] == [True]


def test_an_extraction_that_was_killed_goes_on_where_it_was(folder: Path, video: Path) -> None:
    videos = [video, *(_noise(video.with_name(f"{seed}.mkv"), seed) for seed in (1, 2))]
    with pytest.MonkeyPatch.context() as patch:
        _stop_after(patch, KeyboardInterrupt(), whole=1)
        with pytest.raises(KeyboardInterrupt):
            _cache(folder).extract(videos)

    assert len(_files(folder)) == 1
    assert _extract(_cache(folder), *videos)[1] == [False, True, True]


# Sentences


class Lengths:
    """A sentence encoder whose embeddings tell a sentence's length and first letter; it lists what it encodes."""

    dimension = 3

    def __init__(self, name: str = "lengths", fingerprint: str = "0123456789abcdef") -> None:
        self.name, self.fingerprint = name, fingerprint
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.encoded += texts
        rows = [[len(text), ord(text[0]) if text else 0, 1.0] for text in texts]
        return unit(np.array(rows, np.float64).reshape(-1, 3))


def _embed(folder: Path, encoder: Lengths, sentences: Sequence[str]) -> Vectors:
    rows = embed_sentences(folder, cast(SentenceEncoder, encoder), sentences)
    assert rows.dtype == np.float32
    return rows


SENTENCES = ["a red dog", "blue", "a red dog", "yellow", "", "blue", "日本語", "a cat"]


def test_sentences_keep_their_order_and_each_is_encoded_once(folder: Path) -> None:
    encoder = Lengths()
    rows = _embed(folder, encoder, SENTENCES)

    assert sorted(encoder.encoded) == sorted(set(SENTENCES))
    assert np.array_equal(rows, Lengths().encode(SENTENCES))


def test_sentences_are_encoded_for_once_and_all(folder: Path) -> None:
    rows = _embed(folder, Lengths(), SENTENCES)
    encoder = Lengths()

    assert np.array_equal(_embed(folder, encoder, SENTENCES), rows)
    assert np.array_equal(_embed(folder, encoder, SENTENCES[::-1]), rows[::-1])
    assert encoder.encoded == []
    assert np.array_equal(_embed(folder, encoder, ["other"]), Lengths().encode(["other"]))
    assert encoder.encoded == ["other"]


def test_sentences_of_other_weights_are_encoded_again(folder: Path) -> None:
    _embed(folder, Lengths(), SENTENCES)
    other = Lengths(fingerprint="fedcba9876543210")

    _embed(folder, other, SENTENCES)
    assert sorted(other.encoded) == sorted(set(SENTENCES))


def test_no_sentences_give_no_rows(folder: Path) -> None:
    assert _embed(folder, Lengths(), []).shape == (0, 3)
    assert _embed(folder, Lengths(), []).shape == (0, 3)


def test_sentences_that_only_look_alike_when_joined_are_kept_apart(folder: Path) -> None:
    _embed(folder, Lengths(), ["a\0b"])

    assert np.array_equal(_embed(folder, Lengths(), ["a", "b"]), Lengths().encode(["a", "b"]))


@pytest.mark.parametrize("content", [b"", b"\xff" * 500])
def test_damaged_sentences_are_encoded_again(content: bytes, folder: Path) -> None:
    rows = _embed(folder, Lengths(), SENTENCES)
    [file] = _files(folder)
    file.write_bytes(content)
    encoder = Lengths()

    assert np.array_equal(_embed(folder, encoder, SENTENCES), rows)
    assert len(encoder.encoded) == len(set(SENTENCES))
    _embed(folder, encoder, SENTENCES)
    assert len(encoder.encoded) == len(set(SENTENCES))


def test_sentences_that_cannot_be_kept_are_an_error(folder: Path) -> None:
    folder.parent.mkdir()
    folder.touch()

    with pytest.raises(TrainingError, match=f"The feature cache cannot be written: {folder}"):
        _embed(folder, Lengths(), SENTENCES)
