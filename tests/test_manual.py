"""The man page and shell completion."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cezsar.cli import cli

_ROOT = Path(__file__).parents[1]


def test_the_man_page_is_what_the_help_says() -> None:
    made = subprocess.run(
        [sys.executable, _ROOT / "tools" / "manual.py", "/dev/stdout"], capture_output=True, text=True, check=True
    )
    kept = (_ROOT / "docs" / "cezsar.1").read_text()
    assert made.stdout == kept, "python tools/manual.py makes it anew"


def test_the_man_page_has_every_command_and_option() -> None:
    page = (_ROOT / "docs" / "cezsar.1").read_text().replace("\\-", "-")
    root = click.Context(cli)
    for name in cli.list_commands(root):
        assert re.search(rf"^\.SS cezsar {name} ", page, re.MULTILINE)
        command = cli.get_command(root, name)
        assert command is not None
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert max(parameter.opts, key=len) in page


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_command_completes_in_each_shell(shell: str) -> None:
    words = {"COMP_WORDS": "cezsar query --ex", "COMP_CWORD": "--ex" if shell == "fish" else "2"}
    told = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv = ['cezsar']; from cezsar.cli import main; main()"],
        env={**os.environ, "_CEZSAR_COMPLETE": f"{shell}_complete", **words},
        capture_output=True,
        text=True,
    )
    assert "--export" in told.stdout
    assert "--exact" in told.stdout
