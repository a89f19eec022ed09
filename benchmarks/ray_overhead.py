"""Indexing on a Ray of this machine's own against threads, on videos of a minute or longer.

python benchmarks/ray_overhead.py FOLDER, where FOLDER has such videos; without it, synthetic ones are made.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measuring import Row, ratios, turns

_ROUNDS = 3
_VIDEOS, _SECONDS = 12, 120


def rows(videos: Path | None = None) -> list[Row]:
    """The whole command on Ray, its start and end included, against the whole command with threads."""
    if videos is None:
        with tempfile.TemporaryDirectory() as made:
            make(Path(made))
            return rows(Path(made))
    one, other = turns(lambda: _index(videos, "ray"), lambda: _index(videos, "threads"), _ROUNDS)
    note = f"in the last round {one[-1]:.1f} s against {other[-1]:.1f} s"
    count = sum(1 for _ in videos.iterdir())
    return [
        Row(f"index {count} long videos, --runner ray", "threads", ratios(one, other), 1.25, at_most=True, note=note)
    ]


def _index(videos: Path, runner: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "cezsar", "index", str(videos), "--index", folder + "/index"]
        subprocess.run([*command, "--runner", runner], check=True, capture_output=True)


def make(folder: Path) -> None:
    """Scenes that drift under the noise of a camera, so that a decoder has something to do."""
    sys.path.append(str(Path(__file__).parents[1] / "tests" / "data"))
    from make_videos import write_pictures

    for number in range(_VIDEOS):
        write_pictures(folder / f"{number}.mp4", _scene(number), fps=25, codec="libx264", pix_fmt="yuv420p")


def _scene(seed: int) -> Iterator[np.ndarray]:
    draw = np.random.default_rng(seed)
    noise = draw.integers(0, 24, (25, 240, 320, 3), np.uint8)
    for _ in range(_SECONDS // 10):
        picture = draw.integers(0, 232, (15, 20, 3), np.uint8).repeat(16, axis=0).repeat(16, axis=1)
        for step in range(10 * 25):
            yield np.roll(picture, step, axis=1) + noise[step % 25]


if __name__ == "__main__":
    for row in rows(Path(sys.argv[1]) if len(sys.argv) > 1 else None):
        print(*row.cells(), row.note, sep="  ")
