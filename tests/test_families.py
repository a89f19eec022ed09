"""Every family of encoders from the command line, and what open_clip and sentence-transformers promise of their own."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from click.testing import CliRunner, Result
from make_models import DIMENSION, NUM_TOKENS, WRITERS
from make_videos import write_video
from PIL import Image
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from starlette.testclient import TestClient

from cezsar import encoders
from cezsar.cli import cli
from cezsar.encoders import prefixed
from cezsar.errors import EncoderError
from cezsar.server import Access, create_app
from cezsar.server.engine import Engine
from cezsar.server.media import Media
from cezsar.types import unit

ROUNDING = 1e-4
FAMILIES = {
    "clip": "", "siglip2": "", "xclip": "", "videoprism": "", "open_clip": "open_clip:", "st-images": "st:",
    "st-video": "st:",
}  # fmt: skip

Checkpoint = Callable[[str], Path]


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [os.fspath(word) if isinstance(word, Path) else str(word) for word in words])


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("colours")
    for name in ("red", "blue"):
        write_video(folder / f"{name}.mp4", [(name, 2.0)])
    return folder


def _frames(count: int, height: int = 32, width: int = 43) -> np.ndarray:
    """(count, 3, height, width) coarse noise."""
    cells = np.random.default_rng(count).integers(0, 256, (count, 3, 4, 4), dtype=np.uint8)
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    return np.ascontiguousarray(cells[:, :, rows][..., columns])


# What is installed


def _cached(folder: Path, repository: str, source: Path, ref: str = "main", commit: str = "0" * 40) -> None:
    place = folder / f"models--{repository.replace('/', '--')}"
    shutil.copytree(source, place / "snapshots" / commit)
    (place / "refs").mkdir(parents=True, exist_ok=True)
    (place / "refs" / ref).write_text(commit)
    (place / "blobs").mkdir(exist_ok=True)


def test_models_that_are_on_this_machine_are_listed_by_the_names_that_load_them(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert document(run("models", "--installed", "--json")) == []
    _cached(tmp_path, "tests/clip", checkpoint("clip"))
    _cached(tmp_path, "tests/clip", checkpoint("clip"), "v1", "1" * 40)
    _cached(tmp_path, "tests/prism", checkpoint("videoprism"))
    _cached(tmp_path, "tests/qwen", checkpoint("st-video"))
    _cached(tmp_path, "tests/open", checkpoint("open_clip"))
    _cached(tmp_path, "tests/reader", checkpoint("bert"))

    found = document(run("models", "--installed", "--json"))
    assert [(one["name"], one["family"]) for one in found] == [
        (f"open_clip:{tmp_path}/models--tests--open/snapshots/{'0' * 40}", "open_clip"),
        ("st:tests/qwen", "sentence-transformers"),
        ("tests/clip", "clip"),
        ("tests/clip@v1", "clip"),
        ("tests/prism", "videoprism"),
    ]
    for one in found:
        assert encoders.load(one["name"], device="cpu").identity.name == one["name"]
        assert one["bytes"] > 10_000
    told = run("models", "--installed").stdout
    assert told.startswith("Always here: lite, lite-objects, toy")
    assert " MB  videoprism            tests/prism\n" in told


# From the command line


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_family_indexes_answers_classifies_serves_and_is_left_for_another(
    kind: str, checkpoint: Checkpoint, colours: Path, tmp_path: Path
) -> None:
    name, index = FAMILIES[kind] + str(checkpoint(kind)), tmp_path / "index"
    made = document(run("index", colours, "--model", name, "--index", index, "--json"))
    assert (made["model"], made["added"], made["segments"], made["skipped"]) == (name, 2, 2, [])

    asked = document(run("query", "a red dog", "--index", index, "--any", "--json"))
    assert {Path(hit["path"]).name for hit in asked["hits"]} == {"red.mp4", "blue.mp4"}
    labelled = document(run("classify", colours / "red.mp4", "--labels", "red,blue", "--index", index, "--json"))
    assert {one["label"] for one in labelled["videos"][0]["predictions"]} == {"red", "blue"}

    with Engine(index, device="cpu") as engine, Media(index) as media:
        app = create_app(engine, media, Access("127.0.0.1", None))
        with TestClient(app, base_url="http://localhost") as client:
            served = client.get("/api/v1/search", params={"text": "a red dog"}).json()
    scores = [(hit["path"], hit["score"]) for hit in asked["hits"]]
    assert [(hit["path"], hit["score"]) for hit in served["hits"]] == scores

    left = document(run("reembed", "--model", "toy", "--index", index, "--json"))
    assert (left["previous_model"], left["model"]) == (name, "toy")
    back = document(run("reembed", "--model", name, "--index", index, "--json"))
    assert (back["previous_model"], back["model"]) == ("toy", name)
    again = document(run("query", "a red dog", "--index", index, "--any", "--json"))
    assert [(hit["path"], hit["score"]) for hit in again["hits"]] == scores


def test_a_long_question_gets_a_line_that_says_where_it_was_cut(
    checkpoint: Checkpoint, colours: Path, tmp_path: Path
) -> None:
    name = f"open_clip:{checkpoint('open_clip')}"
    assert run("index", colours, "--model", name, "--index", tmp_path / "i").exit_code == 0
    told = run("query", "a red dog " * 20, "--index", tmp_path / "i", "--any")
    assert told.exit_code == 0
    assert f"cezsar: The text is longer than {name} reads" in told.stderr


# Names


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "open_clip:",
            "'open_clip:' is no model of open_clip: open_clip:ARCH/PRETRAINED, open_clip:ARCH@FILE.safetens",
        ),
        ("open_clip:ViT-B-32", "is no model of open_clip"),
        ("open_clip:./nothing", "There is no folder './nothing', which 'open_clip:./nothing' names"),
        ("open_clip:ViT-B-32@nothing.safetensors", "There is no file 'nothing.safetensors', which"),
        ("open_clip:ViT-B-32@weights.pt", "'weights.pt' is not a .safetensors file, the only kind that is opened"),
        ("open_clip:ViT-B-32/no-such", "open_clip knows no weights 'no-such' of ViT-B-32: openai, "),
        ("open_clip:no-such/openai", "open_clip has no architecture 'no-such'"),
        ("st:", "'st:' is no model of sentence-transformers: st:ORG/MODEL"),
        ("st:/no/such", "There is no folder '/no/such', which 'st:/no/such' names"),
        ("st:a/b,dim=0", "is no model of sentence-transformers"),
        ("clip:a/b", "There is no encoder 'clip:a/b'"),
    ],
)
def test_a_name_that_means_nothing_is_refused_without_asking_the_hub(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cezsar.encoders.hub.HfApi", None)
    (tmp_path / "weights.pt").touch()
    with pytest.raises(EncoderError) as error:
        encoders.load(name, device="cpu")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["open_clip", "st-video"])
def test_a_folder_of_another_library_is_told_its_name(kind: str, checkpoint: Checkpoint) -> None:
    folder, prefix = checkpoint(kind), kind.partition("-")[0]
    with pytest.raises(EncoderError) as refused:
        encoders.load(str(folder), device="cpu")
    assert str(refused.value).endswith(f" saved this folder: call it {prefix}:{folder}.")


def test_a_name_is_known_by_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    (tmp_path / "m,dim=8").mkdir()
    (tmp_path / "w.safetensors").touch()
    here = tmp_path.resolve()
    known = {
        "open_clip:m": f"open_clip:{here}/m",
        "open_clip:PE-Core-B-16/meta": "open_clip:PE-Core-B-16/meta",
        "open_clip:PE-Core-B-16@w.safetensors": f"open_clip:PE-Core-B-16@{here}/w.safetensors",
        "open_clip:ViT-B-32/openai@./w.safetensors": f"open_clip:ViT-B-32/openai@{here}/w.safetensors",
        "st:m": f"st:{here}/m",
        "st:m,frames=4,dim=16": f"st:{here}/m,dim=16,frames=4",
        "st:m,dim=8": f"st:{here}/m,dim=8",  # a folder is called so
        "st:Qwen/Qwen3-VL-Embedding-2B@v1,dim=512": "st:Qwen/Qwen3-VL-Embedding-2B@v1,dim=512",
    }
    assert {name: encoders.canonical(name) for name in known} == known
    assert {encoders.canonical(name) for name in known.values()} == set(known.values())


def test_receipts_hold_no_path_of_a_model() -> None:
    assert encoders.brief("lite") == ("lite", False)
    assert encoders.brief("/home/a/m") == ("m", True)
    assert encoders.brief("st:/home/a/m,dim=8") == ("st:m,dim=8", True)
    assert encoders.brief("open_clip:ViT-B-32@/home/a/w.safetensors") == ("open_clip:ViT-B-32@w.safetensors", True)
    assert encoders.brief("org/model@v1") == ("org/model@v1", False)


def test_what_an_index_names_is_not_looked_for_in_the_current_folder(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = encoders.load(f"st:{checkpoint('st-images')}", device="cpu").identity
    assert encoders.load_recorded(identity, device="cpu").identity == identity
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org").mkdir()
    shutil.copytree(checkpoint("st-images"), tmp_path / "org" / "model")
    with pytest.raises(EncoderError, match="'st:org/model', and no encoder can be found by that name"):
        encoders.load_recorded(type(identity)("st:org/model", identity.weights_sha256, DIMENSION, "visual"))


@pytest.mark.parametrize(("prefix", "package"), [("open_clip", "open-clip"), ("st", "st")])
def test_a_library_that_is_not_installed_is_one_line(prefix: str, package: str, tmp_path: Path) -> None:
    blocked = {"open_clip": "open_clip", "st": "sentence_transformers"}[prefix]
    code = (
        f"import sys; sys.modules[{blocked!r}] = None\n"
        "from cezsar import encoders; from cezsar.errors import EncoderError\n"
        f"try: encoders.load('{prefix}:{tmp_path}', device='cpu')\nexcept EncoderError as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert f"`pip install 'cezsar[{package}]'` brings it." in told
    assert told.count("\n") == 1


# open_clip


def _mode(folder: Path, target: Path, **preprocessing: Any) -> Path:
    """A copy of a model's folder with another preprocessing."""
    shutil.copytree(folder, target)
    config = json.loads((target / "open_clip_config.json").read_text())
    config["preprocess_cfg"] |= preprocessing
    (target / "open_clip_config.json").write_text(json.dumps(config))
    return target


