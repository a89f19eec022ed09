"""CEZSAR in mteb, as tests that test_mteb.py runs in a process of their own: its mock tasks, and a local one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mteb
import numpy as np
import pytest
from click.testing import CliRunner
from datasets import Dataset, DatasetDict, Video
from make_videos import write_video
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.abstasks.zeroshot_classification import AbsTaskZeroShotClassification
from mteb.mocks.mock_tasks.classification import MockVideoClassification
from mteb.mocks.mock_tasks.clustering import MockVideoClusteringTask
from mteb.mocks.mock_tasks.pair_classification import MockVideoPairClassificationTask
from mteb.mocks.mock_tasks.retrieval import MockVideoRetrievalT2V, MockVideoRetrievalV2T
from mteb.mocks.mock_tasks.zeroshot_classification import MockVideoZeroshotClassificationTask
from mteb.models.models_protocols import EncoderProtocol, SearchProtocol
from mteb.types import PromptType

from cezsar.cli import cli
from cezsar.errors import BenchmarkError
from cezsar.eval.mteb import Encoder, Index, training_datasets
from cezsar.types import Sampling

MOCKS = [
    MockVideoZeroshotClassificationTask, MockVideoRetrievalT2V, MockVideoRetrievalV2T, MockVideoClassification,
    MockVideoClusteringTask, MockVideoPairClassificationTask,
]  # fmt: skip


def _score(model: Any, task: Any) -> float:
    (result,) = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False).task_results
    return float(result.get_score())


def test_both_keep_mteb_s_protocols(tmp_path: Path) -> None:
    assert isinstance(Encoder("toy"), EncoderProtocol)
    index = Index(tmp_path, model="toy")
    assert isinstance(index, SearchProtocol)
    assert not isinstance(index, EncoderProtocol)
    meta = index.mteb_model_meta
    assert (meta.name, meta.embed_dim, meta.modalities) == ("cezsar/toy", 8, ["text", "video"])
    assert meta == Encoder("toy").mteb_model_meta


@pytest.mark.filterwarnings("ignore:Precision is ill-defined")  # scikit-learn's, of a class that nothing is taken for
@pytest.mark.parametrize("task", MOCKS)
def test_an_encoder_runs_the_mock_tasks_of_videos(task: Callable[[], Any]) -> None:
    assert 0.0 <= _score(Encoder("toy"), task()) <= 1.0


def test_an_index_runs_the_mock_task_of_text_to_video(tmp_path: Path) -> None:
    assert 0.0 <= _score(Index(tmp_path, model="toy"), MockVideoRetrievalT2V()) <= 1.0


def test_an_index_refuses_what_it_is_not_for(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="An index holds videos, and mteb's corpus has id, modality, text"):
        _score(Index(tmp_path, model="toy"), MockVideoRetrievalV2T())


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("colours")
    return {name: write_video(folder / f"{name}.mp4", [(name, 2.0)]) for name in ("red", "green", "blue")}


def _corpus(colours: dict[str, Path]) -> Dataset:
    rows = {"id": [f"the {name} one" for name in colours], "video": [str(path) for path in colours.values()]}
    return Dataset.from_dict(rows).cast_column("video", Video())


def test_an_index_answers_with_the_documents_ids_best_first(colours: dict[str, Path], tmp_path: Path) -> None:
    index = Index(tmp_path, model="toy")
    index.index(_corpus(colours))
    queries = Dataset.from_dict({"id": ["q1", "q2"], "text": ["green", "blue"]})

    found = index.search(queries, top_k=2)
    assert [next(iter(found[one])) for one in ("q1", "q2")] == ["the green one", "the blue one"]
    assert found["q1"]["the green one"] == pytest.approx(1.0)
    assert [len(one) for one in found.values()] == [2, 2]
    among = index.search(queries, top_k=2, top_ranked={"q1": ["the red one"], "q2": ["the red one", "the blue one"]})
    assert {one: list(hits) for one, hits in among.items()} == {
        "q1": ["the red one"], "q2": ["the blue one", "the red one"],
    }  # fmt: skip


def test_a_video_that_cannot_be_read_counts_and_is_named(
    colours: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    loader = mteb._create_dataloaders.create_dataloader(
        _corpus({"red": colours["red"], "broken": broken}),
        task_metadata=MockVideoRetrievalT2V.metadata,
        prompt_type=PromptType.document,
    )
    rows = Encoder("toy").encode(loader)
    assert np.linalg.norm(rows, axis=1).tolist() == [1.0, 0.0]
    assert "A video of the task cannot be read" in caplog.text


def test_training_datasets_are_told_truly() -> None:
    names = {task.metadata.name for task in mteb.get_tasks(exclude_superseded=False)}
    of_msr_vtt = {name for name in names if name.startswith("MSRVTT")}
    lite, objects = training_datasets("lite"), training_datasets("lite-objects")
    assert lite is not None
    assert objects is not None
    assert of_msr_vtt <= lite  # they are void for it
    assert not of_msr_vtt & objects
    assert {"Imagenet1k", "Imagenet1kZeroShot"} <= objects & lite & names
    assert training_datasets("toy") == set()
    assert training_datasets("/some/folder") is None
    assert training_datasets("st:somebody/something@v1,dim=8") is None


# Against `cezsar benchmark`


class _Folder(AbsTaskZeroShotClassification):
    """A folder of class folders as a task."""

    input_column_name = "video"
    label_column_name = "label"
    metadata = TaskMetadata(
        name="CezsarFolder", description="A folder with a folder per class.", type="VideoZeroshotClassification",
        category="v2c", modalities=["video", "text"], eval_splits=["test"], eval_langs=["eng-Latn"],
        main_score="accuracy", dataset={"path": "local", "revision": "1"}, reference=None, date=None, domains=None,
        task_subtypes=None, license=None, annotations_creators=None, dialect=None, sample_creation=None,
        bibtex_citation=None,
    )  # fmt: skip

    def __init__(self, root: Path, sentences: dict[str, str]) -> None:
        super().__init__()
        self._sentences = list(sentences.values())
        clips = [(path, number) for number, label in enumerate(sentences) for path in _clips(root / label)]
        rows = {"video": [str(path) for path, _ in clips], "label": [number for _, number in clips]}
        self.dataset = DatasetDict({"test": Dataset.from_dict(rows).cast_column("video", Video())})
        self.data_loaded = True

    def load_data(self, **_: Any) -> None:
        """It is there."""

    def get_candidate_labels(self) -> list[str]:
        return self._sentences


def _clips(folder: Path) -> list[Path]:
    """Of files that differ in their suffix alone the first, as `cezsar benchmark` counts them."""
    firsts = {path.stem: path for path in sorted(folder.iterdir(), reverse=True)}
    return sorted(firsts.values())


def _by_benchmark(root: Path, sentences: dict[str, str], tmp_path: Path, *options: str) -> float:
    said = tmp_path / "sentences.json"
    said.write_text(json.dumps({label: [text] for label, text in sentences.items()}))
    words = [
        "benchmark",
        "folder",
        "--root",
        str(root),
        "--sentences",
        str(said),
        "--raw",
        "--index",
        str(tmp_path / "i"),
    ]
    told = CliRunner().invoke(cli, [*words, "--json", *options])
    assert told.exit_code == 0, told.output
    return float(json.loads(told.stdout)["tasks"][0]["top_1"]["value"])


def test_a_local_task_gives_what_benchmark_gives(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for label, first in (("red", "red"), ("blue", "blue"), ("green", "red")):  # a green one that is mostly red
        (root / label).mkdir(parents=True)
        write_video(root / label / "a.mp4", [(first, 3.0), (label, 2.0)])
        write_video(root / label / "b.mp4", [(label, 2.0)])
    sentences = {"blue": "a blue screen is all there is", "green": "it is green here", "red": "it is red here"}
    theirs = _score(Encoder("toy"), _Folder(root, sentences))
    assert theirs == pytest.approx(5 / 6)
    assert theirs == _by_benchmark(root, sentences, tmp_path, "--model", "toy")


@pytest.mark.real
def test_the_task_of_ucf101_gives_what_benchmark_gives_to_the_digit(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = real_data / "ucf101"
    sampling = Sampling(fps=0.5)  # half as many frames as by default take half as long
    monkeypatch.setenv("CEZSAR_FPS", "0.5")
    sentences = {
        folder.name: f"a person is doing {folder.name}" for folder in sorted(root.iterdir()) if folder.is_dir()
    }
    assert len(sentences) == 11
    theirs = _score(Encoder("lite", device="cpu", sampling=sampling), _Folder(root, sentences))
    assert theirs == _by_benchmark(root, sentences, tmp_path, "--model", "lite")
    assert theirs > 0.5
