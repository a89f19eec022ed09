"""The man page, made from the help: python tools/manual.py [docs/cezsar.1].

A page in roff for the command and all of its subcommands, without a date, so that the same help gives the same file.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from textwrap import dedent

import click

from cezsar import __version__
from cezsar.cli import cli

PAGE = Path(__file__).parents[1] / "docs" / "cezsar.1"


def manual() -> str:
    """The page's text."""
    root = click.Context(cli, info_name="cezsar")
    lines = [
        f'.TH CEZSAR 1 "" "cezsar {__version__}" "User Commands"',
        ".SH NAME",
        f"cezsar \\- {_escaped((cli.help or '').splitlines()[0].rstrip('.'))}",
        ".SH SYNOPSIS",
        ".B cezsar",
        ".I COMMAND",
        "[OPTION]... [ARGUMENT]...",
        ".SH DESCRIPTION",
        *_paragraphs("\n".join((cli.help or "").splitlines()[1:])),
        ".SH COMMANDS",
    ]
    for name in cli.list_commands(root):
        command = cli.get_command(root, name)
        assert command is not None
        lines += _command(command, click.Context(command, info_name=name, parent=root), f"cezsar {name}")
    lines += [
        ".SH EXIT STATUS",
        "0 done, 1 an error, in one line on standard error, 2 wrong usage, 130 interrupted: what was committed stays.",
    ]
    return "\n".join(lines) + "\n"


def _command(command: click.Command, context: click.Context, name: str) -> list[str]:
    lines = [f".SS {_escaped(name)} {_escaped(' '.join(command.collect_usage_pieces(context)))}"]
    lines += _paragraphs(command.help or "")
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1]:
            lines += [".TP", f".B {_escaped(record[0])}", _escaped(" ".join(record[1].split()))]
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            lines += _command(found, click.Context(found, info_name=inner, parent=context), f"{name} {inner}")
    return lines


def _paragraphs(text: str) -> list[str]:
    """Paragraphs of a help text, filled; those after a \\b as they are."""
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        if paragraph.lstrip().startswith("\b"):
            plain = dedent("\n".join(paragraph.splitlines()[1:]))
            lines += [".PP", ".nf", *(_escaped(line) for line in plain.splitlines()), ".fi"]
        elif paragraph.strip():
            lines += [".PP", _escaped(" ".join(paragraph.split()))]
    return lines


def _escaped(text: str) -> str:
    """Text that roff takes as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE).write_text(manual(), encoding="utf-8")