@pytest.mark.parametrize("mode", ["squash", "shortest", "longest"])
def test_frames_and_texts_are_those_of_open_clip_alone(mode: str, checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = _mode(checkpoint("open_clip"), tmp_path / "m", resize_mode=mode, mean=[0.4, 0.5, 0.6])
    made = encoders.load(f"open_clip:{folder}", device="cpu")
    model, prepare = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    model.eval()
    frames = _frames(3, 57, 41)
    pictures = torch.stack([prepare(Image.fromarray(frame.transpose(1, 2, 0))) for frame in frames])
    with torch.inference_mode():
        seen = model.encode_image(pictures, normalize=True).numpy()
        read = model.encode_text(open_clip.get_tokenizer(f"local-dir:{folder}")(["a red dog", "?"]), normalize=True)

    found = made.encode_frames(frames)
    assert (found * seen).sum(axis=1).min() > 0.999  # Pillow and torch round pixels apart by one of 255
    np.testing.assert_allclose(made.encode_texts(["a red dog", "?"]), read.numpy(), atol=ROUNDING)


def test_another_preprocessing_of_the_same_weights_is_another_encoder(checkpoint: Checkpoint, tmp_path: Path) -> None:
    other = _mode(checkpoint("open_clip"), tmp_path / "m", mean=[0.1, 0.2, 0.3])
    identities = [encoders.load(f"open_clip:{one}", device="cpu").identity for one in (checkpoint("open_clip"), other)]
    assert identities[0].weights_sha256 != identities[1].weights_sha256


@pytest.fixture
def tiny(checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights of an architecture that open_clip knows as cezsar-tiny, published for two kinds of pictures."""
    config = json.loads((checkpoint("open_clip") / "open_clip_config.json").read_text())
    (tmp_path / "cezsar-tiny.json").write_text(json.dumps(config["model_cfg"]))
    monkeypatch.setattr("open_clip.factory._MODEL_CONFIG_PATHS", [tmp_path])
    monkeypatch.setattr("open_clip.factory._MODEL_CONFIGS", {})
    open_clip.factory._rescan_model_configs()
    wants = {**config["preprocess_cfg"], "url": ""}
    tags = {
        "squashed": {**wants, "hf_hub": "cezsar-tests/tiny/"},
        "cut": {**wants, "resize_mode": "shortest", "hf_hub": "cezsar-tests/tiny/"},
        "pickled": {**wants, "hf_hub": "", "url": "https://example.invalid/weights.pt"},
    }
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "cezsar-tiny", tags)
    return checkpoint("open_clip") / "open_clip_model.safetensors"


def test_an_architecture_with_a_file_is_the_folder_s_model(tiny: Path, checkpoint: Checkpoint) -> None:
    whole = encoders.load(f"open_clip:{checkpoint('open_clip')}", device="cpu")
    named = encoders.load(f"open_clip:cezsar-tiny/squashed@{tiny}", device="cpu")

    assert named.identity.weights_sha256 == whole.identity.weights_sha256
    np.testing.assert_array_equal(named.encode_frames(_frames(2)), whole.encode_frames(_frames(2)))
    cut = encoders.load(f"open_clip:cezsar-tiny/cut@{tiny}", device="cpu")
    assert cut.identity.weights_sha256 != whole.identity.weights_sha256


def test_a_file_whose_preparation_is_not_known_is_refused_until_it_is_named(tiny: Path) -> None:
    with pytest.raises(EncoderError) as error:
        encoders.load(f"open_clip:cezsar-tiny@{tiny}", device="cpu")
    assert "want their pictures prepared in 2 ways" in str(error.value)
    assert "open_clip:cezsar-tiny/PRETRAINED@FILE" in str(error.value)


def test_published_weights_come_from_the_hub_s_cache(
    tiny: Path, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "hub" / "models--cezsar-tests--tiny"
    shutil.copytree(checkpoint("open_clip"), place / "snapshots" / ("0" * 40))
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("cezsar.encoders.hub.HfApi", None)
    made = encoders.load("open_clip:cezsar-tiny/squashed", device="cpu")

    assert made.identity.name == "open_clip:cezsar-tiny/squashed"
    whole = encoders.load(f"open_clip:{checkpoint('open_clip')}", device="cpu")
    assert made.identity.weights_sha256 == whole.identity.weights_sha256
    assert encoders.load_recorded(made.identity, device="cpu").identity == made.identity


def test_published_weights_that_cannot_be_had_say_why(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network here")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", refuse)
    with pytest.raises(
        EncoderError, match="'open_clip:cezsar-tiny/squashed' could not be fetched: the model hub cannot"
    ):
        encoders.load("open_clip:cezsar-tiny/squashed", device="cpu")
    with pytest.raises(EncoderError, match="'open_clip:cezsar-tiny/pickled' is published as a pickle alone"):
        encoders.load("open_clip:cezsar-tiny/pickled", device="cpu")
    recorded = encoders.load(f"open_clip:{tiny.parent}", device="cpu").identity
    with pytest.raises(EncoderError, match=r"is not on this machine: `hf download cezsar-tests/tiny open_clip_model\."):
        encoders.load_recorded(type(recorded)("open_clip:cezsar-tiny/squashed", "0" * 64, DIMENSION, "visual"))


class _Trap:
    """Pickled, it makes a folder when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.marker),))


