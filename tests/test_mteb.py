"""CEZSAR in mteb (tests/harness.py), in a process of its own: mteb takes half a minute to load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def _passes(marked: str) -> None:
    command = [sys.executable, "-m", "pytest", str(Path(__file__).with_name("harness.py")), "-m", marked]
    ended = subprocess.run([*command, "-p", "no:cacheprovider"], capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stdout[-5_000:]


def test_the_mock_tasks_of_videos_run_and_a_local_task_gives_what_benchmark_gives() -> None:
    _passes("not real")


@pytest.mark.real
def test_the_task_of_ucf101_gives_what_benchmark_gives(real_data: Path) -> None:
    assert real_data
    _passes("real")
