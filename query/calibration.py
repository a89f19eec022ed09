"""How likely a hit shows its query: from its score, the query's scores on generic footage, and the number of segments
that were compared."""

from __future__ import annotations

import base64
import json
import math
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cezsar import encoders, files
from cezsar.errors import CalibrationError
from cezsar.records import record
from cezsar.types import EncoderIdentity, Location, Vectors

FILE = "calibration.json"
_VERSION = 1
_MOST_BYTES = 1 << 26  # of the file: none that was made here comes near
_TOP = 20  # the best twentieth of the bank's scores is a query's background


@dataclass(frozen=True, slots=True)
class Judge:
    """A logistic model of three numbers: the score, the query's background, and the log of how many were compared.

    Confidences below threshold are not believed. false_alarm and miss, in [0, 1], are the costs of that: how often the
    best hit reaches it though nothing fits, and how often a right best hit does not reach it.
    """

    intercept: float
    score: float
    background: float
    log_size: float
    threshold: float
    false_alarm: float
    miss: float

    def confidence(
        self, scores: NDArray[np.floating], background: NDArray[np.floating], size: int
    ) -> NDArray[np.float64]:
        """In [0, 1], to four decimals, of (N,) scores among `size` that were compared; background is (N,) or (1,)."""
        logit = (
            self.intercept
            + self.score * np.asarray(scores, np.float64)
            + self.background * np.asarray(background, np.float64)
            + self.log_size * math.log(max(size, 1))
        )
        return np.asarray(np.round(0.5 * (1 + np.tanh(logit / 2)), 4))


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """One encoder's: bank (B, D) are vectors of generic footage; hits judges hits of a text, labels those of a video.

    figures describe its data and its quality, for people to read.
    """

    encoder: EncoderIdentity
    bank: Vectors
    hits: Judge
    labels: Judge
    figures: dict[str, Any]

    def background(self, directions: Vectors) -> NDArray[np.float64]:
        """(K, D) -> (K,): what each scores on the bank, the mean of the best twentieth."""
        return background(directions, self.bank)

    def fits(self, encoder: EncoderIdentity) -> bool:
        """Whether it was made for these vectors, by whatever name the encoder goes."""
        return _space(self.encoder) == _space(encoder)


@dataclass(frozen=True, slots=True)
class _Document:
    """A calibration as its file has it; bank is the base64 of little-endian float16."""

    version: int
    encoder: EncoderIdentity
    hits: Judge
    labels: Judge
    figures: dict[str, Any]
    bank: str


def background(directions: Vectors, bank: Vectors) -> NDArray[np.float64]:
    """(K, D) and (B, D) -> (K,): the mean of the best twentieth of the B scores of each."""
    count = max(1, len(bank) // _TOP)
    scores = directions @ bank.T
    return np.asarray(np.partition(scores, len(bank) - count, axis=1)[:, -count:].mean(axis=1), np.float64)


def find(
    place: Location, encoder: EncoderIdentity, *, kept: bytes | None = None
) -> tuple[Calibration | None, str | None]:
    """The calibration that the catalog in place has kept, or else its folder's file of before, or else the one that
    comes with the encoder; and a line that says why the index's own is not used, if there is one that cannot be.
    """
    notice = None
    try:
        own, name = None, f"The calibration in {place}"
        if kept is not None:
            own = _loaded(kept, name)
        elif isinstance(place, Path):
            own, name = read(place / FILE), str(place / FILE)
        if own is not None and own.fits(encoder):
            return own, None
        if own is not None:
            notice = f"{name} is of another encoder"
    except CalibrationError as error:
        notice = str(error)
    if notice is not None:
        notice = f"{notice}: it is not used. `cezsar calibrate` makes a new one."
    shipped = encoders.calibration_file(encoder.name, is_older=encoders.older(encoder) is not None)
    found = None if shipped is None else read(shipped)
    return (found if found is not None and found.fits(encoder) else None), notice


def state(place: Location) -> object:
    """What changes when the calibration in a catalog's folder does: it is replaced, never written again."""
    if not isinstance(place, Path):
        return None
    try:
        status = (place / FILE).stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def read(path: Path) -> Calibration | None:
    """The calibration in a file; None if there is none. Raises CalibrationError if it is damaged."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
            raise CalibrationError(f"{path} is no calibration")
        return _loaded(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CalibrationError(f"{path} cannot be read ({error.strerror})") from None


def write(calibration: Calibration, path: Path, *, private: bool = False) -> None:
    """One JSON file, whole or not at all. Raises CalibrationError if it cannot be written."""
    try:
        files.write(path, document(calibration), durable=True, private=private)
    except OSError as error:
        raise CalibrationError(f"{path} cannot be written: {error.strerror}.") from None


def document(calibration: Calibration) -> bytes:
    """One JSON document, as a file or a catalog keeps it."""
    bank = base64.b64encode(np.asarray(calibration.bank, "<f2").tobytes()).decode("ascii")
    found = _Document(_VERSION, calibration.encoder, calibration.hits, calibration.labels, calibration.figures, bank)
    return (json.dumps(asdict(found), indent=1) + "\n").encode()


def _loaded(data: bytes, name: str) -> Calibration:
    try:
        return _parsed(json.loads(data))
    except (ValueError, RecursionError):
        raise CalibrationError(f"{name} is damaged") from None


def _parsed(document: Any) -> Calibration:
    """Raises ValueError if it is not as write writes it."""
    found = record(_Document, document)
    rows = np.frombuffer(base64.b64decode(found.bank, validate=True), "<f2").astype(np.float32)
    bank = rows.reshape(-1, found.encoder.dimension)
    if found.version != _VERSION or len(bank) == 0 or not np.isfinite(bank).all():
        raise ValueError
    for judge in (found.hits, found.labels):
        if not all(math.isfinite(value) for value in asdict(judge).values()) or judge.score <= 0:
            raise ValueError
    return Calibration(found.encoder, bank, found.hits, found.labels, found.figures)


def _space(encoder: EncoderIdentity) -> tuple[str, int, str]:
    return encoder.weights_sha256, encoder.dimension, encoder.streams
