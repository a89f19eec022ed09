"""Indexing on a GPU against its two halves alone, and FAISS there against the processor: python benchmarks/gpu.py.

    python benchmarks/gpu.py [--videos DIR] [--workers 16] [--batch-size 64]
    python benchmarks/gpu.py --device cpu --small      a trial of the script, with tiny networks

Without --videos it makes clips of 320x240 pixels itself. No hub is asked: CLIP, SigLIP 2 and VideoPrism have random
weights of the published sizes, which take as long as trained ones, but may pass or fail the check for half precision
where those would not. `lite` is itself. Prints frames/s of the network, and the hours of video that go in an hour
through decoding alone, the network alone, and the whole of `cezsar index` once the encoder is loaded.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.video.frame import VideoFrame
from indexing import videos_in
from measuring import Row, seconds
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModel, AutoProcessor

from cezsar import encoders, indexer
from cezsar.encoders import Encoder
from cezsar.indexer import segments
from cezsar.settings import load
from cezsar.types import Sampling, Vectors, unit
from cezsar.video import Decoder, FrameBatch, Pool

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "data"))
from make_models import WRITERS

_MODELS = {
    "lite": "lite",
    "clip": "CLIP B/32",
    "siglip-gemma": "SigLIP 2 B/16-224",
    "videoprism": "VideoPrism-LvT B f16r288",
}
_SIDES = {"clip": 224, "siglip-gemma": 224, "videoprism": 288}
_REAL_TIME, _OVER_FLOOR = 100.0, 1.15  # the targets
_SEGMENTS_AT_ONCE = 32
_FPS, _SIZE = 25, (320, 240)
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Clips:
    """Videos, and how long they are in all."""

    paths: list[Path]
    duration_s: float


@dataclass(frozen=True, slots=True)
class Frames:
    """The sampled frames of a video in batches, how often each is shown, and its length."""

    batches: list[NDArray[Any]]
    repeats: list[NDArray[Any]]
    duration_s: float


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, help="a folder of videos, in place of clips that are made")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--small", action="store_true", help="tiny networks and few clips: no figures worth keeping")
    asked = parser.parse_args()
    if asked.device == "cuda" and not torch.cuda.is_available():
        sys.exit(
            "There is no GPU that torch can use here, so nothing was measured: --device cpu --small tries the script."
        )
    name = torch.cuda.get_device_name() if asked.device == "cuda" else "the processor"
    print(
        f"{name}, {os.cpu_count()} cores, torch {torch.__version__}; random weights but for lite"
        + " (tiny)" * asked.small
    )
    with tempfile.TemporaryDirectory() as folder:
        clips = _clips(asked.videos or _made(Path(folder) / "videos", small=asked.small))
        print(f"{len(clips.paths)} videos, {clips.duration_s / 3600:.2f} h")
        for kind, title in _MODELS.items():
            source = kind if kind == "lite" else str(_checkpoint(kind, Path(folder) / kind, small=asked.small))
            encoder = encoders.load(source, device=asked.device)
            for row in _indexing(title, encoder, clips, workers=asked.workers, batch_size=asked.batch_size):
                print(*row.cells(), row.note, sep=" | ", flush=True)
        count, dimension = (20_000, 32) if asked.small else (1_000_000, 256)
        for row in _faiss(count, dimension):
            print(*row.cells(), row.note, sep=" | ", flush=True)


def _indexing(title: str, encoder: Encoder, clips: Clips, *, workers: int, batch_size: int) -> list[Row]:
    """The whole against the larger of its halves, and all three against the time that the videos take to watch."""
    sampling = encoders.own_sampling(encoder)
    decoding = {"sampling": sampling, "short_side": encoder.short_side, "workers": workers, "batch_size": batch_size}
    kept = _decoded(clips.paths, keeps=True, **decoding)
    _encode(kept[:1], encoder, sampling)  # loads what is loaded late

    def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            settings = load(environ={}, index=Path(folder) / "index", workers=workers, batch_size=batch_size)
            report = indexer.index(clips.paths, settings, encoder=encoder)
            assert report.added == len(clips.paths), report.skipped

    decode, network, all_of_it = [], [], []
    for _ in range(_ROUNDS):
        decode.append(seconds(lambda: _decoded(clips.paths, keeps=False, **decoding)))
        network.append(seconds(lambda: _encode(kept, encoder, sampling)))
        all_of_it.append(seconds(whole))
    num_frames = sum(len(batch) for one in kept for batch in one.batches)
    note = (
        f"{num_frames / min(network):,.0f} frames/s; {clips.duration_s / min(decode):,.0f} h/h decoded, "
        f"{clips.duration_s / min(network):,.0f} h/h through the network"
    )
    floors = [max(one, other) for one, other in zip(decode, network, strict=True)]
    times = tuple(clips.duration_s / one for one in all_of_it)
    over = tuple(one / floor for one, floor in zip(all_of_it, floors, strict=True))
    return [
        Row(f"index with {title}", "real time", times, _REAL_TIME, note=note),
        Row(f"index with {title}", "the larger of decoding and network", over, _OVER_FLOOR, at_most=True),
    ]


def _decoded(
    paths: list[Path], *, sampling: Sampling, short_side: int, workers: int, batch_size: int, keeps: bool
) -> list[Frames]:
    def read(path: Path, decoder: Decoder) -> Generator[FrameBatch, None, float]:
        yield from decoder.sample(path, fps=sampling.fps, short_side=short_side, batch_size=batch_size)
        return decoder.duration_s

    found = []
    with Pool(workers=workers) as pool, closing(pool.each(paths, read)) as readings:
        for reading in readings:
            batches, repeats = list[NDArray[Any]](), list[NDArray[Any]]()
            for batch in reading:
                if keeps:
                    batches.append(batch.frames_uint8), repeats.append(batch.repeats)
            found.append(Frames(batches, repeats, reading.result()))
    return found


def _encode(kept: list[Frames], encoder: Encoder, sampling: Sampling) -> list[Vectors]:
    """Each frame once, and every segment, as indexing does it."""
    vectors = []
    for video in kept:
        features = [encoder.encode_frames(batch) for batch in video.batches]
        rows = np.concatenate(
            [np.repeat(some, repeats, axis=0) for some, repeats in zip(features, video.repeats, strict=True)]
        )
        plan = segments.plan(video.duration_s, window_s=sampling.window_s, stride_s=sampling.stride_s)
        steps = [segments.grid_steps(segment, fps=sampling.fps) for segment in plan]
        cut = [rows[one.start : max(one.stop, one.start + 1)] for one in steps]
        cut = [some if len(some) else rows[-1:] for some in cut]
        vectors += [
            encoder.encode_segments(cut[at : at + _SEGMENTS_AT_ONCE]) for at in range(0, len(cut), _SEGMENTS_AT_ONCE)
        ]
    return vectors


def _faiss(count: int, dimension: int) -> list[Row]:
    """k-means and exact search of a large cache on the GPU against the processor; the same if FAISS has no GPU."""
    import faiss

    from cezsar.store.local import approximate, gpu

    random = np.random.default_rng(0)
    vectors = np.concatenate([unit(random.normal(size=(10_000, dimension))) for _ in range(count // 10_000)])
    sample, queries = vectors[: count // 8], unit(random.normal(size=(256, dimension)))
    where = "on the GPU" if faiss.get_num_gpus() else "by FAISS, which has no GPU here"
    lists = 1 << round(np.log2(4 * count**0.5))
    here_s = seconds(lambda: approximate.learnt(sample, lists))
    there_s = seconds(
        lambda: gpu.gpu().run(
            lambda found: approximate.learnt(sample, lists, gpu.clustering_index(dimension, found)),
            lambda: approximate.learnt(sample, lists),
        )
    )
    gpu.nearest(queries, vectors[:1000], 10)  # what it does once
    exact_s = seconds(lambda: gpu.nearest(queries, vectors, 10))
    metric = faiss.METRIC_INNER_PRODUCT
    both = [gpu.nearest(queries, vectors, 10)[1], faiss.knn(queries, vectors, 10, metric=metric)[1]]
    same = np.mean([np.isin(one, other).mean() for one, other in zip(*both, strict=True)])
    knn_s = seconds(lambda: faiss.knn(queries, vectors, 10, metric=metric))
    return [
        Row(f"learn {lists:,} lists {where}", "on the processor", (here_s / there_s,), note=f"{there_s:.2f} s"),
        Row(
            f"256 queries, {count:,} vectors, {where}", "on the processor", (knn_s / exact_s,),
            note=f"{exact_s * 1e3:.0f} ms; {same:.4f} of the ten nearest are the same",
        ),
    ]  # fmt: skip


def _checkpoint(kind: str, folder: Path, *, small: bool) -> Path:
    """A checkpoint of the tests' with random weights; unless small, with towers of the published sizes."""
    WRITERS[kind](folder)
    if small:
        return folder
    config = AutoConfig.from_pretrained(folder)
    told = config.text_config
    text, vision = type(told)(), type(config.vision_config)()
    for name in ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id", "max_position_embeddings"):
        setattr(text, name, getattr(told, name))
    config.text_config, config.vision_config = text, vision
    if kind == "clip":
        config.projection_dim = 512
    elif kind == "siglip-gemma":
        text.projection_size = vision.hidden_size
    processor, side = AutoProcessor.from_pretrained(folder), _SIDES[kind]
    pictures = getattr(processor, "image_processor", None) or processor.video_processor
    pictures.size = {"shortest_edge": side} if kind == "clip" else {"height": side, "width": side}
    if kind == "clip":
        pictures.crop_size = {"height": side, "width": side}
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _clips(folder: Path) -> Clips:
    paths = videos_in(folder)
    if not paths:
        sys.exit(f"There are no videos in {folder}.")
    return Clips(paths, sum(_duration_s(path) for path in paths))


def _duration_s(path: Path) -> float:
    with av.open(str(path)) as container:
        return float(container.duration or 0) / av.time_base


def _made(folder: Path, *, small: bool) -> Path:
    """Clips in which everything moves; H.264, a key frame every 250 frames."""
    folder.mkdir()
    num_clips, length_s = (2, 10) if small else (64, 120)
    rows, columns = np.mgrid[0 : _SIZE[1], 0 : _SIZE[0]]
    for number in range(num_clips):
        noise = np.random.default_rng(number).integers(0, 64, (*rows.shape, 3), dtype=np.uint8)
        with av.open(str(folder / f"{number:03d}.mp4"), "w") as out:
            stream = out.add_stream("libx264", rate=_FPS, width=_SIZE[0], height=_SIZE[1], pix_fmt="yuv420p")
            for at in range(length_s * _FPS):
                waves = np.stack([rows + at, columns - at, rows + columns + 2 * at], axis=-1)
                picture = np.roll(noise, at, axis=1) + (waves % 192).astype(np.uint8)
                out.mux(stream.encode(VideoFrame.from_ndarray(picture, format="rgb24")))
            out.mux(stream.encode(None))
    return folder


if __name__ == "__main__":
    main()
