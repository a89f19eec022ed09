"""Decoders that begin as forks of one process, which has loaded what they need: python nursery.py SOCKET."""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from cezsar.video import decoder

_BEGUN = b"begun\n"
# what a fork cannot take over from the caller: who that is, and its limits
_BOUNDS = "os.geteuid(), [resource.getrlimit(getattr(resource, name)) for name in dir(resource) if 'RLIMIT' in name]"
# what runs in a decoder's place: it hands over its pipes, and then ends as the fork does, and the fork with it;
# under other bounds it starts as ever
_START = f"""
import os, resource, signal, socket, sys
if ({_BOUNDS}) != {{bounds!r}}:
    {{start}}
    sys.exit()
with socket.socket(socket.AF_UNIX) as caller:
    caller.connect({{door!r}})
    socket.send_fds(caller, [sys.argv[1].encode() + b" " + os.fsencode(os.getcwd())], [0, 1, 2])
    os.closerange(0, 3)
    code = int(caller.recv(16))
if code < 0:
    os.kill(os.getpid(), -code)
os._exit(code)
"""


@contextmanager
def opened() -> Iterator[str]:
    """What to put in the place of the decoder's _START while this is open."""
    import resource  # Windows has none

    bounds = eval(_BOUNDS, {"os": os, "resource": resource})
    with tempfile.TemporaryDirectory(prefix="nursery-") as folder:
        door = f"{folder}/door"
        command = [sys.executable, str(Path(__file__)), door]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(command, start_new_session=True, **pipes) as process:  # type: ignore[call-overload]
            assert process.stdout.readline() == _BEGUN
            yield _START.format(bounds=bounds, start=decoder._START, door=door)
            process.stdin.close()  # it ends


def main(door: str) -> None:
    """Fork a decoder for each caller, until stdin ends."""
    gc.freeze()  # forks share what nothing looks at
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(door)
        listener.listen(64)
        os.write(1, _BEGUN)
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            caller, _ = listener.accept()
            with caller:
                if os.fork() == 0:
                    listener.close()
                    _watch(caller)
            with suppress(ChildProcessError):  # none is left
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def _watch(caller: socket.socket) -> NoReturn:
    """Fork the decoder that was asked for; it dies with the caller, who hears how it ended."""
    asked, fds, _, _ = socket.recv_fds(caller, 1 << 14, 3)
    is_over, held = os.pipe()  # ends with the fork, which alone holds its other end
    child = os.fork()
    if child == 0:
        caller.close()
        _decode(asked, fds)
    for fd in (held, *fds):
        os.close(fd)
    if is_over not in select.select([caller, is_over], [], [])[0]:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with suppress(BrokenPipeError):
        caller.sendall(b"%d" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _decode(asked: bytes, fds: list[int]) -> NoReturn:
    memory_bytes, folder = asked.split(b" ", 1)
    os.chdir(folder)
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    decoder.serve(int(memory_bytes))
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
