"""What a reader says of nothing: names of levels by chance, floors of curves that fall, windows.

`python -m tests.read.curves.chance --curves 1000` prints the three shares.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.read.curves.timed import NOISES
from tests.read.curves.two_times import drawn

Read = Callable[..., Any]
# Of three-digit addition on its last digit: a token of thirteen, a digit, one of two.
LEVELS = {"log(13)": np.log(13), "log(10)": np.log(10), "log(2)": np.log(2)}


def _steps(rng: np.random.Generator, low: int, high: int) -> np.ndarray:
    n = int(np.exp(rng.uniform(np.log(low), np.log(high))))
    if rng.random() < 0.3:
        return np.unique(np.geomspace(1, n, 250).round().astype(int))
    return np.arange(1, n + 1)


def named(read: Read, numbers: range, seed: int) -> float:
    """The share of plateaus and floors at a level drawn at random that get the name of one.

    The level is log-uniform from 0.02 to 12, the columns are those of losses.
    """
    found = []
    for number in numbers:
        rng = np.random.default_rng([seed, number, 3])
        level, steps = np.exp(rng.uniform(np.log(0.02), np.log(12))), _steps(rng, 600, 5000)
        clean = level * np.exp(-np.maximum(0, steps / steps[-1] - rng.uniform(0.5, 1.5)) * 20)
        noise = NOISES[number % len(NOISES)]
        values = clean * np.exp(noise * rng.standard_normal(len(steps)))
        reading = read(steps, values, "train_loss", LEVELS if number % 2 else None)
        levels = [*reading.plateaus, *([reading.floor] if reading.floor else [])]
        found += [each.name is not None for each in levels]
    return float(np.mean(found))


def floors(read: Read, numbers: range, seed: int) -> float:
    """The share of power laws, t^−0.08 to t^−1, that are said to have a floor."""
    found = []
    for number in numbers:
        rng = np.random.default_rng([seed, number, 4])
        steps = _steps(rng, 1000, 50_000)
        power = np.exp(rng.uniform(np.log(0.08), 0))
        clean = rng.uniform(1, 8) * (1 + steps / rng.uniform(1, 100)) ** -power
        noise = NOISES[number % len(NOISES)]
        values = clean * np.exp(noise * rng.standard_normal(len(steps)))
        found.append(read(steps, values, "train_loss").floor is not None)
    return float(np.mean(found))


def windows(read: Read, numbers: range, seed: int) -> tuple[int, int]:
    """Spikes found in a window and not in the whole curve or the other way round; and all.

    A spike is the same if its step is and its height is within 2%. The first and last 60 values of
    a window do not count.
    """
    differ = total = 0
    for number in numbers:
        rng = np.random.default_rng([seed, number, 5])
        one = drawn(rng, "missed_spike", NOISES[number % len(NOISES)])
        values = _uneven(rng, one.values, one.noise)
        whole = read(one.steps, values, "train_loss").spikes
        for _ in range(3):
            count = len(one.steps)
            first = int(rng.integers(0, count // 2))
            last = int(rng.integers(first + count // 3, count))
            part = read(one.steps[first:last], values[first:last], "train_loss").spikes
            low, high = one.steps[first + 60], one.steps[last - 60]
            inside = {s.step: s.height for s in whole if low <= s.step <= high}
            seen = {s.step: s.height for s in part if low <= s.step <= high}
            total += len(inside | seen)
            same = [s for s in inside if s in seen and abs(seen[s] / inside[s] - 1) < 0.02]
            differ += len(inside | seen) - len(same)
    return differ, total


def _uneven(rng: np.random.Generator, values: np.ndarray, noise: float) -> np.ndarray:
    """The curve with noise that grows or shrinks along it, and with a few spikes of one value."""
    place = np.linspace(0, 1, len(values))
    more = noise * np.exp(rng.choice([-1, 1]) * rng.uniform(0, 2) * (place - 0.5))
    single = np.zeros(len(values))
    single[rng.integers(0, len(values), rng.integers(0, 12))] = np.log(rng.uniform(1.7, 5))
    return np.asarray(values * np.exp(more * rng.standard_normal(len(values)) + single))


def main() -> None:
    from ablab.read.curves import read_curve

    parser = argparse.ArgumentParser(description="What the curve reader says of nothing.")
    parser.add_argument("--curves", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    numbers = range(given.curves)
    print(f"names by chance: {named(read_curve, numbers, given.seed):.2%}")
    print(f"false floors: {floors(read_curve, numbers, given.seed):.2%}")
    differ, total = windows(read_curve, range(given.curves // 10), given.seed)
    print(f"spikes that depend on the window: {differ} of {total}")


if __name__ == "__main__":
    main()
