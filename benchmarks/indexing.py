"""Indexing real clips with `lite` against its two halves alone, and an image network against eager torch.

python benchmarks/indexing.py ../shared/data/ucf101
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from measuring import Row, ratios, seconds
from numpy.typing import NDArray

from cezsar import encoders
from cezsar.encoders import Encoder
from cezsar.encoders.embedded import EfficientNet
from cezsar.encoders.encoder import Timed
from cezsar.paths import VIDEO_SUFFIXES
from cezsar.video.frames import Video

_ROUNDS = 3
_BATCH = 8


def rows(videos: Path, every: int = 1) -> list[Row]:
    """The whole command against decoding alone plus the networks alone; and one network against torch.

    Of the videos in the folder, every so many-th.
    """
    paths = videos_in(videos)[::every]
    return [_whole(paths), *_forward(paths)]


def _whole(paths: list[Path]) -> Row:
    found = []
    encoder = encoders.load("lite", device="cpu")
    kept = [batch for path in paths for batch in _frames(path, encoder)]
    for number in range(_ROUNDS + 1):
        decode_s = seconds(lambda: _decode(paths, encoder))
        forward_s = seconds(lambda: [encoder.encode_frames(frames) for frames in kept])
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "cezsar", "index", *map(str, paths), "--index", folder + "/index"]
            whole_s = seconds(lambda: subprocess.run(command, check=True, capture_output=True))  # noqa: B023
        if number:
            found.append(whole_s / (decode_s + forward_s))
    note = f"in the last round {whole_s:.1f} s; decoding alone {decode_s:.1f} s, the networks alone {forward_s:.1f} s"
    job = f"index {len(paths)} real clips, the whole command"
    return Row(job, "decoding alone + the networks alone", tuple(found), 1.15, at_most=True, note=note)


def _forward(paths: list[Path]) -> list[Row]:
    """The same batch, by as many threads, in processes that take turns: idle threads of one slow the other."""
    encoder = encoders.load("lite", device="cpu")
    batch = next(batch for path in paths for batch in _frames(path, encoder) if len(batch) == _BATCH)
    with tempfile.TemporaryDirectory() as name:
        frames = Path(name) / "frames.npy"
        np.save(frames, batch)
        ours, theirs = list[float](), list[float]()
        for _ in range(_ROUNDS + 2):
            ours.append(_alone("ours", frames)), theirs.append(_alone("torch", frames))
        one, other = np.load(frames.with_suffix(".ours.npy")), np.load(frames.with_suffix(".torch.npy"))
    cosines = (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    each = [float(np.median(side)) * 1e3 / len(batch) for side in (ours, theirs)]
    note = f"{each[0]:.1f} ms against {each[1]:.1f} ms a frame; features' least cosine {cosines.min():.6f}"
    return [
        Row(f"image network, {len(batch)} frames", "eager torch, channels last", ratios(theirs, ours), 3, note=note)
    ]


def _alone(side: str, frames: Path) -> float:
    """The median of what a batch takes in a process of its own."""
    command = [sys.executable, __file__, "--alone", side, str(frames)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _time_alone(side: str, frames: Path) -> None:
    batch = np.load(frames)
    if side == "ours":
        features = EfficientNet().features
    else:
        import torch

        from cezsar.encoders.images import ImageBackbone

        torch.set_num_threads(os.cpu_count() or 1)
        features = ImageBackbone(torch.device("cpu")).features
    np.save(frames.with_suffix(f".{side}.npy"), features(batch))
    print(np.median([seconds(lambda: features(batch)) for _ in range(15)]))


def videos_in(folder: Path) -> list[Path]:
    """Every video below a folder."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)


def _frames(path: Path, encoder: Encoder) -> Iterator[NDArray[np.uint8]]:
    """A video's frames as the index takes them."""
    assert isinstance(encoder, Timed)
    with Video(path) as video:
        for batch in video.sample(fps=encoder.fps, short_side=encoder.short_side, batch_size=_BATCH):
            yield batch.frames_uint8


def _decode(paths: list[Path], encoder: Encoder) -> None:
    """Every video, as many at once as there are cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda path: sum(map(len, _frames(path, encoder))), paths))


if __name__ == "__main__":
    if sys.argv[1] == "--alone":
        _time_alone(sys.argv[2], Path(sys.argv[3]))
        sys.exit()
    for row in rows(Path(sys.argv[1])):
        print(*row.cells(), row.note, sep=" | ")
