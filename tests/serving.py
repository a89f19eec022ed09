"""A server of its own process, as a user starts it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def serving(index: Path, *options: str) -> Iterator[str]:
    """The address, to its last slash, of a server over an index; with its token where it printed one."""
    command = [sys.executable, "-m", "cezsar", "serve", "--port", "0", *options, "--index", str(index)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found, "it did not start"
            yield found[0]
        finally:
            process.send_signal(signal.SIGINT)
            process.stdout.close()
            assert process.wait(60) == 0
