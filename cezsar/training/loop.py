"""The training loop: epochs over segments, each with one of its sentences."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs, broadcast_object_list
from torch import Tensor

from cezsar.errors import TrainingError
from cezsar.metrics import Retrieval
from cezsar.model import CezsarModel
from cezsar.training.devices import Devices
from cezsar.training.examples import ALSO
from cezsar.training.objective import Material, Objective
from cezsar.training.recipe import Recipe
from cezsar.training.run import EpochReport, Facts, Run, State
from cezsar.training.validation import validate
from cezsar.types import Ids

_LONGEST_WAIT = timedelta(days=7)  # of one process for another, whose videos may take longer to read

Progress = Callable[[EpochReport], None]


def fit(
    model: CezsarModel,
    material: Material,
    recipe: Recipe,
    run: Run,
    *,
    accelerator: Accelerator | None = None,
    progress: Progress = lambda _: None,
    save_every_s: float = 30.0,
) -> EpochReport:
    """Train the model in place, from where run's last/ stopped if there is one; return the report of the best epoch.

    The best epoch is the one of the highest mean of recall@1, 5 and 10 on the validation segments, or the last if
    there are none; the model ends with its weights, which are best/'s too. Every epoch draws from a generator of its
    own, seeded by the recipe's seed and its number, so that a run that was killed and goes on ends with the very
    weights of one that was not. Raises TrainingError if the loss is not finite; last/ then holds the
    last epoch before it.
    """
    accelerator = accelerator or make_accelerator(recipe, "auto")
    best = _Fit(model, material, recipe, run, accelerator, save_every_s).go(progress)
    model.float()
    return best


def make_accelerator(recipe: Recipe, device: str) -> Accelerator:
    """On a GPU, or several under `accelerate launch`, if there is one and device, auto|cpu|cuda, allows it."""
    if device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("There is no CUDA device here: use --device cpu.")
    return Accelerator(
        cpu=device == "cpu",
        mixed_precision="no" if recipe.precision == "double" else recipe.precision,
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=_LONGEST_WAIT),
            DistributedDataParallelKwargs(broadcast_buffers=False),  # the memory and the objects stay as they are
        ],
    )


class _Fit:
    def __init__(
        self, model: CezsarModel, material: Material, recipe: Recipe, run: Run, accelerator: Accelerator, every_s: float
    ) -> None:
        self._model, self._material, self._recipe, self._run = model, material, recipe, run
        self._accelerator, self._every_s = accelerator, every_s
        self._anchors = _anchored(model)
        self._epoch, self._best = 0, _parameters(model)
        self._best_report: EpochReport | None = None
        model.to(accelerator.device)
        if recipe.layer_dropout is not None and model.video_tower.frames is not None:
            model.video_tower.frames.drop_in_layer(recipe.layer_dropout)
        for name, parameter in model.named_parameters():  # several devices wait for a gradient of each that is trained
            parameter.requires_grad_(_is_reached(name, model, recipe))
        decayed = [p for p in model.parameters() if p.ndim > 1]
        others = [p for p in model.parameters() if p.ndim <= 1]
        optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=recipe.learning_rate,
            betas=(0.9, 0.99),
        )
        self._wrapped, self._optimizer = accelerator.prepare(model, optimizer)
        devices = Devices(accelerator.num_processes, accelerator.process_index)
        self._objective = Objective(model, self._wrapped, material, recipe, devices)

    def go(self, progress: Progress) -> EpochReport:
        self._resume()
        state, saved_at = self._state(), time.monotonic()
        while self._epoch < self._recipe.epochs and not self._out_of_patience():
            started = time.monotonic()
            try:
                loss, learning_rate, num_widened = self._run_epoch(self._epoch)
            except TrainingError:
                self._restore(state)
                self._save(state)
                raise
            self._epoch += 1
            report = self._judge(loss, learning_rate, num_widened, time.monotonic() - started)
            state = self._state()
            if self._accelerator.is_main_process:
                self._run.log(report)
                progress(report)
            if time.monotonic() - saved_at >= self._every_s:
                self._save(state)
                saved_at = time.monotonic()
        self._save(state)
        assert self._best_report is not None
        return self._best_report

    def _run_epoch(self, epoch: int) -> tuple[float, float, int]:
        """(mean loss, last learning rate, positives whose band was empty)."""
        generator = np.random.default_rng([self._recipe.seed, epoch])
        torch.manual_seed(int(generator.integers(2**31)) + self._accelerator.process_index)  # for dropout alone
        self._wrapped.train()
        batches, num_widened = self._objective.batches(list(self._batches(generator)), generator)
        total, learning_rate = 0.0, 0.0
        for number, batch in enumerate(batches):
            learning_rate = self._set_rate((epoch + number / len(batches)) / self._recipe.epochs)
            loss = self._objective(batch, generator)
            if not math.isfinite(loss.item()):
                training = self._material.training
                names = {training.source_names[source] for source in training.sources[batch.rows]}
                raise TrainingError(
                    f"The loss is {loss.item()} in epoch {epoch + 1}, batch {number + 1} of {len(batches)} "
                    f"({', '.join(sorted(names)[:3])}, ...). The last good checkpoint is {self._run.last}."
                )
            self._optimizer.zero_grad()
            self._accelerator.backward(loss + self._recipe.anchor * self._strayed())
            if self._recipe.clip_norm:
                self._accelerator.clip_grad_norm_(self._wrapped.parameters(), self._recipe.clip_norm)
            self._optimizer.step()
            self._model.bound_scale()
            total += loss.item()
        return total / len(batches), learning_rate, num_widened

    def _batches(self, generator: np.random.Generator) -> Iterator[tuple[Ids, Ids]]:
        """(segments, one sentence of each) a batch; a noisier segment takes part in some epochs."""
        training = self._material.training
        taken = (training.corpora != ALSO) | (generator.random(len(training)) < self._recipe.also_weight)
        rows = generator.permutation(np.flatnonzero(taken))
        firsts = np.searchsorted(training.owners, rows)
        counts = np.bincount(training.owners, minlength=len(training))[rows]
        chosen = firsts + (generator.random(len(rows)) * counts).astype(np.int64)
        num_batches = max(math.ceil(len(rows) / self._recipe.batch_size), 1)
        yield from zip(np.array_split(rows, num_batches), np.array_split(chosen, num_batches), strict=True)

    def _set_rate(self, done: float) -> float:
        """Warm-up, then a cosine to 0, or no change; done is the share of all steps, in [0, 1)."""
        warmup, share = self._recipe.warmup, 1.0
        if done < warmup:
            share = done / warmup
        elif self._recipe.schedule == "cosine":
            share = (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))) / 2
        rate = self._recipe.learning_rate * max(share, 1e-3)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _strayed(self) -> Tensor:
        """The squared distance of what began in closed form from its start (L2-SP)."""
        here = dict(self._model.named_parameters())
        terms = [(here[name] - start.to(here[name].device)).square().sum() for name, start in self._anchors.items()]
        return torch.stack(terms).sum()

    def _judge(self, loss: float, learning_rate: float, num_widened: int, seconds: float) -> EpochReport:
        found = None
        if len(self._material.validation):  # by one process, so that all agree when to stop
            [found] = broadcast_object_list(
                [validate(self._model, self._material.validation) if self._accelerator.is_main_process else None]
            )
        best = self._best_report
        is_best = found is None or best is None or found.mean_recall > _validation(best).mean_recall
        report = EpochReport(
            epoch=self._epoch,
            epochs=self._recipe.epochs,
            loss=loss,
            learning_rate=learning_rate,
            temperature=1 / self._model.scale.item(),
            num_widened=num_widened,
            validation=found,
            is_best=is_best,
            seconds=seconds,
        )
        if is_best:
            self._best, self._best_report = _parameters(self._model), report
        return report

    def _out_of_patience(self) -> bool:
        best = self._best_report
        return best is not None and self._epoch - best.epoch >= self._recipe.patience

    def _state(self) -> State:
        scaler = self._accelerator.scaler
        moments = {
            f"optimizer {number} {key}": value
            for number, row in self._optimizer.state_dict()["state"].items()
            for key, value in row.items()
        }
        parts = {"parameters": _parameters(self._model), "best": self._best, "anchors": self._anchors}
        named = {f"{part} {name}": value for part, values in parts.items() for name, value in values.items()}
        facts = Facts(self._epoch, self._best_report, None if scaler is None else scaler.state_dict())
        return State({name: value.detach().cpu().clone() for name, value in {**moments, **named}.items()}, facts)

    def _restore(self, state: State) -> None:
        found: dict[str, dict[str, Tensor]] = {"parameters": {}, "best": {}, "anchors": {}, "optimizer": {}}
        for key, value in state.tensors.items():
            part, name = key.split(" ", 1)
            found[part][name] = value
        there = {name: tuple(value.shape) for name, value in self._model.named_parameters()}
        if there != {name: tuple(value.shape) for name, value in found["parameters"].items()}:
            raise TrainingError(f"{self._run.last} holds a model of another shape.")
        _set_parameters(self._model, found["parameters"])
        self._anchors, self._best = found["anchors"], found["best"]
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in found["optimizer"].items():
            number, key = name.split(" ", 1)
            moments.setdefault(int(number), {})[key] = value
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": moments})
        if self._accelerator.scaler is not None and state.facts.scaler is not None:
            self._accelerator.scaler.load_state_dict(state.facts.scaler)
        self._epoch, self._best_report = state.facts.epoch, state.facts.best_report

    def _resume(self) -> None:
        state = self._run.state()
        if state is not None:
            self._restore(state)
        if self._accelerator.is_main_process:
            self._run.rewind(self._epoch)

    def _save(self, state: State) -> None:
        """last/ as it is now, best/ as it was at its epoch."""
        if not self._accelerator.is_main_process:
            return
        here = _parameters(self._model)
        self._run.save(self._run.last, self._model, state)
        _set_parameters(self._model, self._best)
        self._run.save(self._run.best, self._model)
        finished = self._epoch >= self._recipe.epochs or self._out_of_patience()
        if finished:
            self._run.draw_curves()
        else:
            _set_parameters(self._model, here)


def _is_reached(name: str, model: CezsarModel, recipe: Recipe) -> bool:
    """Whether the loss depends on a parameter: a triplet knows no temperature, objects alone no video tower."""
    streams = recipe.train_streams or model.config.streams
    if name == "log_scale":
        return recipe.loss != "triplet"
    return streams != "object" or not name.startswith("video_tower.")


def _anchored(model: CezsarModel) -> dict[str, Tensor]:
    names = ("text_tower.linear.weight", "video_tower.recall.weight")
    return {name: value.detach().cpu().clone() for name, value in model.named_parameters() if name in names}


def _parameters(model: CezsarModel) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in model.named_parameters()}


def _set_parameters(model: CezsarModel, values: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(values[name])


def _validation(report: EpochReport) -> Retrieval:
    assert report.validation is not None
    return report.validation