def test_pickles_of_open_clip_are_never_opened(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint("open_clip"), tmp_path / "m")
    (folder / "open_clip_pytorch_model.bin").write_bytes(pickle.dumps(_Trap(tmp_path / "was read")))
    (folder / "open_clip_model.safetensors").rename(folder / "model.safetensors")  # open_clip would take the pickle
    both = encoders.load(f"open_clip:{folder}", device="cpu")
    whole = encoders.load(f"open_clip:{checkpoint('open_clip')}", device="cpu")
    assert both.identity.weights_sha256 == whole.identity.weights_sha256

    (folder / "model.safetensors").unlink()
    with pytest.raises(EncoderError, match=r"holds no safetensors: .* was looked for, and pickles are never opened"):
        encoders.load(f"open_clip:{folder}", device="cpu")
    assert not (tmp_path / "was read").exists()


def _spoil(folder: Path, how: str) -> None:
    config, weights = folder / "open_clip_config.json", folder / "open_clip_model.safetensors"
    if how == "no config":
        config.unlink()
    elif how == "broken config":
        config.write_text("{")
    elif how == "cut short":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif how == "a tensor missing":
        save_file({name: one for name, one in load_file(weights).items() if name != "text_projection"}, weights)
    else:
        content = json.loads(config.read_text())
        content["model_cfg"]["text_cfg"] |= {"hf_tokenizer_name": "x", "tokenizer_kwargs": {"trust_remote_code": True}}
        config.write_text(json.dumps(content))


