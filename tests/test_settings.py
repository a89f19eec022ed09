"""Default < environment < argument."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from platformdirs import user_data_path

from cezsar.errors import SettingsError
from cezsar.settings import Settings, default_index, load
from cezsar.types import Sampling

_ENVIRONMENT = {
    "CEZSAR_INDEX": "/env/index",
    "CEZSAR_MODEL": "toy",
    "CEZSAR_FPS": "4",
    "CEZSAR_WINDOW": "6.5",
    "CEZSAR_STRIDE": "1e-1",
    "CEZSAR_DEVICE": "cpu",
    "CEZSAR_WORKERS": "3",
    "CEZSAR_BATCH_SIZE": "64",
}
_FROM_ENVIRONMENT = Settings(
    index=Path("/env/index"),
    model="toy",
    fps=4.0,
    window_s=6.5,
    stride_s=0.1,
    device="cpu",
    workers=3,
    batch_size=64,
)


def test_nothing_chosen_leaves_the_defaults_of_the_command_line() -> None:
    settings = load(environ={})
    assert settings == Settings(index=default_index())
    assert (settings.model, settings.device, settings.workers, settings.batch_size) == (None, "auto", 2, 8)
    assert settings.sampling_over(Sampling()) == Sampling(fps=2.0, window_s=8.0, stride_s=4.0)


def test_the_environment_is_read_under_its_documented_names() -> None:
    assert load(environ=_ENVIRONMENT) == _FROM_ENVIRONMENT


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("index", Path("/argument")),
        ("model", "lite-objects"),
        ("fps", 1.0),
        ("window_s", 2.0),
        ("stride_s", 3.0),
        ("device", "cuda"),
        ("workers", 5),
        ("batch_size", 6),
    ],
)
def test_an_argument_goes_before_the_environment_and_leaves_the_rest(name: str, value: Any) -> None:
    expected: Any = dataclasses.replace(_FROM_ENVIRONMENT, **{name: value})
    assert load(environ=_ENVIRONMENT, **{name: value}) == expected


def test_an_argument_that_is_none_and_a_variable_that_is_empty_were_not_given() -> None:
    nothing: dict[str, Any] = {field.name: None for field in dataclasses.fields(Settings)}
    assert load(environ=_ENVIRONMENT, **nothing) == _FROM_ENVIRONMENT
    assert load(environ=dict.fromkeys(_ENVIRONMENT, "")) == load(environ={})


def test_a_chosen_value_goes_over_the_index_s_own_sampling_and_the_rest_is_kept() -> None:
    own = Sampling(fps=1.0, window_s=10.0, stride_s=5.0)
    assert load(environ={}, window_s=3.0).sampling_over(own) == Sampling(fps=1.0, window_s=3.0, stride_s=5.0)
    assert load(environ={}).sampling_over(own) == own


def test_the_index_is_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert load(environ={}, index="a/../mine").index == Path(os.path.realpath(tmp_path), "mine")
    assert load(environ={"CEZSAR_INDEX": "~/mine"}).index == Path("/home/me/mine")


def test_an_index_named_with_a_tilde_that_is_nobodys_home_is_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(environ={}, index="~mine of nobody").index == Path(os.path.realpath(tmp_path), "~mine of nobody")


def test_the_default_index_is_in_the_user_s_data_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data/home")
    assert default_index() == user_data_path("cezsar") / "index"
    assert load(environ={}).index == default_index()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CEZSAR_FPS", "fast"),
        ("CEZSAR_WINDOW", "8s"),
        ("CEZSAR_STRIDE", "1,5"),
        ("CEZSAR_WORKERS", "two"),
        ("CEZSAR_BATCH_SIZE", "x"),
    ],
)
def test_a_variable_that_does_not_parse_is_named_with_its_value(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(environ={variable: value})
    assert str(error.value) == f"{variable} is {value!r}, which is not a number."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "tpu"}, "device must be one of auto, cpu, cuda, not 'tpu'."),
        ({"workers": 0}, "workers must be 1 or more, not 0."),
        ({"workers": -1}, "workers must be 1 or more, not -1."),
        ({"batch_size": 0}, "batch_size must be 1 or more, not 0."),
        ({"fps": 0.0}, "fps must be a positive number, not 0."),
        ({"fps": float("nan")}, "fps must be a positive number, not nan."),
        ({"window_s": -8.0}, "window must be a positive number, not -8."),
        ({"stride_s": float("inf")}, "stride must be a positive number, not inf."),
    ],
)
def test_a_value_out_of_its_range_is_refused_wherever_it_comes_from(arguments: dict[str, Any], message: str) -> None:
    environ = {"CEZSAR_" + name.removesuffix("_s").upper(): str(value) for name, value in arguments.items()}
    for given in ({"environ": {}, **arguments}, {"environ": environ}):
        with pytest.raises(SettingsError) as error:
            load(**given)
        assert str(error.value) == message


def test_a_bad_variable_does_not_matter_where_an_argument_is_given() -> None:
    assert load(environ={"CEZSAR_WORKERS": "two"}, workers=1).workers == 1


def test_settings_need_no_numpy() -> None:
    code = "import sys, cezsar; cezsar.load_settings(index='x'); sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
