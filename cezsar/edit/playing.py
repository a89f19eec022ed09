"""Opening a video in the system's player, at a second."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from cezsar.errors import QueryError

_PLAYERS: tuple[tuple[str, Callable[[Path, float], list[str]]], ...] = (
    ("mpv", lambda path, start_s: [f"--start={start_s:.3f}", "--", str(path.absolute())]),
    ("vlc", lambda path, start_s: [f"--start-time={start_s:.3f}", path.absolute().as_uri()]),
)


def play(path: Path, *, start_s: float) -> str:
    """Start mpv, or else VLC, and go on without waiting for it; the player's name.

    No shell is asked, and no name of a file is taken for an option. Raises QueryError if there is no player, or no
    file.
    """
    if not path.is_file():
        raise QueryError(f"{path} cannot be played: there is no such file.")
    for name, options in _PLAYERS:
        program = shutil.which(name)
        if program is None:
            continue
        quiet = subprocess.DEVNULL
        command = [program, *options(path, start_s)]
        try:
            subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
        except OSError as error:
            raise QueryError(f"{program} cannot be started: {error.strerror}.") from None
        return name
    raise QueryError("There is no mpv and no vlc to play it: install one, or look at the page, `cezsar serve --open`.")
