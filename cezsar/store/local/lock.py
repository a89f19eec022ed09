"""One writer at a time: a lock that is released when its process ends, however it ends, and a note of its holder."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from stat import S_ISREG

from cezsar.errors import IndexLocked
from cezsar.files import PRIVATE_FILE, forget_drafts, private

LOCK = "writer.lock"
_NOTE = "writer.json"
_FORMER_DRAFT = re.compile(r"(catalog\.sqlite|vectors)\.\d+\.new(-journal)?|current\.json\.new")
_PATIENCE_S = 2.0  # what another writer does to a single video is over by then


@dataclass(frozen=True, slots=True)
class _Holder:
    """Who writes: process, host, and since when."""

    pid: int
    host: str
    since: str


class WriterLock:
    """The right to write to an index, held from its making to release(), or to the end of a context.

    is_private says that the lock was there and private, as all files of a newer index are. was_interrupted says that
    the writer before it never released it: its process was killed, or the machine stopped. The note of that stays for
    the next writer, unless this one calls settle() after it has looked at the remains. Raises IndexLocked if another
    has it.
    """

    def __init__(self, directory: Path) -> None:
        from filelock import FileLock, Timeout  # which loads asyncio: readers can do without

        self._note = directory / _NOTE
        self.is_private = _is_private(directory / LOCK)
        self._lock = FileLock(directory / LOCK, timeout=_PATIENCE_S, thread_local=False, mode=PRIVATE_FILE)
        try:
            self._lock.acquire()
        except Timeout:
            raise IndexLocked(
                f"{_described(self._note)} is writing to the index in {directory}: wait for it."
            ) from None
        except NotImplementedError:
            raise IndexLocked(
                f"The file system of {directory} cannot lock files; an index needs one that can."
            ) from None
        self.was_interrupted = self._note.exists()
        self._is_settled = not self.was_interrupted
        if self.was_interrupted:
            _forget_drafts(directory)
        holder = _Holder(os.getpid(), socket.gethostname(), datetime.now(timezone.utc).isoformat(timespec="seconds"))
        try:
            with open(self._note, "w", encoding="utf-8", opener=private) as file:
                json.dump(asdict(holder), file)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            self.release()
            raise

    def __enter__(self) -> WriterLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def settle(self) -> None:
        """Note that the remains of an interrupted writer are in order now."""
        self._is_settled = True

    def release(self) -> None:
        """Release the lock."""
        if self._is_settled:
            with suppress(OSError):  # of a folder that has gone, or turned read-only: the next one finds the note
                self._note.unlink()
        self._lock.release()


def _is_private(path: Path) -> bool:
    try:
        return not path.stat().st_mode & 0o077
    except OSError:
        return False


def _forget_drafts(directory: Path) -> None:
    """Delete what a killed writer had half written, under today's and former names; nothing else."""
    forget_drafts(directory)
    for path in directory.iterdir():
        if _FORMER_DRAFT.fullmatch(path.name) and S_ISREG(path.lstat().st_mode):
            path.unlink(missing_ok=True)


def was_interrupted(directory: Path) -> bool:
    """Whether a writer was killed and no writer has settled that since; for readers, which take no lock for long."""
    if not (directory / _NOTE).exists():
        return False
    from filelock import FileLock, Timeout

    lock = FileLock(directory / LOCK, timeout=0, thread_local=False, mode=PRIVATE_FILE)
    try:
        with lock:
            return (directory / _NOTE).exists()
    except Timeout:
        return False  # one is at work
    except (OSError, NotImplementedError):
        return True  # a folder that cannot be written: nobody is at work there


def _described(note: Path) -> str:
    for _ in range(10):  # it is written right after the lock is taken
        try:
            holder = _Holder(**json.loads(note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            time.sleep(0.05)
            continue
        return f"Another cezsar (process {holder.pid} on {holder.host}, since {holder.since})"
    return "Another cezsar"