@pytest.mark.parametrize("how", ["no config", "broken config", "cut short", "a tensor missing", "wants code"])
def test_a_spoilt_folder_of_open_clip_is_one_line(
    how: str, checkpoint: Checkpoint, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(checkpoint("open_clip"), tmp_path / "m")
    _spoil(folder, how)
    with pytest.raises(EncoderError) as error:
        encoders.load(f"open_clip:{folder}", device="cpu")
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


# sentence-transformers


def test_segments_and_questions_are_those_of_sentence_transformers_alone(checkpoint: Checkpoint) -> None:
    made = encoders.load(f"st:{checkpoint('st-video')}", device="cpu")
    alone = SentenceTransformer(str(checkpoint("st-video")), device="cpu")
    frames = _frames(5)
    times = {"fps": 2.0, "total_num_frames": 5, "frames_indices": [0, 1, 2, 3, 4], "duration": 2.5}
    seen = alone.encode_document(
        [{"video": {"array": frames, "video_metadata": times}}],
        processing_kwargs={
            "video": {"do_sample_frames": False, "cap_pixels_per_frame": True},
            "text": {"truncation": False},
        },
    )
    read = alone.encode(["Find the video: a red dog"])

    np.testing.assert_allclose(made.encode_segments([frames]), unit(seen), atol=ROUNDING)
    asked, plain = made.encode_texts(["a red dog"]), unit(alone.encode(["a red dog"]))
    assert np.abs(asked - plain).max() > 0.01  # the instruction for queries is part of what is read
    assert asked.shape == read.shape


def test_an_address_in_a_question_is_read_and_not_opened(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was opened")

    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    for kind in ("st-video", "st-images"):
        made = encoders.load(f"st:{checkpoint(kind)}", device="cpu")
        with monkeypatch.context() as patch:
            patch.setattr("socket.socket.connect", refuse)
            patch.setattr("PIL.Image.open", refuse)
            assert made.encode_texts(["https://example.invalid/a.png", str(tmp_path / "a.png")]).shape == (2, DIMENSION)


def test_a_segment_is_seen_in_as_many_frames_as_the_name_says(checkpoint: Checkpoint) -> None:
    frames = _frames(16)
    whole, few = (encoders.load(f"st:{checkpoint('st-video')}{ending}", device="cpu") for ending in ("", ",frames=4"))

    np.testing.assert_allclose(few.encode_segments([frames])[0], few.encode_segments([frames])[0])
    assert np.abs(whole.encode_segments([frames]) - few.encode_segments([frames])).max() > 10 * ROUNDING
    assert few.identity.name.endswith(",frames=4")
    assert few.identity.weights_sha256 != whole.identity.weights_sha256
    moved = frames.copy()
    moved[[1, 2, 3]] = 255 - moved[[1, 2, 3]]  # 0, 5, 10 and 15 are looked at
    np.testing.assert_allclose(few.encode_segments([moved]), few.encode_segments([frames]), atol=ROUNDING)


@pytest.mark.parametrize("kind", ["st-video", "st-images"])
def test_shorter_vectors_are_the_beginning_of_the_long_ones(kind: str, checkpoint: Checkpoint) -> None:
    long, short = (encoders.load(f"st:{checkpoint(kind)}{ending}", device="cpu") for ending in ("", ",dim=6"))

    assert short.identity.dimension == 6
    assert encoders.load_recorded(short.identity, device="cpu").identity == short.identity
    for rows, cut in (
        (long.encode_texts(["a red dog"]), short.encode_texts(["a red dog"])),
        (_seen(long), _seen(short)),
    ):
        np.testing.assert_allclose(cut, unit(rows[:, :6]), atol=ROUNDING)
    with pytest.raises(EncoderError, match="has vectors of 16 numbers: ,dim=N can only make them shorter"):
        encoders.load(f"st:{checkpoint(kind)},dim=17", device="cpu")


def _seen(encoder: encoders.Encoder) -> np.ndarray:
    return encoder.encode_segments([encoder.encode_frames(_frames(1))])


def test_another_instruction_for_queries_is_another_encoder(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint("st-video"), tmp_path / "m")
    config = folder / "config_sentence_transformers.json"
    config.write_text(config.read_text().replace("Find the video: ", "What shows this? "))
    first, other = (encoders.load(f"st:{one}", device="cpu") for one in (checkpoint("st-video"), folder))
    assert first.identity.weights_sha256 != other.identity.weights_sha256
    assert not np.allclose(first.encode_texts(["a dog"]), other.encode_texts(["a dog"]))


def _modules(folder: Path, change: Callable[[Any], None]) -> None:
    listed = json.loads((folder / "modules.json").read_text())
    change(listed)
    (folder / "modules.json").write_text(json.dumps(listed))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda folder: _modules(folder, lambda all_: all_[0].update(type="foreign.Model")),
            "wants code of its own to",
        ),
        (
            lambda folder: _modules(folder, lambda all_: all_[0].update(type="os.getcwd")),
            "wants code of its own to be run",
        ),
        (lambda folder: (folder / "modules.json").unlink(), "holds no modules.json, which sentence-transformers saves"),
        (lambda folder: (folder / "model.safetensors").unlink(), "could not be loaded by sentence-transformers"),
        (lambda folder: (folder / "config.json").write_text("{"), "could not be loaded by sentence-transformers"),
    ],
)
def test_a_spoilt_folder_of_sentence_transformers_is_one_line(
    spoil: Callable[[Path], None], said: str, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoint("st-images"), tmp_path / "m")
    (folder / "foreign.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'was run')!r})\n")
    spoil(folder)
    with pytest.raises(EncoderError) as error:
        encoders.load(f"st:{folder}", device="cpu")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "was run").exists()


