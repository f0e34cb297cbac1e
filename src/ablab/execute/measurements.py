"""The file of a machine's measured speeds: its content, its lock, and how values are added."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NotRequired

from filelock import FileLock
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from ablab.execute.accuracy import LATEST, Kind

_MAX_ESTIMATES = 50
_LOCK_SECONDS = 10.0  # after which measurements are not saved

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Finite = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class MeasuredStep(TypedDict):
    """The measured seconds per step of one run, and what the cost model says of it."""

    seconds: Positive
    prior: Positive
    family: str
    threads: int
    workers: int
    counts: list[Finite]
    timed: NotRequired[bool]
    strain: NotRequired[Positive]


class CompileTime(TypedDict):
    """The measured and the estimated seconds to compile a method."""

    seconds: Positive
    guess: Positive


class Estimate(TypedDict):
    """The estimated and the measured seconds of an experiment."""

    name: str
    estimated: Finite
    measured: Finite
    low: NotRequired[Finite]
    high: NotRequired[Finite]


class EvaluationTime(TypedDict):
    """The measured seconds per evaluation of one run, and what the cost model says of it."""

    seconds: Positive
    prior: Positive


class Measurements(TypedDict):
    """The content of the file; ``ratios`` are logarithms of actual to estimated durations."""

    steps: dict[str, MeasuredStep]
    compiled: dict[str, CompileTime]
    estimates: list[Estimate]
    start: NotRequired[Finite]
    power: NotRequired[Positive | None]
    evaluations: NotRequired[dict[str, EvaluationTime]]
    ratios: NotRequired[dict[str, list[Number]]]


_CONTENT = TypeAdapter(Measurements)


def read_measurements(path: Path) -> Measurements:
    """The measurements in a file; none if it is missing or damaged, so that they are made again."""
    try:
        return _CONTENT.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return {"steps": {}, "compiled": {}, "estimates": []}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keeps other processes from changing a file meanwhile.

    Raises:
        OSError: The file's folder cannot be written, or others keep the lock for ten seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f"{path.name}.lock"), timeout=_LOCK_SECONDS):
        yield


def add_step(data: Measurements, key: str, entry: MeasuredStep, timed: bool) -> None:
    """Adds the seconds of a step; see :meth:`ablab.execute.speeds.Speeds.note_step`."""
    entry = entry.copy()
    before = data["steps"].get(key)
    if timed:
        entry["timed"] = True
    elif before is not None and before.get("timed"):
        entry["strain"] = entry["seconds"] / before["seconds"]
    elif before is not None:  # timings are noisy, so average with earlier ones
        entry["seconds"] = math.sqrt(entry["seconds"] * before["seconds"])
        if "strain" in before:
            entry["strain"] = before["strain"]
    data["steps"][key] = entry


def add_evaluation(data: Measurements, key: str, entry: EvaluationTime) -> None:
    """Adds the seconds of an evaluation, averaged with earlier ones because timings are noisy."""
    known = data.setdefault("evaluations", {})
    entry = entry.copy()
    if key in known:
        entry["seconds"] = math.sqrt(entry["seconds"] * known[key]["seconds"])
    known[key] = entry


def add_ratio(data: Measurements, kind: Kind, ratio: float) -> None:
    """Adds the logarithm of an actual to an estimated duration; the oldest ones are dropped."""
    ratios = data.setdefault("ratios", {})
    ratios[kind] = [*ratios.get(kind, []), ratio][-LATEST:]


def add_compiled(data: Measurements, key: str, entry: CompileTime) -> None:
    """Adds how long a method took to compile the first time."""
    data["compiled"].setdefault(key, entry)


def add_start(data: Measurements, seconds: float) -> None:
    """Replaces how long worker processes take to start."""
    data["start"] = seconds


def add_estimate(data: Measurements, entry: Estimate) -> None:
    """Adds an estimate and what it came to; the oldest ones are dropped."""
    data["estimates"] = [*data["estimates"], entry][-_MAX_ESTIMATES:]
