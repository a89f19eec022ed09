"""cezsar.choices: each list of names stands there alone, and is whole."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import cezsar
from cezsar import choices
from cezsar.cli import cli
from cezsar.datasets import DATASETS
from cezsar.errors import BenchmarkError
from cezsar.model.presets import PRESETS
from cezsar.query.benchmark import Request
from cezsar.training import RECIPES

_LISTS = {name: value for name, value in vars(choices).items() if name.isupper()}


def _written(path: Path) -> Iterator[tuple[int, frozenset[str]]]:
    """The lines of a source file with tuples, lists and sets of nothing but text, and what is in them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)) and len(node.elts) > 1:
            values = [one.value for one in node.elts if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            if len(values) == len(node.elts):
                yield node.lineno, frozenset(values)


def test_no_list_of_choices_is_written_down_twice() -> None:
    root = Path(cezsar.__file__).parent
    folders = (root, root / "query", root / "indexer")  # rglob passes links by
    files = {file.resolve() for folder in folders for file in folder.resolve().rglob("*.py")}
    assert len(files) > 100
    wholes = {frozenset(value) for value in _LISTS.values()}
    found = [(file.name, line) for file in files for line, values in _written(file) if values in wholes]
    assert {name for name, _ in found} == {"choices.py"}


def test_every_option_with_choices_takes_a_list_of_them() -> None:
    context = click.Context(cli)
    commands = [cli.get_command(context, name) for name in cli.list_commands(context)]
    options = [option for command in commands if command for option in command.params]
    taken = [tuple(option.type.choices) for option in options if isinstance(option.type, click.Choice)]
    assert len(taken) > 15
    assert set(taken) <= {*_LISTS.values(), tuple(DATASETS)}


def test_lists_name_what_there_is() -> None:
    assert choices.PRESETS == tuple(PRESETS) == tuple(RECIPES)


def test_the_benchmarks_help_names_every_dataset_and_protocol() -> None:
    said = CliRunner().invoke(cli, ["benchmark", "--help"]).stdout
    for name in (*DATASETS, "half", "random:K", "truze2", "hard-cases", "semantic-gap", "zsar"):
        assert name in said


def test_what_is_no_choice_is_told_with_those_there_are() -> None:
    assert choices.not_one_of("device", "tpu", choices.DEVICES) == "device must be one of auto, cpu, cuda, not 'tpu'"
    with pytest.raises(BenchmarkError, match=r"dataset must be one of ucf101, .*, pairs, not 'imagenet'"):
        Request("imagenet")
