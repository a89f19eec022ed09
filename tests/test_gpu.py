"""FAISS on a GPU, whose functions those of the processor stand in for here; and the benchmark of a GPU, without one."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
import torch
from caches import Said
from make_videos import write_video

from cezsar.store.local import approximate, gpu
from cezsar.types import Vectors, unit

DIMENSION, COUNT = 8, 4_000
ROWS = unit(np.random.default_rng(0).normal(size=(COUNT, DIMENSION)))
QUERIES = unit(np.random.default_rng(1).normal(size=(5, DIMENSION)))
LINE = "FAISS goes on without the GPU: CUDA error 2 out of memory"


class Faked:
    """faiss with one GPU that is the processor; functions named in broken fail as they do without free memory."""

    def __init__(self, *broken: str) -> None:
        self.calls: list[str] = []
        self._broken = broken

    def __getattr__(self, name: str) -> Any:
        return getattr(faiss, name)

    def get_num_gpus(self) -> int:
        return 1

    def StandardGpuResources(self) -> Any:  # noqa: N802
        self._call("StandardGpuResources")
        return self

    def setTempMemory(self, num_bytes: int) -> None:  # noqa: N802
        assert num_bytes == 256 << 20

    def index_cpu_to_gpu(self, resources: Any, device: int, index: Any) -> Any:
        assert (resources, device) == (self, 0)
        self._call("index_cpu_to_gpu")
        return index

    def knn_gpu(self, resources: Any, queries: Vectors, vectors: Vectors, count: int, *, metric: int) -> Any:
        assert resources is self
        self._call("knn_gpu")
        return faiss.knn(queries, vectors, count, metric=metric)

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self._broken:
            raise RuntimeError("Error in virtual void* allocMemory(...)\nCUDA error 2 out of memory")


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    gpu.gpu.cache_clear()
    yield
    gpu.gpu.cache_clear()


def _with(monkeypatch: pytest.MonkeyPatch, *broken: str) -> Faked:
    found = Faked(*broken)
    monkeypatch.setattr(gpu, "_PYTHON", found)
    return found


def _centres(folder: Path) -> Vectors:
    chunks = Said(np.arange(1, COUNT + 1), ROWS, generation=1, num_at_once=1_000).vectors()
    stamp = approximate.train(folder, chunks, generation=1, dimension=DIMENSION, count=COUNT)
    trained = approximate.load_trained(folder, stamp)
    assert (stamp.lists, trained.nlist) == (256, 256)
    return np.asarray(trained.quantizer.reconstruct_n(0, trained.nlist))


def _nearest() -> list[list[int]]:
    scores, rows = gpu.nearest(QUERIES, ROWS, 10)
    right = np.argsort(-(QUERIES @ ROWS.T), axis=1)[:, :10]
    np.testing.assert_allclose(scores, np.take_along_axis(QUERIES @ ROWS.T, right, axis=1), atol=1e-6)
    assert rows.tolist() == right.tolist()
    return rows.tolist()


@pytest.fixture(scope="module")
def centres(tmp_path_factory: pytest.TempPathFactory) -> Vectors:
    """What the processor learns."""
    gpu.gpu.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faiss, "get_num_gpus", lambda: 0)
        return _centres(tmp_path_factory.mktemp("processor"))


def test_a_gpu_learns_lists_and_compares_all_vectors(
    tmp_path: Path, centres: Vectors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = _with(monkeypatch)
    np.testing.assert_allclose(_centres(tmp_path), centres, atol=1e-5)
    _nearest()
    assert found.calls == ["StandardGpuResources", "index_cpu_to_gpu", "knn_gpu"]
    assert caplog.messages == []


@pytest.mark.parametrize("broken", ["StandardGpuResources", "index_cpu_to_gpu", "knn_gpu"])
def test_a_gpu_that_fails_is_given_up_with_one_line(
    broken: str, tmp_path: Path, centres: Vectors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = _with(monkeypatch, broken)
    np.testing.assert_allclose(_centres(tmp_path), centres, atol=1e-5)
    _nearest()
    _nearest()
    assert found.calls[-1] == broken
    assert caplog.messages == [LINE]


def test_without_a_gpu_nothing_is_said(
    tmp_path: Path, centres: Vectors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = _with(monkeypatch)
    monkeypatch.setattr(Faked, "get_num_gpus", lambda _: 0)
    np.testing.assert_allclose(_centres(tmp_path), centres, atol=1e-5)
    _nearest()
    assert (found.calls, caplog.messages) == ([], [])


BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "gpu.py"
FAMILIES = ("lite", "CLIP B/32", "SigLIP 2 B/16-224", "VideoPrism-LvT B f16r288")


def _benchmark(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARK), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_benchmark_says_in_one_line_that_there_is_no_gpu() -> None:
    ended = _benchmark()
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        "There is no GPU that torch can use here, so nothing was measured: --device cpu --small tries the script.\n"
    )


@pytest.mark.slow
def test_the_benchmark_measures_every_family_of_encoders(tmp_path: Path) -> None:
    for name in ("red", "blue"):
        write_video(tmp_path / f"{name}.mp4", [(name, 2.0)])
    ended = _benchmark("--device", "cpu", "--small", "--workers", 2, "--videos", tmp_path)
    assert ended.returncode == 0, ended.stderr
    title, videos, *rows = ended.stdout.splitlines()
    assert title.startswith("the processor, ")
    assert title.endswith("; random weights but for lite (tiny)")
    assert videos == "2 videos, 0.00 h"
    cells = [row.split(" | ") for row in rows]
    assert [row[:2] for row in cells[:8]] == [
        [f"index with {name}", yardstick]
        for name in FAMILIES
        for yardstick in ("real time", "the larger of decoding and network")
    ]
    for row in cells[:8:2]:
        assert re.fullmatch(r"[\d,]+ frames/s; [\d,]+ h/h decoded, [\d,]+ h/h through the network", row[5])
    assert cells[8][0].startswith("learn 512 lists ")
    assert cells[9][5].endswith("; 1.0000 of the ten nearest are the same")
