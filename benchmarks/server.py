"""A warm search over HTTP against the same search in process; and, with --load, a server under load.

python benchmarks/server.py
python benchmarks/server.py --load ../shared/data/ucf101 [--seconds 60] [--clients 64]
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import cold
import indexing
import numpy as np
from measuring import Row, ratios, turns

from cezsar.query import Searcher

_ROUNDS = 60
_TEXTS = [
    f"{who} {what} {where}"
    for who, what, where in itertools.product(
        ("a person", "two people", "a child", "a dog"),
        ("runs", "plays the violin", "throws a ball", "climbs", "dances", "cooks"),
        ("in a street", "on a beach", "in a room", "at night"),
    )
]


def rows() -> list[Row]:
    """Ten hits of 10,000 segments, one question after another."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cold.fill(folder)
        texts = itertools.cycle(_TEXTS)
        with served(folder / "index") as (host, port, token, _), Searcher(folder / "index") as searcher:
            line = http.client.HTTPConnection(host, port)
            ours, theirs = turns(lambda: _ask(line, next(texts), token), lambda: searcher.search(next(texts)), _ROUNDS)
            line.close()
    note = f"{np.median(ours) * 1e3:.1f} ms against {np.median(theirs) * 1e3:.1f} ms"
    return [
        Row("warm search over HTTP, 10,000 segments", "in process", ratios(ours, theirs), 2, at_most=True, note=note)
    ]


def load(videos: Path, *, clients: int, seconds: float) -> None:
    """Clients that ask as fast as they are answered, while half of the videos are indexed and purged, over and over."""
    paths = [str(path) for path in indexing.videos_in(videos)]
    with tempfile.TemporaryDirectory() as name:
        index = Path(name) / "index"

        def cezsar(name: str, paths: list[str], *options: str) -> None:
            command = [sys.executable, "-m", "cezsar", name, *options, "--index", str(index), *paths]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

        cezsar("index", paths[::2], "--quiet")
        with served(index) as (host, port, token, process):
            statuses: Counter[str] = Counter()
            took_s: list[float] = []
            until = time.monotonic() + seconds

            def client(number: int) -> None:
                line = http.client.HTTPConnection(host, port, timeout=60)
                for text in itertools.islice(itertools.cycle(_TEXTS), number, None):
                    if time.monotonic() >= until:
                        break
                    began = time.perf_counter()
                    try:
                        statuses[str(_ask(line, text, token))] += 1
                    except OSError as error:
                        statuses[type(error).__name__] += 1
                        line.close()
                    took_s.append(time.perf_counter() - began)

            rounds = 0

            def change() -> None:
                nonlocal rounds
                while time.monotonic() < until:
                    cezsar("index", paths[1::2], "--quiet")
                    cezsar("remove", paths[1::2], "--purge")
                    rounds += 1

            threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
            threads.append(threading.Thread(target=change))
            for thread in threads:
                thread.start()
            time.sleep(seconds / 4)
            early = _resident_mb(process.pid)
            for thread in threads:
                thread.join()
            late = _resident_mb(process.pid)
    shares = ", ".join(f"{count:,} x {status}" for status, count in sorted(statuses.items()))
    p50, p99 = np.percentile(took_s, [50, 99]) * 1e3
    print(
        f"{clients} clients for {seconds:g} s; beside them {len(paths[1::2])} videos indexed and purged {rounds} times"
    )
    print(f"answers: {shares}; {len(took_s) / seconds:.0f} a second; p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    print(f"the server's memory: {early:.0f} MB after a quarter, {late:.0f} MB at the end ({late / early:.2f})")


@contextmanager
def served(index: Path) -> Iterator[tuple[str, int, str, subprocess.Popen[str]]]:
    """A server of a process of its own: host, port, token and process."""
    command = [sys.executable, "-m", "cezsar", "serve", "--index", str(index), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://([\d.]+):(\d+)/\?token=(\S+)", process.stdout.readline())
        assert found, "it did not start"
        yield found[1], int(found[2]), found[3], process
        process.send_signal(signal.SIGINT)


def _ask(line: http.client.HTTPConnection, text: str, token: str) -> int:
    line.request("GET", f"/api/v1/search?text={quote(text)}", headers={"Authorization": f"Bearer {token}"})
    answer = line.getresponse()
    found = json.loads(answer.read())
    assert answer.status == 429 or found["hits"], found
    return answer.status


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1e3  # type: ignore[index]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--load", type=Path, metavar="VIDEOS")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=64)
    asked = parser.parse_args()
    if asked.load:
        load(asked.load, clients=asked.clients, seconds=asked.seconds)
    else:
        for row in rows():
            print(*row.cells(), row.note, sep=" | ")