def test_a_model_of_its_own_code_gets_one_line(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint("st-images"), tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "foreign", "auto_map": {"AutoConfig": "foreign.Config", "AutoModel": "foreign.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "foreign.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'was run')!r})\n")
    with pytest.raises(
        EncoderError, match=r"wants code of its own to be run \(trust_remote_code\), which is never done"
    ):
        encoders.load(f"st:{folder}", device="cpu")
    assert not (tmp_path / "was run").exists()


def test_pickled_modules_of_sentence_transformers_are_refused_unread(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint("st-images"), tmp_path / "m")
    (folder / "1_Dense").mkdir()
    (folder / "1_Dense" / "config.json").write_text("{}")
    (folder / "1_Dense" / "pytorch_model.bin").write_bytes(pickle.dumps(_Trap(tmp_path / "was read")))
    dense = {"idx": 1, "name": "1", "path": "1_Dense", "type": "sentence_transformers.base.modules.dense.Dense"}
    _modules(folder, lambda listed: listed.append(dense))
    with pytest.raises(EncoderError, match="1_Dense holds pickled weights alone"):
        encoders.load(f"st:{folder}", device="cpu")
    assert not (tmp_path / "was read").exists()


def test_a_model_that_reads_only_text_is_refused(tmp_path: Path) -> None:
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    module = Transformer(str(WRITERS["bert"](tmp_path / "bert")))
    reader = SentenceTransformer(modules=[module, Pooling(DIMENSION)], device="cpu")
    reader.save_pretrained(str(tmp_path / "reader"), create_model_card=False)
    with pytest.raises(EncoderError, match="takes text: videos or images were looked for"):
        encoders.load(f"st:{tmp_path / 'reader'}", device="cpu")


