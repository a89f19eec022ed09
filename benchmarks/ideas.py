"""What each idea for training gives: python benchmarks/ideas.py DATA [--seeds 3] [--cache .features] [--only WORDS].

DATA holds msrvtt_sparse/captions.jsonl and msrvtt_pairs/captions.jsonl with their videos. Every idea is trained on the
videos that are not kept out, as `make train-lite` does, with several seeds; every sentence of the kept-out videos then
looks for its video among them. The table gives the last epoch's figures, mean and standard deviation over the seeds:
nothing is chosen by them within a run. A paired bootstrap over the kept-out videos compares the shipped
recipe with `lite-objects`.
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

from cezsar.encoders.images import EMBEDDED_IMAGES, Backbone, load_backbone
from cezsar.encoders.lite_objects import LiteObjects
from cezsar.encoders.sentences import SentenceEncoder
from cezsar.features import embed_sentences
from cezsar.metrics import Retrieval, ranks, retrieval
from cezsar.model import CezsarModel
from cezsar.pairs import Rejected
from cezsar.training import RECIPES, Request, Split
from cezsar.training.examples import ALSO, MAIN, Examples
from cezsar.training.loop import fit
from cezsar.training.pipeline import gather, prepare
from cezsar.training.run import Run
from cezsar.training.validation import encode
from cezsar.types import Ids, Vectors, unit

CPU = torch.device("cpu")
_SHIPPED = "**as shipped**"
Scores = NDArray[np.floating]
Change = Callable[[Examples], Examples]
Correction = Callable[[Scores, Scores], Scores]  # of (M, N) scores, given (B, N) those of the training sentences


@dataclass(frozen=True)
class Idea:
    """How it differs from the shipped recipe: in the model, the recipe, the examples, or when it is asked."""

    name: str
    model: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    change: Change | None = None
    correction: Correction | None = None
    streams: str | None = None


def halved(examples: Examples) -> Examples:
    """Every second footage."""
    return examples.where(examples.sources % 2 == 0)


def without_also(examples: Examples) -> Examples:
    """Without the noisier rows."""
    return examples.where(examples.corpora == MAIN)


def equal(examples: Examples) -> Examples:
    """The noisier rows counted like the others."""
    return replace(examples, corpora=np.full_like(examples.corpora, MAIN))


def csls(scores: Scores, bank: Scores) -> Scores:
    """Cross-domain similarity local scaling (Conneau et al., 2018), neighbours from the training sentences."""
    return 2 * scores - np.sort(bank, axis=0)[-10:].mean(axis=0)


def inverted_softmax(scores: Scores, bank: Scores) -> Scores:
    """Half of an inverted softmax (Smith et al., 2017) at temperature 0.1, normalised by the training sentences."""
    return scores - 0.5 * 0.1 * np.log(np.exp(bank / 0.1).mean(axis=0))


def with_objects(backbone: Backbone, encoder: SentenceEncoder, cache: Path) -> Change:
    """The classifier's rows as noisier pseudo-videos of its objects' names and definitions."""
    head, said = backbone.head(), backbone.objects()
    assert head is not None
    rows, sentences = head[0].numpy(), embed_sentences(cache, encoder, said)

    def change(examples: Examples) -> Examples:
        means = examples.means()
        centre, length = means.mean(axis=0), np.linalg.norm(means - means.mean(axis=0), axis=1).mean()
        made = centre + length * unit(rows)
        first, count = len(examples.source_names), len(said)
        return Examples(
            [*examples.features, *(row[None].astype(np.float32) for row in made)],
            np.concatenate([examples.sources, np.arange(first, first + count)]),
            [*examples.source_names, *(f"object {number}" for number in range(count))],
            np.concatenate([examples.corpora, np.full(count, ALSO)]),
            np.concatenate([examples.sentences, sentences]),
            np.concatenate([examples.owners, len(examples) + np.arange(count)]),
        )

    return change


def ideas(objects: Change) -> Iterator[Idea]:
    """All of them; the first is the shipped recipe."""
    yield Idea(_SHIPPED)
    yield Idea("closed-form start alone", recipe={"learning_rate": 1e-12})
    yield Idea("no pull to the start", recipe={"anchor": 0.0})
    yield Idea("pull to the start x 10", recipe={"anchor": 1.0})
    yield Idea("loss: triplet, in-batch", recipe={"loss": "triplet"})
    yield Idea("loss: InfoNCE + triplet", recipe={"loss": "both"})
    yield Idea("negatives: semi-hard triplet", recipe={"loss": "triplet", "negatives": "semi-hard"})
    yield Idea("negatives: band 0-0.8, triplet (the paper's)", recipe={"loss": "triplet", "negatives": "band"})
    yield Idea("negatives: band 0-0.8, InfoNCE", recipe={"negatives": "band"})
    yield Idea("negatives: band 0-0.5, InfoNCE", recipe={"negatives": "band", "band_high": 0.5})
    yield Idea("negatives: band 0.3-0.8, InfoNCE", recipe={"negatives": "band", "band_low": 0.3})
    yield Idea("object sentences as positives", recipe={"object_positives": True})
    yield Idea("classifier rows as pseudo-videos", change=objects)
    yield Idea("joint size 128", model={"joint_dim": 128})
    yield Idea("joint size 1024", model={"joint_dim": 1024})
    for weight in (0.5, 0.8):
        yield Idea(f"fusion: visual weight {weight}", model={"visual_weight": weight})
    yield Idea("fusion: visual stream alone", model={"streams": "visual"})
    yield Idea("fusion: trained together, asked visually", streams="visual")
    yield Idea("fusion: trained together, asked by objects", streams="object")
    yield Idea("frame dropout 0.5", recipe={"frame_dropout": 0.5})
    yield Idea("transformer path beside the memory", model={"d_model": 256})
    yield Idea("transformer path alone (the paper's tower)", model={"d_model": 512, "num_memories": 0})
    yield Idea("256 memories", model={"num_memories": 256})
    yield Idea("without the noisier pairs", change=without_also)
    yield Idea("the noisier pairs counted fully", change=equal)
    yield Idea("half of the videos", change=halved)
    yield Idea("hubness: CSLS when asked", correction=csls)
    yield Idea("hubness: inverted softmax when asked", correction=inverted_softmax)


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
            also=(str(data / "msrvtt_pairs/captions.jsonl"),),
            videos=None,
            cache=str(cache),
            preset="lite",
            model={},
            recipe=RECIPES["lite"],
            split=Split(seed=0, share=0.44),
        )
        self.backbone, self.encoder = load_backbone(EMBEDDED_IMAGES, CPU), SentenceEncoder(CPU)
        examples, _ = gather(self.request, self.backbone, self.encoder, _Silent())
        self.training, self.validation = self.request.split.apply(examples)

    def train(self, idea: Idea, seed: int) -> CezsarModel:
        """The model of the last epoch."""
        recipe = replace(self.request.recipe, seed=seed, **idea.recipe)
        request = replace(self.request, model=idea.model, recipe=recipe)
        training = self.training if idea.change is None else idea.change(self.training)
        nothing = self.validation.where(np.zeros(len(self.validation), bool))
        with tempfile.TemporaryDirectory() as folder:
            model, material = prepare(request, self.backbone, self.encoder, training, nothing)
            fit(model, material, recipe, Run(Path(folder) / "run"), save_every_s=1e9)
        return model.eval().cpu()

    def scores(self, model: CezsarModel, idea: Idea) -> Scores:
        """(M, N) of the kept-out sentences and videos."""
        videos = encode(model, self.validation.features, streams=idea.streams)
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
        encoder, head = LiteObjects(CPU), self.backbone.head()
        assert head is not None
        weight, bias = (tensor.numpy() for tensor in head)
        videos = encoder.encode_segments([frames @ weight.T + bias for frames in self.validation.features])
        return self.validation.sentences @ videos.T

    def ranks(self, scores: Scores) -> Ids:
        """(M,), from 1."""
        return ranks(scores, self.validation.owners)


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
    parser.add_argument("--only", default="", help="ideas whose name contains one of these words, by commas")
    asked = parser.parse_args()
    lab = Lab(asked.data, asked.cache)
    objects = with_objects(lab.backbone, lab.encoder, asked.cache)
    chosen = [idea for idea in ideas(objects) if any(word in idea.name for word in asked.only.split(","))]
    print(f"trained on {len(lab.training)} segments, {len(lab.validation)} kept out, {asked.seeds} seeds\n")
    print("| idea | recall@1 % | @5 | @10 | median rank | mean rank |\n|---|---|---|---|---|---|")
    before = lab.ranks(lab.objects())
    print(row("`lite-objects`", [retrieval(before)]), flush=True)
    shipped: list[Ids] = []
    for idea in chosen:
        models = [lab.train(idea, seed) for seed in range(asked.seeds)]
        scores = [lab.scores(model, idea) for model in models]
        print(row(idea.name, [retrieval(lab.ranks(one)) for one in scores]), flush=True)
        if idea.name == _SHIPPED:
            shipped = [lab.ranks(one) for one in scores]
            print(row("scores of all seeds averaged", [retrieval(lab.ranks(np.mean(scores, axis=0)))]))
            print(row("weights of all seeds averaged", [retrieval(lab.ranks(lab.scores(averaged(models), idea)))]))
    if shipped:
        print(f"\n{bootstrap(shipped, before, lab.validation.owners)}")


if __name__ == "__main__":
    main()
