"""What stands for a class: its name as words, this project's own sentence, or a file's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from cezsar.choices import SENTENCES
from cezsar.datasets import DATASETS, FOLDERS, definition
from cezsar.errors import BenchmarkError
from cezsar.query.benchmark.datasets import key
from cezsar.query.prompts import Labels, read_labels, read_sentences, words


def class_sentences(dataset: str, classes: Sequence[str], source: str) -> Labels:
    """Each class's sentences: source is 'names', 'ours', a JSON file {class: [sentences]} or a folder of class.txt.

    Classes are matched by their letters and digits. Raises BenchmarkError if one has no sentence, QueryError if
    the file or folder cannot be read.
    """
    if source == "names":
        return {label: (words(label),) for label in classes}
    if source == "ours":
        known: dict[str, tuple[str, ...]] = {}
        names = DATASETS if definition(dataset).reading == FOLDERS else (dataset,)
        for name in reversed(tuple(names)):  # of a class in two of them the first
            file = files("cezsar.query") / "sentences" / f"{name}.json"
            said = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
            known |= {key(label): tuple(sentences) for label, sentences in said.items()}
        where, advice = "This project has", f"give your own with --sentences FILE, or --sentences names ({dataset})"
    else:
        is_folder = Path(source).is_dir()
        if not is_folder and Path(source).suffix.lower() != ".json":
            raise BenchmarkError(
                f"--sentences is {', '.join(SENTENCES)}, a .json file {{class: [sentences]}}, or a folder with a text "
                f"file for each class, not {source!r}."
            )
        given = read_sentences(Path(source)) if is_folder else read_labels(source)
        known = {key(label): said for label, said in given.items()}
        where, advice = f"{source} has", "add them"
    if lacking := [label for label in classes if key(label) not in known]:
        raise BenchmarkError(
            f"{where} no sentence for {len(lacking)} of {len(classes)} classes ({', '.join(lacking[:5])}): {advice}."
        )
    return {label: known[key(label)] for label in classes}
