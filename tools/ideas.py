"""What each idea for training gives: python tools/ideas.py DATA [--seeds 3] [--cache .features] [--only WORDS].

DATA holds msrvtt_sparse/captions.jsonl and msrvtt_trainval/captions.jsonl with their videos. Every idea is trained on
the videos that are not kept out, as `make train-lite` does, with several seeds; every sentence of the kept-out videos
then looks for its video among them. The table gives the last epoch's figures, mean and standard deviation over the
seeds: nothing is chosen by them within a run. What a seed does not change, the start in closed form, has one line and
no deviation. A paired bootstrap over the kept-out videos compares the shipped recipe with `lite-objects`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cezsar.encoders.images import Backbone, load_backbone
from cezsar.encoders.joint import load_model
from cezsar.encoders.lite_objects import LiteObjects
from cezsar.encoders.sentences import SentenceEncoder
from cezsar.encoders.weights import EMBEDDED_IMAGES, EMBEDDED_PAIR
from cezsar.metrics import Retrieval, ranks, retrieval
from cezsar.model import CezsarModel
from cezsar.pairs import Rejected
from cezsar.training import RECIPES, Request, Split
from cezsar.training.examples import MAIN, Examples
from cezsar.training.loop import fit
from cezsar.training.pipeline import gather, prepare
from cezsar.training.run import Run
from cezsar.training.validation import encode
from cezsar.types import Ids, Vectors

CPU = torch.device("cpu")
_SHIPPED = "**as shipped**"
_OBJECTS = "`lite-objects`"
_CONSTANTS = (60, 30, 10, 3, 1, 0)  # of reciprocal rank fusion; the first is its authors'
Scores = NDArray[np.floating]
Change = Callable[[Examples], Examples]
Correction = Callable[[Scores, Scores], Scores]  # of (M, N) scores, given (B, N) those of the training sentences


@dataclass(frozen=True)
class Idea:
    """How it differs from the shipped recipe: in the model, the recipe, the examples, what is seen, or when asked.

    seen says what of the frames is, as in Lab.seen; in_closed_form leaves out all training by gradients.
    """

    name: str
    model: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    change: Change | None = None
    correction: Correction | None = None
    streams: str | None = None
    seen: str = "pair"
    in_closed_form: bool = False


def part(share: float) -> Change:
    """A part of the footage, the same in every run."""

    def change(examples: Examples) -> Examples:
        chosen = np.random.default_rng(0).permutation(len(examples.source_names)) < share * len(examples.source_names)
        return examples.where(chosen[examples.sources])

    return change


def a_third(examples: Examples) -> Examples:
    """Every third sentence."""
    kept = np.arange(len(examples.owners)) % 3 == 0
    return replace(examples, sentences=examples.sentences[kept], owners=examples.owners[kept])


def without_also(examples: Examples) -> Examples:
    """Without the rows that are never kept out."""
    return examples.where(examples.corpora == MAIN)


def csls(scores: Scores, bank: Scores) -> Scores:
    """Cross-domain similarity local scaling (Conneau et al., 2018), neighbours from the training sentences."""
    return 2 * scores - np.sort(bank, axis=0)[-10:].mean(axis=0)


def inverted_softmax(scores: Scores, bank: Scores) -> Scores:
    """Half of an inverted softmax (Smith et al., 2017) at temperature 0.1, normalised by the training sentences."""
    return scores - 0.5 * 0.1 * np.log(np.exp(bank / 0.1).mean(axis=0))


@dataclass(frozen=True)
class Seen:
    """A backbone whose features are made of another's: of_frames changes a segment's (T, F), of_head its classifier."""

    base: Backbone
    num_blocks: int
    feature_dim: int
    of_frames: Callable[[Vectors], Vectors]
    of_head: Callable[[torch.Tensor], torch.Tensor]

    @property
    def name(self) -> str:
        return self.base.name

    @property
    def short_side(self) -> int:
        return self.base.short_side

    @property
    def fingerprint(self) -> str:
        return self.base.fingerprint

    def features(self, frames_uint8: NDArray[Any]) -> Vectors:
        return self.of_frames(self.base.features(frames_uint8))

    def head(self) -> tuple[torch.Tensor, torch.Tensor]:
        head = self.base.head()
        assert head is not None
        return self.of_head(head[0]), head[1]

    def objects(self) -> list[str]:
        return self.base.objects()


def with_differences(frames: Vectors) -> Vectors:
    """(T, 2560) -> (T, 3840): the last frame less the first, of the first network, beside every frame."""
    return np.concatenate([frames, np.repeat(frames[-1:, :1280] - frames[:1, :1280], len(frames), axis=0)], axis=1)


def seen(base: Backbone) -> dict[str, Backbone]:
    """What may be seen of a frame by the pair of networks."""
    return {
        "pair": base,
        "ends": Seen(base, 1, 1280, lambda rows: rows[:, :1280], lambda head: head[:, :1280]),
        "small": Seen(base, 1, 1280, lambda rows: rows[:, 1280:], lambda head: head[:, 1280:]),
        "moving": Seen(base, 3, 3840, with_differences, lambda head: torch.nn.functional.pad(head, (0, 1280))),
    }


def ideas() -> Iterator[Idea]:
    """All of them; the first is the shipped recipe."""
    yield Idea(_SHIPPED)
    yield Idea("closed-form start alone", in_closed_form=True)
    yield Idea("no pull to the start", recipe={"anchor": 0.0})
    yield Idea("loss: triplet, in-batch", recipe={"loss": "triplet"})
    yield Idea("negatives: band 0-0.8, triplet (the paper's)", recipe={"loss": "triplet", "negatives": "band"})
    yield Idea("object sentences as positives", recipe={"object_positives": True})
    for weight in (0.67, 0.8, 1.0):
        yield Idea(f"fusion: visual weight {weight}", model={"visual_weight": weight})
    yield Idea("fusion: trained together, asked by objects", streams="object")
    yield Idea("object stream alone, trained on captions", recipe={"train_streams": "object"}, streams="object")
    yield Idea("transformer path beside the memory", model={"d_model": 512})
    yield Idea("a third of the sentences", change=a_third)
    for weight in (0.1, 0.5):
        yield Idea(f"`msrvtt_trainval` counted {weight}", recipe={"also_weight": weight})
    yield Idea("without `msrvtt_trainval`", change=without_also)
    yield Idea("hubness: CSLS when asked", correction=csls)
    yield Idea("hubness: inverted softmax when asked", correction=inverted_softmax)
    for said, share in (("an eighth", 1 / 8), ("a quarter", 1 / 4), ("half", 1 / 2)):
        yield Idea(f"curve: {said} of the footage", change=part(share))
    for said, share in (("an eighth", 1 / 8), ("a quarter", 1 / 4), ("half", 1 / 2), ("all", 1.0)):
        tower = {"d_model": 512, "num_memories": 0}
        epochs = {"epochs": 24, "patience": 24}  # it has ceased to gain by then
        yield Idea(f"curve: the paper's tower, {said} of the footage", model=tower, recipe=epochs, change=part(share))
    for name, what in (
        ("seen: Lite2 in the middle (as before)", "middle"),
        ("seen: Lite2 at both ends", "ends"),
        ("seen: Lite1 in the middle", "small"),
    ):
        yield Idea(f"{name}, closed form", seen=what, in_closed_form=True)
    for name, model in (
        ("memory: a kernel a network, 256 axes each", {"memory_blocks": 2, "memory_dim": 256}),
        *((f"memory: {size} axes", {"memory_dim": size}) for size in (384, 512, 640, 768)),
        *((f"object stream: temperature {value}", {"object_temperature": value}) for value in (0.5, 1.0, 1.5)),
        ("object stream: the 20 likeliest", {"top_objects": 20}),
        *((f"fusion: visual weight {value}", {"visual_weight": value}) for value in (0.67, 0.8)),
        *((f"query bank: share {value}", {"querybank_share": value}) for value in (0.0, 0.4, 0.6)),
    ):
        yield Idea(f"{name}, closed form", model=model, in_closed_form=True)
    moving = {"memory_blocks": 3, "memory_dim": 256}
    yield Idea("memory: a third kernel, last frame less first", model=moving, seen="moving", in_closed_form=True)


class _Silent:
    """Hears what cezsar.training.Watcher hears."""

    def rejected(self, row: Rejected) -> None:
        print(row.where, row.reason)

    def exchanged(self, num_rows: int) -> None: ...

    def extracting(self, num_videos: int) -> None: ...

    def extracted(self, video: Path, is_new: bool) -> None: ...

    def training(self, num_training: int, num_validation: int) -> None: ...

    def epoch(self, report: Any) -> None: ...


class Lab:
    """The data, once; and what a model is worth on what was kept out."""

    def __init__(self, data: Path, cache: Path) -> None:
        self.request = Request(
            pairs=(str(data / "msrvtt_sparse/captions.jsonl"),),
            also=(str(data / "msrvtt_trainval/captions.jsonl"),),
            videos=None,
            cache=str(cache),
            preset="lite",
            model={},
            recipe=replace(RECIPES["lite"], also_weight=1.0),
            split=Split(seed=0, share=0.44),
        )
        self.encoder = SentenceEncoder(CPU)
        self.seen = seen(load_backbone(EMBEDDED_PAIR, CPU))
        self.training, self.validation = self._gather(self.seen["pair"])
        self._middle: tuple[Examples, Examples] | None = None

    def train(self, idea: Idea, seed: int) -> CezsarModel:
        """The model of the last epoch; in closed form, the model where training starts."""
        recipe = replace(self.request.recipe, seed=seed, **idea.recipe)
        request = replace(self.request, model=idea.model, recipe=recipe)
        backbone, (training, _) = self._examples(idea)
        training = training if idea.change is None else idea.change(training)
        nothing = self.validation.where(np.zeros(len(self.validation), bool))
        with tempfile.TemporaryDirectory() as folder:
            model, material = prepare(request, backbone, self.encoder, training, nothing)
            if not idea.in_closed_form:
                fit(model, material, recipe, Run(Path(folder) / "run"), save_every_s=1e9)
        return model.eval().cpu()

    def _examples(self, idea: Idea) -> tuple[Backbone, tuple[Examples, Examples]]:
        """What an idea sees, in training and of the kept-out videos."""
        if idea.seen == "middle":
            backbone = load_backbone(EMBEDDED_IMAGES, CPU)
            self._middle = self._middle or self._gather(backbone)
            return backbone, self._middle
        backbone = self.seen[idea.seen]
        if not isinstance(backbone, Seen):
            return backbone, (self.training, self.validation)
        sides = (self.training, self.validation)
        return backbone, tuple(replace(one, features=list(map(backbone.of_frames, one.features))) for one in sides)

    def _gather(self, backbone: Backbone) -> tuple[Examples, Examples]:
        examples, _ = gather(
            replace(self.request, model={"backbone": backbone.name}), backbone, self.encoder, _Silent()
        )
        return self.request.split.apply(examples)

    def scores(self, model: CezsarModel, idea: Idea) -> Scores:
        """(M, N) of the kept-out sentences and videos."""
        videos = encode(model, self._examples(idea)[1][1].features, streams=idea.streams)
        found = self.texts(model, self.validation.sentences) @ videos.T
        if idea.correction is None:
            return found
        clean = self.training.corpora[self.training.owners] == MAIN
        return idea.correction(found, self.texts(model, self.training.sentences[clean]) @ videos.T)

    def texts(self, model: CezsarModel, sentences: Vectors) -> Vectors:
        """(M, S) -> (M, D)."""
        with torch.inference_mode():
            return np.asarray(model.encode_sentences(torch.from_numpy(sentences)).numpy())

    def objects(self) -> Scores:
        """(M, N) of `lite-objects`."""
        encoder, (backbone, (_, validation)) = LiteObjects("cpu"), self._examples(Idea("", seen="middle"))
        head = backbone.head()
        assert head is not None
        weight, bias = (tensor.numpy() for tensor in head)
        videos = encoder.encode_segments([frames @ weight.T + bias for frames in validation.features])
        return self.validation.sentences @ videos.T

    def ranks(self, scores: Scores) -> Ids:
        """(M,), from 1."""
        return ranks(scores, self.validation.owners)


def fused(one: Scores, other: Scores, *, k: float) -> Scores:
    """(M, N): the sum of 1 / (k + rank) in both rankings of each sentence (Cormack et al., 2009); ties as in one."""
    first, second = (np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1) + 1.0 for scores in (one, other))
    return np.asarray(1 / (k + first) + 1 / (k + second) - 1e-9 * first)


def averaged(models: list[CezsarModel]) -> CezsarModel:
    """The first, with the mean of all their weights; memories are the same in all."""
    with torch.no_grad():
        for name, value in models[0].named_parameters():
            value.copy_(torch.stack([dict(model.named_parameters())[name] for model in models]).mean(dim=0))
    return models[0]


def row(name: str, found: list[Retrieval]) -> str:
    """A line of the table."""

    def cell(values: list[float], scale: float = 100) -> str:
        said = f"{scale * np.mean(values):.1f}"
        return said if len(values) == 1 else f"{said} ± {scale * np.std(values, ddof=1):.1f}"

    cells = [
        cell([one.recall_1 for one in found]),
        cell([one.recall_5 for one in found]),
        cell([one.recall_10 for one in found]),
        cell([one.median_rank for one in found], 1),
        cell([one.mean_rank for one in found], 1),
    ]
    return f"| {name} | {' | '.join(cells)} |"


def bootstrap(ours: list[Ids], theirs: Ids, owners: Ids, rounds: int = 2000) -> str:
    """Ratios of recall@1 and of median rank, the videos drawn anew with their sentences; 95% intervals."""
    generator, places = np.random.default_rng(0), [np.flatnonzero(owners == video) for video in range(owners.max() + 1)]
    recalls, medians = [], []
    for _ in range(rounds):
        chosen = np.concatenate([places[video] for video in generator.integers(len(places), size=len(places))])
        recalls.append(np.mean([np.mean(one[chosen] == 1) for one in ours]) / np.mean(theirs[chosen] == 1))
        medians.append(np.mean([np.median(one[chosen]) for one in ours]) / np.median(theirs[chosen]))
    said = [
        f"{name} {point:.2f} ({np.percentile(values, 2.5):.2f} to {np.percentile(values, 97.5):.2f})"
        for name, point, values in (
            ("recall@1", np.mean([np.mean(one == 1) for one in ours]) / np.mean(theirs == 1), recalls),
            ("median rank", np.mean([np.median(one) for one in ours]) / np.median(theirs), medians),
        )
    ]
    return f"as shipped over lite-objects, ratios with 95% intervals: {', '.join(said)}"


def main() -> None:
    """Print the table, a line an idea, and the bootstrap."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path(".features"))
    parser.add_argument("--model", help="one that was trained so, in place of training the shipped recipe")
    parser.add_argument("--only", default="", help="ideas whose name contains one of these words, by commas")
    asked = parser.parse_args()
    lab = Lab(asked.data, asked.cache)
    chosen = [idea for idea in ideas() if any(word in idea.name for word in asked.only.split(","))]
    print(f"trained on {len(lab.training)} segments, {len(lab.validation)} kept out, {asked.seeds} seeds\n")
    print("| idea | recall@1 % | @5 | @10 | median rank | mean rank |\n|---|---|---|---|---|---|")
    objects, before, shipped = None, None, list[Ids]()
    if any(word in _OBJECTS for word in asked.only.split(",")):  # it has frame features of its own
        objects = lab.objects()
        before = lab.ranks(objects)
        print(row(_OBJECTS, [retrieval(before)]), flush=True)
    for idea in chosen:
        if asked.model and idea.name == _SHIPPED:
            models = [load_model(asked.model)]
        else:
            models = [lab.train(idea, seed) for seed in range(1 if idea.in_closed_form else asked.seeds)]
        scores = [lab.scores(model, idea) for model in models]
        print(row(idea.name, [retrieval(lab.ranks(one)) for one in scores]), flush=True)
        if idea.name == _SHIPPED:
            shipped = [lab.ranks(one) for one in scores]
            if objects is not None:
                for k in _CONSTANTS:
                    both = [retrieval(lab.ranks(fused(one, objects, k=k))) for one in scores]
                    print(row(f"fused with {_OBJECTS}, k = {k}", both), flush=True)
            print(row("scores of all seeds averaged", [retrieval(lab.ranks(np.mean(scores, axis=0)))]))
            print(row("weights of all seeds averaged", [retrieval(lab.ranks(lab.scores(averaged(models), idea)))]))
    if shipped and before is not None:
        print(f"\n{bootstrap(shipped, before, lab.validation.owners)}")


if __name__ == "__main__":
    main()
