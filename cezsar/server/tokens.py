"""The token that a server asks for: what may be one, and the file that holds one."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from cezsar.errors import CezsarError

RULE = "8 to 200 printable ASCII characters, without blanks around them"
_MOST_BYTES = 1_000  # of a file with one token


def is_token(text: str) -> bool:
    """Whether a token may be so: see RULE. Blanks around it would not survive in a header."""
    return 8 <= len(text) <= 200 and text.isascii() and text.isprintable() and text == text.strip()


def read(path: Path) -> str:
    """The token in a file, without the newline at its end.

    Raises CezsarError if there is no such file, if other accounts can read or change it, or if it holds
    something else.
    """
    try:
        # a FIFO is not waited for, nor does a terminal become this process's own
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
        with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise CezsarError(f"--token-file takes a file, which {path} is not.")
            if os.name != "nt":
                _refuse_shared(path, status)
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise CezsarError(f"The token file {path} cannot be read ({error.strerror}).") from None
    text = content.decode("ascii", "replace").removesuffix("\n").removesuffix("\r")
    if not is_token(text):
        raise CezsarError(f"The file {path} holds no token: {RULE}, on one line.")
    return text


def _refuse_shared(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise CezsarError(f"The token file {path} belongs to another account: take a file of your own.")
    if status.st_mode & 0o077:
        raise CezsarError(f"Other accounts can read or change {path}: `chmod 600 {shlex.quote(str(path))}`.")
