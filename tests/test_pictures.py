"""A picture as an example: a video of one frame."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from make_videos import write_video
from PIL import Image

from cezsar.cli import cli
from cezsar.video.frames import Video


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """red.mp4 and blue.mp4 in an index of the toy encoder."""
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("red", "blue"):
        write_video(folder / f"{name}.mp4", [(name, 1.0)])
    assert run("index", folder, "--index", folder / "index", "--model", "toy").exit_code == 0
    return folder / "index"


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [os.fspath(word) if isinstance(word, Path) else str(word) for word in words])


def plain(colour: str, size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.new("RGB", size, colour)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp"])
def test_a_picture_finds_what_looks_like_it(index: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"blue.{suffix}"
    plain("blue").save(path)
    found = json.loads(run("query", "--like", path, "--index", index, "--json").stdout)
    assert (Path(found["hits"][0]["path"]).name, found["hits"][0]["score"]) == ("blue.mp4", 1.0)


def test_of_an_animated_picture_the_first_frame_counts(index: Path, tmp_path: Path) -> None:
    plain("red").save(tmp_path / "a.gif", save_all=True, append_images=[plain("blue")] * 3, duration=100)
    found = json.loads(run("query", "--like", tmp_path / "a.gif", "--index", index, "--json").stdout)
    assert (Path(found["hits"][0]["path"]).name, found["hits"][0]["score"]) == ("red.mp4", 1.0)


def test_a_very_wide_picture_is_made_small(index: Path, tmp_path: Path) -> None:
    plain("red", (10_000, 500)).save(tmp_path / "wide.jpg")
    found = json.loads(run("query", "--like", tmp_path / "wide.jpg", "--index", index, "--json").stdout)
    assert Path(found["hits"][0]["path"]).name == "red.mp4"


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (1, 1)), (6, (0, 1)), (8, (1, 0))])
def test_a_photograph_is_turned_as_its_exif_data_say(tmp_path: Path, orientation: int, corner: tuple[int, int]) -> None:
    picture = plain("blue", (64, 32))
    picture.paste("red", (0, 0, 32, 16))
    exif = Image.Exif()
    exif[0x112] = orientation
    picture.save(tmp_path / "a.jpg", exif=exif, quality=95)
    with Video(tmp_path / "a.jpg") as video:
        (batch,) = video.sample(fps=1.0, short_side=16, batch_size=1)
    reds = batch.frames_uint8[0, 0]
    assert reds.shape == ((32, 16) if orientation in (6, 8) else (16, 32))
    half = np.array(reds.shape) // 2
    quarters = reds.reshape(2, half[0], 2, half[1]).mean(axis=(1, 3))
    assert np.unravel_index(quarters.argmax(), (2, 2)) == corner


@pytest.mark.parametrize("content", [b"this is no picture\n" * 9, b"", b"\xff\xd8\xff\xe0" + bytes(100)])
def test_what_is_no_picture_is_one_line(index: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "none.jpg").write_bytes(content)
    told = run("query", "--like", tmp_path / "none.jpg", "--index", index)
    assert told.exit_code == 1
    (line,) = told.stderr.splitlines()
    assert "none.jpg" in line
