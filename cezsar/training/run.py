"""The folder of a training run: run.json, metrics.jsonl, curves.png, and the checkpoints best/ and last/."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cezsar import folders
from cezsar.errors import TrainingError
from cezsar.files import write
from cezsar.metrics import Retrieval
from cezsar.model import CezsarModel, bars
from cezsar.records import record

_STATE = "state.safetensors"


@dataclass(frozen=True, slots=True)
class EpochReport:
    """An epoch from 1 of at most `epochs`; validation is of the kept-out segments, None if there are none."""

    epoch: int
    epochs: int
    loss: float
    learning_rate: float
    temperature: float
    num_widened: int
    validation: Retrieval | None
    is_best: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Facts:
    """The state of training as far as JSON can hold it: the epochs done, the best of them, and how losses are
    scaled."""

    epoch: int
    best_report: EpochReport | None
    scaler: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class State:
    """The state to go on from after a kill: tensors by name, and facts."""

    tensors: dict[str, Tensor]
    facts: Facts


class Run:
    """A run's folder. Every file of it is there whole or not at all; TrainingError if it cannot be written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.best, self.last = folder / "best", folder / "last"

    def claim(self) -> None:
        """Raise TrainingError, before any work is done, if a run is there already or nothing can be written."""
        if self._settings.exists():
            raise TrainingError(f"{self.folder} holds a run already: --resume {self.folder} goes on with it.")
        is_new = not self.folder.exists()
        with self._writing():
            write(self.folder / "claim", b"")
            (self.folder / "claim").unlink()
            if is_new:
                self.folder.rmdir()

    def start(self, settings: dict[str, Any]) -> None:
        """Write the run's request."""
        with self._writing():
            write(self._settings, (json.dumps(settings, indent=1) + "\n").encode())

    def settings(self) -> dict[str, Any]:
        """The request that the run was started with. Raises TrainingError if there is none."""
        try:
            found = json.loads(self._settings.read_text(encoding="utf-8"))
        except OSError:
            raise TrainingError(f"{self.folder} holds no training run.") from None
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise TrainingError(f"{self._settings} is damaged.")
        return found

    def save(self, checkpoint: Path, model: CezsarModel, state: State | None = None) -> None:
        """Put the model, and the state to go on from, into best/ or last/; the old files stay until the new ones are
        whole."""
        bars.hide()
        with self._writing(), folders.filling(checkpoint) as draft:
            (copy.deepcopy(model).float() if model.dtype == torch.float64 else model).save_pretrained(draft)
            if state is not None:  # by its name the last: it says that the others are there
                save_file(state.tensors, draft / _STATE, {"facts": json.dumps(asdict(state.facts))})

    def state(self) -> State | None:
        """The state in last/; None before the first checkpoint. Raises TrainingError if damaged."""
        path = self.last / _STATE
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                facts = record(Facts, json.loads(file.metadata()["facts"]))
                return State({name: file.get_tensor(name) for name in file.keys()}, facts)  # noqa: SIM118
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{path} is damaged: {error}") from None

    def log(self, report: EpochReport) -> None:
        """Add a line to metrics.jsonl."""
        with self._writing():
            self._append(json.dumps(asdict(report)))

    def reports(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; one that a kill cut off is left out."""
        if not self._metrics.exists():
            return []
        lines = self._metrics.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    def rewind(self, epoch: int) -> None:
        """Drop the lines of later epochs, which will run again, from metrics.jsonl."""
        rows = [row for row in self.reports() if row["epoch"] <= epoch]
        with self._writing():
            write(self._metrics, "".join(json.dumps(row) + "\n" for row in rows).encode())

    def draw_curves(self) -> None:
        """curves.png: loss, and the recalls of the kept-out segments, by epoch."""
        from matplotlib.figure import Figure

        rows = self.reports()
        epochs = [row["epoch"] for row in rows]
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot(epochs, [row["loss"] for row in rows], color="tab:blue")
        left.set(title="Training loss", xlabel="epoch", ylabel="loss")
        if rows and rows[-1]["validation"] is not None:
            for k in (1, 5, 10):
                right.plot(epochs, [100 * row["validation"][f"recall_{k}"] for row in rows], label=f"recall@{k}")
            best = max(row["epoch"] for row in rows if row["is_best"])
            right.axvline(best, color="grey", linestyle=":", label=f"best: epoch {best}")
            right.legend()
        else:
            right.text(0.5, 0.5, "nothing was kept out", ha="center", transform=right.transAxes)
        right.set(title="Kept-out videos, text to video", xlabel="epoch", ylabel="recall (%)", ylim=(0, 100))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=120)
        with self._writing():
            write(self.folder / "curves.png", buffer.getvalue())

    def _append(self, line: str) -> None:
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    @property
    def _settings(self) -> Path:
        return self.folder / "run.json"

    @property
    def _metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            yield
        except (OSError, SafetensorError) as error:
            said = getattr(error, "strerror", None) or error
            raise TrainingError(f"The run cannot be written: {self.folder}: {said}. What was saved stays.") from None
