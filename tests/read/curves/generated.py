"""Curves with known truth, from noiseless pieces and noise; nothing here knows the curve reader.

`python -m tests.read.curves.generated --figure FILE` draws examples with their truth.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path as File

import numpy as np

from tests.read.curves.noise import NOISES, Noise
from tests.read.curves.pieces import DEEPEST, Mark, Path, UnclearError, require
from tests.read.curves.spiking import add_spikes
from tests.read.curves.truth import (
    Descent,
    Event,
    Floor,
    Growback,
    Plateau,
    Slowdown,
    Unfinished,
)

KINDS = (
    "plateau_descent",
    "two_plateaus",
    "growback",
    "spikes",
    "repeated_spikes",
    "slowdown",
    "combined",
)
SHAPES = ("constant", "power", "approach")
NATURAL = (np.log(113), np.log(10), np.log(5), np.log(2), 0.8)


@dataclass(frozen=True)
class Generated:
    kind: str
    noise: Noise
    steps: np.ndarray  # int64, those logged
    values: np.ndarray  # float64
    clean: np.ndarray  # the same without noise
    truth: list[Event]


def generate(rng: np.random.Generator, kind: str, noise: float) -> Generated:
    """A curve of a kind of KINDS, `noise` being the relative standard deviation of a step."""
    while True:
        try:
            return _attempt(rng, kind, noise)
        except UnclearError:
            continue


def structureless(rng: np.random.Generator, noise: float, shape: str | None = None) -> Generated:
    """A curve in which nothing happens, of a shape of SHAPES; its truth is empty.

    constant: noise around a level, with a memory of 0, 0.3 or 0.6. power: L + A (1 + t/c)^−p, as a
    language model's loss falls from 10 to 2. approach: L + A e^(−t/c), near L within the curve.
    """
    shape = shape or str(rng.choice(SHAPES))
    n, every = _length(rng)
    t = np.arange(1, n + 1)
    memory = 0.0 if shape != "constant" else rng.choice([0.0, 0.3, 0.6])
    if shape == "constant":
        clean = np.full(n, _level(rng))
    elif shape == "power":
        offset = rng.uniform(0.5, 3)
        clean = offset + rng.uniform(2, 8) * (1 + t / rng.uniform(10, 100)) ** -rng.uniform(0.3, 1)
    else:
        level = _level(rng)
        clean = level * (1 + rng.uniform(1, 10) * np.exp(-t / (n * rng.uniform(0.05, 0.2))))
    return _noisy(rng, shape, Noise(noise, rng.uniform(1, 3), memory), np.log(clean), every, [])


def _attempt(rng: np.random.Generator, kind: str, relative: float) -> Generated:
    n, every = _length(rng)
    noise = Noise(relative, rng.uniform(1, 3), 0.3 if rng.random() < 1 / 3 else 0.0)
    path = _Plan(rng, n, every, noise).draw(kind)
    truth = _events(path, noise)
    spiked = {"spikes": True, "repeated_spikes": True, "combined": rng.random() < 0.5}.get(kind)
    added: np.ndarray | float = 0.0
    if spiked:
        repeated = kind == "repeated_spikes" or (kind == "combined" and rng.random() < 0.4)
        added, spikes = add_spikes(rng, path, noise, every, repeated, truth)
        truth = [*truth, *spikes]
    return _noisy(rng, kind, noise, path.y + added, every, truth)


def _length(rng: np.random.Generator) -> tuple[int, int]:
    """The number of steps, and every how many one is logged."""
    every = 10 if rng.random() < 0.2 else 1
    return int(rng.integers(300 if every > 1 else 150, 501)) * 10, every


def _level(rng: np.random.Generator, natural: float = 0.6) -> float:
    if rng.random() < natural:
        return float(rng.choice(NATURAL))
    return float(np.exp(rng.uniform(np.log(1e-5), np.log(12))))


def _noisy(
    rng: np.random.Generator, kind: str, noise: Noise, y: np.ndarray, every: int, truth: list[Event]
) -> Generated:
    steps = np.arange(every, len(y) + 1, every, dtype=np.int64)
    y = y[steps - 1]
    return Generated(kind, noise, steps, np.exp(y + noise.draw(rng, y)), np.exp(y), truth)


class _Plan:
    """Batches the pieces of a curve, each of a size that can be seen."""

    def __init__(self, rng: np.random.Generator, n: int, every: int, noise: Noise) -> None:
        self.rng, self.n, self.every, self.noise = rng, n, every, noise

    def draw(self, kind: str) -> Path:
        chance, combined = self.rng.random, kind == "combined"
        straight = kind in ("growback", "slowdown", "combined") and chance() < 0.25
        path = Path(np.log(self.rng.uniform(0.5, 10) if straight else _level(self.rng)))
        if not straight:
            self._plateau(path)
            if kind == "two_plateaus" or (combined and chance() < 0.5):
                self._to_second_plateau(path)
        bump = kind == "growback" or (combined and chance() < 0.6)
        slower = kind == "slowdown" or (combined and (not bump or chance() < 0.4))
        floor = chance() < (0.3 if slower else 0.5)
        if bump:
            self._descend(path, self._part(0.06, 0.2))
            size = self._between(max(np.log(1.5), 7 * self._deviation(path)), np.log(30))
            path.rise(int(self._between(100 if self.every > 1 else 40, 400)), size)
        if slower:
            self._descend(path, self._part(0.05, 0.2))
            left = self.n - path.step
            share = self.rng.uniform(0.3, 0.6) if floor else 1.0
            path.slower(int(left * share), self.rng.uniform(4, 12), self.rng.uniform(2, 10))
        else:
            left = self.n - path.step
            self._descend(path, int(left * (self.rng.uniform(0.15, 0.5) if floor else 1.0)))
        if floor:
            drop = self.rng.uniform(0.3, 2)
            require(path.value - drop > DEEPEST)
            path.settle(self.n - path.step, drop)
        return path

    def _part(self, low: float, high: float) -> int:
        return int(self.n * self.rng.uniform(low, high))

    def _between(self, low: float, high: float) -> float:
        require(low < high)
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def _deviation(self, path: Path) -> float:
        return float(self.noise.deviation(path.value))

    def _plateau(self, path: Path) -> None:
        above = self.rng.uniform(0.3, 3) if self.rng.random() < 0.5 and not path.step else 0.0
        path.plateau(max(200, self._part(0.1, 0.35)), above, self.rng.uniform(5, 25))

    def _to_second_plateau(self, path: Path) -> None:
        lower = [np.log(level) for level in NATURAL if np.log(level) < path.value - 0.26]
        if lower and self.rng.random() < 0.6:
            drop = path.value - float(self.rng.choice(lower))
        else:
            drop = self._between(0.3, 8)
        path.sigmoid(int(self._between(100 if self.every > 1 else 50, 600)), drop)
        self._plateau(path)

    def _descend(self, path: Path, n: int) -> None:
        """An exponential, or out of a plateau sometimes a power; by what can be seen, up to 1e8."""
        require(n >= 20)
        least = max(np.log(1.4), 7 * self._deviation(path))
        drop = self._between(least, min(np.log(1e8), path.value - DEEPEST))
        plateau = bool(path.marks) and path.marks[-1].name == "plateau"
        if plateau and self.rng.random() < 0.35:
            path.power(n, drop, self.rng.uniform(0.005, 0.03))
        else:
            soft = self.rng.uniform(2, 25 if plateau else 8)
            path.exponential(n, drop, min(soft, n / 20))


def _events(path: Path, noise: Noise) -> list[Event]:
    """The truth of a noiseless curve; raises UnclearError where a person could doubt it."""
    y, n = path.y, len(path.y)
    events: list[Event] = []
    require(y.min() > DEEPEST)
    fallen_before = 0.0
    for mark, after in zip(path.marks, [*path.marks[1:], None], strict=True):
        fall = y[max(mark.first - 2, 0)] - y[mark.last - 1]
        deviation = float(noise.deviation(min(y[mark.first - 1], y[mark.last - 1])))
        if mark.name == "plateau" and after is not None:
            events += _left(y, mark, after, noise)
        elif mark.name in ("exponential", "power"):
            require(fall >= max(np.log(1.3), 6 * deviation))
            fallen_before = fall
            if after is not None and after.name == "slower":
                require(fall >= max(np.log(2), 8 * deviation) and mark.last - mark.first >= 60)
            if after is not None and after.name == "rise":
                require(mark.last - mark.first >= 60)
        elif mark.name == "slower":
            seen = mark.rate * 0.08 * n  # in the time in which a plateau would be one
            require(seen >= max(0.05, deviation) and fall >= max(np.log(2), 8 * deviation))
            require(mark.last - mark.first >= max(200, 0.12 * n))
            events.append(Slowdown(mark.first))
        elif mark.name == "rise":
            require(-fall >= 6 * noise.deviation(y[mark.first - 2]))
            require(-fall <= 0.9 * fallen_before)  # never above where it came down from
            ends = (after.last - 1, mark.first - 2) if after else (0, 0)
            require(y[mark.last - 1] - y[ends[0]] >= -0.7 * fall)  # goes down again
            low, high = np.exp(y[ends[1]]), np.exp(y[mark.last - 1])
            events.append(Growback(mark.first - 1, mark.last, float(low), float(high)))
    last = path.marks[-1]
    if last.name == "settle":
        first, _ = _at_level(y, n, path.value, noise)
        require(n - first + 1 >= max(0.14 * n, 150))
        return [*events, Floor(float(np.exp(path.value)), first)]
    fallen = y[-1 - int(0.15 * n)] - y[-1]
    require(fallen >= max(0.1, 3 * noise.deviation(y[-1])))
    return [*events, Unfinished()]


def _left(y: np.ndarray, mark: Mark, after: Mark, noise: Noise) -> list[Event]:
    """A plateau, and the descent out of it: visible within 12% of the curve."""
    n = len(y)
    level = float(y[mark.last - 1])
    first, last = _at_level(y, mark.last, level, noise)
    require(last - first >= max(0.08 * n, 150))
    seen = min(last + int(0.12 * n), after.last) - 1
    require(level - y[seen] >= max(np.log(1.3), 6 * noise.deviation(y[seen])))
    value = float(np.exp(level))
    return [Plateau(value, first, last), Descent(last, value, after.name, after.rate)]


def _at_level(y: np.ndarray, step: int, level: float, noise: Noise) -> tuple[int, int]:
    """The unbroken range of steps around `step` at the level (see truth.py)."""
    away = np.flatnonzero(np.abs(y - level) > max(np.log(1.01), float(noise.deviation(level)))) + 1
    before, after = away[away < step], away[away > step]
    return int(before[-1]) + 1 if len(before) else 1, int(after[0]) - 1 if len(after) else len(y)


if __name__ == "__main__":
    from tests.read.curves.gallery import draw

    parser = argparse.ArgumentParser(description="Draw generated curves with their truth.")
    parser.add_argument("--figure", type=File, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw(arguments.figure, arguments.seed)
    print(f"{arguments.figure}: {len(KINDS)} kinds, noises {NOISES}")
