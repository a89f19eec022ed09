"""CEZSAR in mteb (MVEB is its part of videos): an encoder as its EncoderProtocol, an index as its SearchProtocol."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mteb
import numpy as np
import torch
from datasets import Video
from mteb.models.model_implementations import MODEL_REGISTRY
from mteb.models.model_meta import ModelMeta, ScoringFunction

from cezsar import encoders, indexer, settings
from cezsar.errors import BenchmarkError, VideoError
from cezsar.query import Filters, Searcher
from cezsar.types import EncoderIdentity, Vectors, unit
from cezsar.video import Pool

if TYPE_CHECKING:
    from cezsar.types import Sampling

# what the default encoder was trained on, in mteb's names, in whichever form it asks for it
_MSR_VTT = frozenset({
    "MSRVTTV2T", "MSRVTTT2V", "MSRVTTVA2T", "MSRVTTT2VA", "MSRVTTV2A", "MSRVTTA2V", "MSRVTTVT2A", "MSRVTTAT2V",
})  # fmt: skip
_IMAGENET = frozenset({
    "Imagenet1k", "Imagenet1kZeroShot", "ImageNet10Clustering", "ImageNetDog15Clustering", "TinyImageNetClustering",
})  # fmt: skip
_SENTENCES = "sentence-transformers/all-MiniLM-L6-v2"
_MOST_HITS = 1_000_000
_logger = logging.getLogger(__name__)


class Encoder:
    """An encoder as mteb's EncoderProtocol: texts, videos, or both at once.

    name is as for --model; revision, of the hub, is put behind it. A video's vector is the unit mean of its segments',
    as `cezsar benchmark` has it. Raises EncoderError.
    """

    def __init__(
        self,
        model_name: str,
        revision: str | None = None,
        *,
        device: str | None = None,
        sampling: Sampling | None = None,
        **_options: Any,
    ) -> None:
        name = f"{model_name}@{revision}" if revision else model_name
        self._encoder = encoders.load(name, device=device or "auto")
        self._sampling = sampling or encoders.own_sampling(self._encoder)

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """What mteb records of the model; training_datasets is None if they are not known."""
        return _meta(self._encoder.identity)

    def encode(self, inputs: Any, **_options: Any) -> Vectors:
        """(N, D) unit vectors of a DataLoader's rows; of a row with a text and a video, their mean."""
        columns = set(inputs.dataset.column_names)
        found = [self._videos(inputs.dataset)] if "video" in columns else []
        if "text" in columns:
            found.append(self._texts(inputs.dataset["text"]))
        if not found:
            raise BenchmarkError(f"mteb asks for {', '.join(sorted(columns))}: only texts and videos are encoded.")
        return unit(np.mean(found, axis=0, dtype=np.float32)) if len(found) > 1 else found[0]

    def similarity(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """(N, D), (M, D) -> (N, M): cosines, since the vectors are unit."""
        rows, columns = (_tensor(one).reshape(-1, np.shape(one)[-1]) for one in (embeddings1, embeddings2))
        return rows @ columns.T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """(N, D), (N, D) -> (N,)."""
        return (_tensor(embeddings1) * _tensor(embeddings2)).sum(dim=-1)

    def _texts(self, texts: Sequence[str]) -> Vectors:
        vectors = self._encoder.encode_texts(list(texts))
        return encoders.sound(vectors, len(texts), self._encoder.identity)

    def _videos(self, rows: Any) -> Vectors:
        with Pool() as pool:
            vectors = [self._video(row, pool) for row in _undecoded(rows)]
        return np.stack(vectors) if vectors else np.empty((0, self._encoder.identity.dimension), np.float32)

    def _video(self, row: dict[str, Any], pool: Pool) -> Vectors:
        with _file(row["video"]) as path:
            try:
                embedding = indexer.embed(path, self._encoder, self._sampling, pool=pool)
            except VideoError as error:  # it counts, as what can never be right
                _logger.warning("A video of the task cannot be read: %s", error)
                return np.zeros(self._encoder.identity.dimension, np.float32)
        (vector,) = unit(embedding.vectors.mean(axis=0)[None])
        return np.asarray(vector, np.float32)


class Index:
    """An index as mteb's SearchProtocol: it indexes the corpus of a task under folder, and answers its questions.

    Videos are the documents, and texts the questions; a document's score is its best moment's, as `cezsar query` has
    it. model is as for --model; fps, window_s and stride_s as for `cezsar index`.
    """

    def __init__(
        self, folder: Path, *, model: str | None = None, device: str | None = None, **sampling: float | None
    ) -> None:
        self._folder, self._asked = folder, {"model": model, "device": device, **sampling}
        self._number = 0
        self._documents: dict[Path, str] = {}
        self._identity: EncoderIdentity | None = None

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """What mteb records of the model; training_datasets is None if they are not known."""
        if self._identity is None:
            self._identity = encoders.load(self._settings.model or "lite", device=self._settings.device).identity
        return _meta(self._identity)

    def index(self, corpus: Any, **_options: Any) -> None:
        """Write the corpus's videos to files, and index them. Raises BenchmarkError if it has none; BadIndex."""
        if "video" not in corpus.column_names:
            raise BenchmarkError(
                f"An index holds videos, and mteb's corpus has {', '.join(sorted(corpus.column_names))}."
            )
        self._number += 1
        videos = self._folder / f"videos-{self._number}"
        videos.mkdir(parents=True)
        self._documents = {}
        for number, row in enumerate(_undecoded(corpus)):
            path = videos.resolve() / f"{number:06d}{_suffix(row['video'])}"
            with _file(row["video"]) as source:
                path.write_bytes(source.read_bytes())
            self._documents[path] = str(row["id"])
        report = indexer.index([videos], self._settings)
        for skipped in report.skipped:
            _logger.warning("The document %s cannot be read: %s", self._documents[skipped.path], skipped.reason)

    def search(
        self, queries: Any, *, top_k: int, top_ranked: dict[str, list[str]] | None = None, **_options: Any
    ) -> dict[str, dict[str, float]]:
        """{query: {document: score}}, at most top_k each; with top_ranked only among those."""
        if "text" not in queries.column_names:
            raise BenchmarkError(
                f"An index answers texts, and mteb's queries have {', '.join(sorted(queries.column_names))}."
            )
        filters = Filters(top_k=_MOST_HITS if top_ranked else top_k, all_copies=True)
        with Searcher(self._settings.index, device=self._settings.device) as searcher:
            return {
                str(row["id"]): self._answered(searcher, row["text"], filters, (top_ranked or {}).get(row["id"]), top_k)
                for row in queries.select_columns(["id", "text"])
            }

    def _answered(
        self, searcher: Searcher, text: str, filters: Filters, among: list[str] | None, top_k: int
    ) -> dict[str, float]:
        hits = [(self._documents[hit.path], hit.score) for hit in searcher.search(text, filters=filters)]
        return dict([one for one in hits if among is None or one[0] in among][:top_k])

    @property
    def _settings(self) -> settings.Settings:
        return settings.load(environ={}, index=self._folder / f"index-{self._number}", **self._asked)


def training_datasets(name: str) -> set[str] | None:
    """The tasks of mteb that an encoder was trained on, in mteb's names: they are void for it. None if not known.

    lite was trained on MSR-VTT's captions, on top of networks of ImageNet-1k and of a sentence encoder.
    """
    if name == "toy":
        return set()
    if name in ("lite", "lite-objects"):
        of_sentences = MODEL_REGISTRY[_SENTENCES].training_datasets or set()
        return {*of_sentences, *_IMAGENET, *(_MSR_VTT if name == "lite" else ())}
    known = MODEL_REGISTRY.get(name.removeprefix("st:").partition("@")[0].partition(",")[0])
    return None if known is None or known.training_datasets is None else set(known.training_datasets)


def _meta(identity: EncoderIdentity) -> ModelMeta:
    shown, _ = encoders.brief(identity.name)
    return ModelMeta(
        loader=None,
        name=shown if "/" in shown else f"cezsar/{shown}",
        revision=identity.weights_sha256[:40],
        release_date=None,
        languages=None,
        n_parameters=None,
        memory_usage_mb=None,
        max_tokens=None,
        embed_dim=identity.dimension,
        license=None,
        open_weights=True,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"],
        similarity_fn_name=ScoringFunction.COSINE,
        use_instructions=False,
        training_datasets=training_datasets(identity.name),
        modalities=["text", "video"],
    )


def _undecoded(rows: Any) -> Any:
    """The rows with their videos as files or bytes: mteb's own decoder would need torchcodec."""
    return rows.cast_column("video", Video(decode=False))


@contextmanager
def _file(video: dict[str, Any]) -> Iterator[Path]:
    """The file of a video, for a while."""
    if video.get("bytes") is None:
        yield Path(video["path"])
        return
    with tempfile.TemporaryDirectory(prefix="cezsar-") as folder:
        path = Path(folder) / f"video{_suffix(video)}"
        path.write_bytes(video["bytes"])
        yield path


def _suffix(video: dict[str, Any]) -> str:
    """The suffix of a video's file; MP4's if it has no name, since what is in it is what counts."""
    return os.path.splitext(video.get("path") or "")[1] or ".mp4"


def _tensor(rows: Any) -> torch.Tensor:
    return torch.as_tensor(rows, dtype=torch.float32)


__all__ = ["Encoder", "Index", "mteb", "training_datasets"]