def test_frames_are_no_option_of_a_model_of_pictures(checkpoint: Checkpoint) -> None:
    with pytest.raises(EncoderError, match="takes single frames, and no ,frames=N"):
        encoders.load(f"st:{checkpoint('st-images')},frames=4", device="cpu")


def test_prefixed_names_import_no_library() -> None:
    code = (
        "import sys; from cezsar import encoders\n"
        "encoders.canonical('open_clip:PE-Core-B-16/meta'); encoders.canonical('st:Qwen/Qwen3-VL-Embedding-2B')\n"
        "print(sorted({'torch', 'open_clip', 'sentence_transformers', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_models_limit_is_that_of_its_tokens(checkpoint: Checkpoint) -> None:
    made = encoders.load(f"open_clip:{checkpoint('open_clip')}", device="cpu")
    assert isinstance(made, encoders.Limited)
    assert made.beginning("dog " * 10) == "dog " * 10  # ten tokens, and two that stand around them
    assert made.beginning("dog " * 11).split() == ["dog"] * (NUM_TOKENS - 2)
    assert prefixed.parsed("open_clip:a/b") == prefixed.OpenClip(architecture="a", pretrained="b")


# Half precision, as on a GPU


@pytest.mark.parametrize("kind", ["clip", "siglip-gemma", "siglip2", "xclip", "videoprism", "open_clip"])
def test_a_network_in_half_precision_finds_what_it_found(
    kind: str, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The types of a GPU, on a processor: what is sent to a network has its type, and what comes back is float32."""
    name = f"{FAMILIES.get(kind, '')}{checkpoint(kind)}"
    whole = encoders.load(name, device="cpu")
    for module in ("dual", "openclip"):
        monkeypatch.setattr(f"cezsar.encoders.{module}.candidates", lambda _: (torch.bfloat16,))
    monkeypatch.setattr(
        "cezsar.encoders.precision._LEAST_COSINE", 0.95
    )  # tiny random networks round more than large ones
    half = encoders.load(name, device="cpu")
    model = half._checkpoint.model if hasattr(half, "_checkpoint") else half._model
    assert next(model.parameters()).dtype == torch.bfloat16
    assert half.identity == whole.identity
    texts, frames = ["a person rides a horse", "red"], _frames(6)
    for own, other in (
        (half.encode_texts(texts), whole.encode_texts(texts)),
        *(
            (half.encode_segments([half.encode_frames(some)]), whole.encode_segments([whole.encode_frames(some)]))
            for some in (frames, frames[:2])
        ),
    ):
        assert own.dtype == np.float32
        assert ((own * other).sum(axis=1) > 0.9).all()
