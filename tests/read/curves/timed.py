"""What curves of `two_times.py` are made of, and how they are logged."""

from dataclasses import dataclass, field

import numpy as np

from tests.read.curves import truth as events
from tests.read.curves.pieces import require
from tests.read.curves.truth import Event

NOISES = (0.002, 0.01, 0.03, 0.08)
Rng = np.random.Generator
Floats = np.ndarray


@dataclass
class Drawn:
    """A noiseless curve at steps 1 … n, and what is in it."""

    y: Floats
    truth: list[Event]
    optional: list[Event] = field(default_factory=list)
    column: str = "eval_loss"


@dataclass(frozen=True)
class Timed:
    kind: str
    noise: float
    memory: float
    steps: Floats  # int64, those logged
    values: Floats
    truth: list[Event]
    optional: list[Event]
    column: str


def between(rng: Rng, low: float, high: float) -> float:
    """Log-uniform."""
    require(low < high)
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def at_level(y: Floats, level: float, near: int, noise: float) -> tuple[int, int]:
    """The unbroken range of steps around step `near` at a level (see truth.py)."""
    away = np.flatnonzero(np.abs(np.log(y / level)) > max(np.log(1.01), noise)) + 1
    before, after = away[away < near], away[away > near]
    return int(before[-1]) + 1 if len(before) else 1, int(after[0]) - 1 if len(after) else len(y)


def around(y: Floats, place: int) -> list[Event]:
    """Plateaus around an extremum and descents from it, wherever one sees its ends."""
    level = float(y[place])
    found: list[Event] = [events.Descent(place + 1, level, "", 0)]
    for apart in (0.01, 0.02, 0.05, 0.1):
        first, last = at_level(y, level, place + 1, apart)
        found += [events.Plateau(level, first, last), events.Descent(last, level, "", 0)]
    return found


def first_at(mask: np.ndarray) -> int:
    require(bool(mask.any()))
    return int(np.argmax(mask)) + 1


def floor_of(y: Floats, noise: float) -> list[Event]:
    """The floor at the end, where at least a tenth of the steps is at it."""
    first, _ = at_level(y, float(y[-1]), len(y), max(noise, 0.01))
    require(first < 0.85 * len(y))
    return [events.Floor(float(y[-1]), first)]


def ends_of(y: Floats, noise: float) -> list[Event]:
    """Whatever may be said of the end: floor, and that it still falls; slowdowns before it."""
    first, _ = at_level(y, float(y[-1]), len(y), max(noise, 0.05))
    low = len(y) // 3
    slower = [events.Slowdown(int(step)) for step in np.geomspace(low, len(y), 12)]
    return [events.Floor(float(y[-1]), first), events.Unfinished(), *slower]


def unfinished() -> Event:
    return events.Unfinished()


def bends_of(n: int) -> list[Event]:
    return [events.Slowdown(int(step)) for step in np.geomspace(10, n, 40)]


def logged(rng: Rng, kind: str, curve: Drawn, noise: float) -> Timed:
    """Each step, each tenth, or evaluations (evenly or logarithmically spaced), with noise."""
    n = len(curve.y)
    spiky = kind == "missed_spike"
    way = rng.integers(4) if not spiky else 0
    if way == 0 or (way == 1 and n < 4000):
        steps = np.arange(1, n + 1)
    elif way == 1:
        steps = np.arange(10, n + 1, 10)
    elif way == 2:
        require(kind not in ("log_time", "grokking_loss", "grokking_accuracy"))
        every = max(1, n // int(rng.integers(200, 600)))
        steps = np.arange(every, n + 1, every)
    else:
        require(kind not in ("steepening",))
        steps = np.unique(np.geomspace(1, n, int(rng.integers(150, 300))).round().astype(int))
    if kind in ("log_time", "grokking_loss", "grokking_accuracy", "peak"):
        early = min(_starts(curve))
        require((steps < early).sum() >= 12)
    memory = float(rng.choice([0, 0, 0.3, 0.6])) if way < 2 else 0.0
    y = curve.y[steps - 1]
    if curve.column == "eval_accuracy":
        size = 0.25 / noise**2
        deviation = np.sqrt(np.maximum(y * (1 - y), 1e-9) / size)
        values = np.clip(y + deviation * _noise(rng, len(y), memory), 0, 1)
    else:
        values = y * np.exp(noise * _noise(rng, len(y), memory) - noise**2 / 2)
    return Timed(kind, noise, memory, steps, values, curve.truth, curve.optional, curve.column)


def _starts(curve: Drawn) -> list[int]:
    """The steps at which something begins."""
    found = [event.first for event in curve.truth if isinstance(event, events.Rise)]
    found += [event.start for event in curve.truth if isinstance(event, events.Descent)]
    found += [event.step for event in curve.truth if isinstance(event, events.Peak)]
    found += [int(e.step - e.width) for e in curve.truth if isinstance(e, events.Transition)]
    return [max(step, 1) for step in found] or [len(curve.y)]


def _noise(rng: Rng, count: int, memory: float) -> Floats:
    """An AR(1) process with variance 1."""
    z = rng.standard_normal(count)
    if memory:
        fresh = np.sqrt(1 - memory**2)
        for i in range(1, count):
            z[i] = memory * z[i - 1] + fresh * z[i]
    return z
