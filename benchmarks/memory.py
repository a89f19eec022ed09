"""Peak memory of an indexing process, against a corpus ten times as large and a video thirty times as long.

python benchmarks/memory.py
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
from measuring import Row

_SIZE = (320, 240)
_RATE = 10
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
_WATCHED = """
import sys
from cezsar.cli import cli
try:
    cli(sys.argv[1:], standalone_mode=False)
finally:
    print(open("/proc/self/status").read())
"""


def rows() -> list[Row]:
    """More videos, and a longer one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few, many = folder / "few", folder / "many"
        few.mkdir(), many.mkdir()
        for number in range(40):
            _write(many / f"{number:02}.mp4", 6, number)
        for number in range(4):
            shutil.copy(many / f"{number:02}.mp4", few)
        for seconds in (20, 600):
            (folder / str(seconds)).mkdir()
            _write(folder / str(seconds) / "one.mp4", seconds, 0)
        peaks = {what: _peak(folder / what, folder / f"index-{what}") for what in ("few", "many", "20", "600")}
    found = []
    for one, other, what in (("few", "many", "40 videos"), ("20", "600", "a video of 600 s")):
        note = f"{peaks[other] / 1e3:.0f} MB against {peaks[one] / 1e3:.0f} MB"
        yardstick = "4 videos" if one == "few" else "one of 20 s"
        ratio = (peaks[other] / peaks[one],)
        found.append(Row(f"peak memory, {what}", yardstick, ratio, 1.1, at_most=True, note=note))
    return found


def _peak(videos: Path, index: Path) -> int:
    """In kB, of the process that indexes; decoders have limits of their own."""
    command = [sys.executable, "-c", _WATCHED, "index", os.fspath(videos), "--index", os.fspath(index)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = _PEAK.search(told)
    assert found
    return int(found[1])


def _write(path: Path, seconds: int, seed: int) -> None:
    """Blocks of colour that change every second."""
    random = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=_RATE, options={"preset": "ultrafast"})
        stream.width, stream.height = _SIZE
        for _ in range(seconds):
            blocks = random.integers(0, 256, (6, 8, 3)).astype(np.uint8).repeat(40, axis=0).repeat(40, axis=1)
            for _ in range(_RATE):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(blocks, format="rgb24")))
        container.mux(stream.encode(None))


if __name__ == "__main__":
    for row in rows():
        print(*row.cells(), row.note, sep=" | ")
