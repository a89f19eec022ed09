"""One frozen Settings: default < CEZSAR_* environment < argument."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cezsar.choices import DEVICES, RUNNERS, STREAMS, not_one_of
from cezsar.errors import SettingsError
from cezsar.location import Location, located
from cezsar.sampling import Limits, Sampling

DEFAULT_MODEL = "lite"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the index is and how to work on it.

    ray_address, HOST:PORT, is that of a Ray cluster, and None a Ray of this machine's own, for the runner 'ray'.

    model, streams, fps, window_s and stride_s are None if nobody chose: a new index then takes the defaults, and an
    existing one keeps its own. Raises SettingsError on a value out of its range.
    """

    index: Location
    model: str | None = None
    streams: str | None = None
    fps: float | None = None
    window_s: float | None = None
    stride_s: float | None = None
    device: str = "auto"
    workers: int = 2
    batch_size: int = 8
    stall_limit_s: float = Limits().stall_s
    time_limit_s: float = Limits().time_s
    memory_limit_gb: float = Limits().memory_gb
    runner: str = "threads"
    ray_address: str | None = None

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise SettingsError(f"{not_one_of('device', self.device, DEVICES)}.")
        if self.streams is not None and self.streams not in STREAMS:
            raise SettingsError(f"{not_one_of('streams', self.streams, STREAMS)}.")
        if self.workers < 1:
            raise SettingsError(f"workers must be 1 or more, not {self.workers}.")
        if self.batch_size < 1:
            raise SettingsError(f"batch_size must be 1 or more, not {self.batch_size}.")
        if self.runner not in RUNNERS:
            raise SettingsError(f"{not_one_of('runner', self.runner, RUNNERS)}.")
        _ = self.sampling_over(Sampling()), self.limits  # both complain of what is out of range

    @property
    def limits(self) -> Limits:
        """The limits of decoding one video."""
        return Limits(self.stall_limit_s, self.time_limit_s, self.memory_limit_gb)

    def sampling_over(self, base: Sampling) -> Sampling:
        """The given sampling, with the values of these settings in place of its own."""
        return Sampling(
            fps=base.fps if self.fps is None else self.fps,
            window_s=base.window_s if self.window_s is None else self.window_s,
            stride_s=base.stride_s if self.stride_s is None else self.stride_s,
        )


def default_index() -> Path:
    """The user's own data directory for this platform."""
    from platformdirs import user_data_path

    return user_data_path("cezsar") / "index"


def load(environ: Mapping[str, str] = os.environ, **arguments: Any) -> Settings:
    """Settings from the environment and the arguments; an argument that is None was not given.

    The environment's names are CEZSAR_INDEX, CEZSAR_MODEL, CEZSAR_STREAMS, CEZSAR_FPS, CEZSAR_WINDOW, CEZSAR_STRIDE,
    CEZSAR_DEVICE, CEZSAR_WORKERS, CEZSAR_BATCH_SIZE, CEZSAR_STALL_LIMIT, CEZSAR_TIME_LIMIT, CEZSAR_MEMORY_LIMIT,
    CEZSAR_RUNNER and CEZSAR_RAY_ADDRESS.
    Raises SettingsError if one does not parse.
    """
    readers: dict[str, Any] = {
        "index": str, "model": str, "streams": str, "fps": float, "window_s": float, "stride_s": float,
        "device": str, "workers": int, "batch_size": int,
        "stall_limit_s": float, "time_limit_s": float, "memory_limit_gb": float, "runner": str, "ray_address": str,
    }  # fmt: skip
    values: dict[str, Any] = {}
    for field in fields(Settings):
        variable = "CEZSAR_" + field.name.removesuffix("_s").removesuffix("_gb").upper()
        if arguments.get(field.name) is not None:
            values[field.name] = arguments[field.name]
        elif environ.get(variable):
            try:
                values[field.name] = readers[field.name](environ[variable])
            except ValueError:
                raise SettingsError(f"{variable} is {environ[variable]!r}, which is not a number.") from None
    index = located(values.pop("index", None) or default_index())
    if isinstance(index, Path) and any("\udc80" <= character <= "\udcff" for character in os.fspath(index)):
        raise SettingsError("The index's folder needs a name that is UTF-8; the videos' names may be any bytes.")
    return Settings(index=index, **values)
