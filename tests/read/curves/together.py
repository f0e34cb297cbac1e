"""Training and held-out curves of one run, and what a person says of both together."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.read.curves.pieces import UnclearError, require
from tests.read.curves.timed import Floats, Rng, between, first_at


@dataclass(frozen=True)
class Truth:
    """What is in a pair of curves.

    Attributes:
        memorises: The training curve is learnt long before the held-out one, or that never is.
        learnt: Steps at which training and held-out curve go through the value half-way (losses:
            in the logarithm) between the held-out curve's worst and best; None if it never falls.
        overfits: The step of the held-out curve's minimum, from where it rises to the end.
        double: Whether the held-out curve falls, rises, and falls again.
    """

    memorises: bool = False
    learnt: tuple[int, int] | None = None
    overfits: int | None = None
    double: bool = False


@dataclass(frozen=True)
class Pair:
    kind: str
    noise: float
    steps: Floats
    training: Floats
    held_steps: Floats
    held_out: Floats
    columns: tuple[str, str]
    truth: Truth


Made = tuple[Floats, Floats, Truth]  # training and held-out curve at steps 1 … n


def _hill(t: Floats, middle: float, power: float) -> Floats:
    return 1 / (1 + (t / middle) ** -power)


def _early(rng: Rng, n: int) -> float:
    return between(rng, 50, max(60, 0.02 * n))


def grokking(rng: Rng) -> Made:
    """The held-out loss falls 3 to 300 times later than the training loss."""
    early, factor = between(rng, 60, 300), between(rng, 3, 300)
    n = int(early * factor * rng.uniform(2, 4))
    require(n <= 60_000)
    t, chance = np.arange(1, n + 1), np.log(rng.choice([59, 97, 113]))
    training = chance * np.exp(-rng.uniform(6, 14) * _hill(t, early, rng.uniform(4, 8)))
    drop, up = rng.uniform(2, 12), rng.uniform(0, 1.2)
    late = _hill(t, early * factor, rng.uniform(8, 25))
    held = chance * np.exp(up * _hill(t, early, 6) - drop * late)
    middle = np.sqrt(held.max() * held[-1])
    pair = first_at(training < middle), first_at(held < middle)
    require(pair[1] > 3 * pair[0])
    return training, held, Truth(True, pair)


def grokking_accuracies(rng: Rng) -> Made:
    """The same in accuracies."""
    early, factor = between(rng, 60, 300), between(rng, 3, 300)
    n = int(early * factor * rng.uniform(2, 4))
    require(n <= 60_000)
    t, chance = np.arange(1, n + 1), float(rng.choice([0.01, 0.1]))
    training = chance + (1 - chance) * _hill(t, early, rng.uniform(4, 8))
    held = chance + (1 - chance) * _hill(t, early * factor, rng.uniform(5, 20))
    middle = (held.min() + held[-1]) / 2
    return training, held, Truth(True, (first_at(training > middle), first_at(held > middle)))


def never(rng: Rng) -> Made:
    """The held-out loss stays at chance, or rises, while the training loss falls."""
    n = int(between(rng, 3000, 5e4))
    t, early = np.arange(1, n + 1), _early(rng, n)
    chance = np.log(rng.choice([59, 97, 113]))
    training = chance * np.exp(-rng.uniform(3, 12) * _hill(t, early, rng.uniform(3, 8)))
    up = rng.uniform(0.4, 1.5) if rng.random() < 0.7 else 0.0
    return training, chance * np.exp(up * _hill(t, 2 * early, 4)), Truth(True)


def overfit(rng: Rng) -> Made:
    """Both fall; then the held-out loss rises to the end while the training loss goes on."""
    n = int(between(rng, 2000, 4e4))
    t = np.arange(1, n + 1)
    turn = n * between(rng, 0.05, 0.4)
    power = rng.uniform(0.7, 1.5)
    fall = rng.uniform(2, 6) * (1 + t / (turn * 0.2)) ** -power
    level = rng.uniform(0.8, 2)
    held = level + fall + between(rng, 0.3, 1.5) * np.log1p((t / turn) ** 2.5)
    training = level * (1 + t / turn) ** -rng.uniform(0.5, 1.5) + fall
    low = int(np.argmin(held))
    require(np.log(held[-1] / held[low]) > 0.4 and np.log(held[0] / held[low]) > 0.5 and low > 40)
    return training, held, Truth(overfits=low + 1)


def double_descent(rng: Rng) -> Made:
    """The held-out loss falls, rises, and falls below where it was."""
    n = int(between(rng, 4000, 4e4))
    t = np.arange(1, n + 1)
    first, times = n * between(rng, 0.02, 0.06), rng.uniform(3.2, 4)
    fall = rng.uniform(0.8, 1.5) * _hill(t, first, 3)
    rise = between(rng, 0.6, 1.0) * _hill(t, first * times, 5)
    again = rng.uniform(1.4, 3) * _hill(t, first * times**2, 5)
    require(first * times**2 < 0.8 * n)
    level = rng.uniform(1, 6)
    turns = np.flatnonzero(np.diff(np.sign(np.diff(-fall + rise - again))) != 0)
    require(len(turns) == 2)
    training = level * np.exp(-fall - 1.5 * _hill(t, first * times, 1.5) - again * t / n)
    return training, level * np.exp(-fall + rise - again), Truth(double=True)


def alike(rng: Rng) -> Made:
    """Both fall together; the held-out loss stays a little above."""
    n = int(between(rng, 1000, 4e4))
    t = np.arange(1, n + 1)
    level, constant = rng.uniform(0.01, 1), n * between(rng, 0.005, 0.1)
    if rng.random() < 0.5:
        fall = level + rng.uniform(1, 5) * (1 + t / constant) ** -rng.uniform(0.5, 1.5)
    else:
        fall = level + rng.uniform(1, 5) / (1 + (t / (5 * constant)) ** rng.uniform(3, 8))
    gap = rng.uniform(0, 0.15) * t / n
    return fall, fall * np.exp(gap), Truth()


def before_the_first(rng: Rng) -> Made:
    """Both fall together, but the evaluations begin when the held-out loss has fallen.

    The training loss goes on to 2 to 10 times below.
    """
    n = int(between(rng, 3000, 3e4))
    t, early = np.arange(1, n + 1), n * between(rng, 0.002, 0.01)
    chance, power = np.log(rng.choice([10, 59, 113])), rng.uniform(5, 8)
    learnt = rng.uniform(2.5, 4.5) * _hill(t, early, power)
    further = np.log(between(rng, 2.5, 10)) * _hill(t, n * between(rng, 0.1, 0.3), 3)
    return chance * np.exp(-learnt - further), chance * np.exp(-learnt), Truth()


def in_part(rng: Rng) -> Made:
    """The held-out loss falls with the training loss, then stays far above it."""
    n = int(between(rng, 3000, 3e4))
    t, early = np.arange(1, n + 1), n * between(rng, 0.02, 0.08)
    chance = np.log(rng.choice([10, 59, 113]))
    part = rng.uniform(0.8, 1.5) * _hill(t, early, rng.uniform(3, 6))
    further = rng.uniform(1, 3) * _hill(t, n * between(rng, 0.2, 0.4), 3)
    return chance * np.exp(-part - further), chance * np.exp(-part), Truth()


KINDS: dict[str, Callable[[Rng], Made]] = {
    "grokking": grokking,
    "grokking_accuracies": grokking_accuracies,
    "never": never,
    "overfit": overfit,
    "double_descent": double_descent,
    "alike": alike,
    "before_the_first": before_the_first,
    "in_part": in_part,
}


def pair(rng: Rng, kind: str, noise: float) -> Pair:
    """A pair of curves: training at each step, evaluation evenly or logarithmically spaced."""
    while True:
        try:
            training, held, truth = KINDS[kind](rng)
            break
        except UnclearError:
            continue
    n = len(training)
    steps = np.arange(1, n + 1)
    if rng.random() < 0.5 or kind in ("grokking", "grokking_accuracies", "never"):
        held_steps = np.unique(np.geomspace(1, n, 250).round().astype(int))
    else:
        every = max(1, n // int(rng.integers(200, 500)))
        held_steps = np.arange(every, n + 1, every)
    if kind == "before_the_first":
        held_steps = np.unique(np.geomspace(0.05 * n, n, int(rng.integers(9, 60))).round())
        held_steps = held_steps.astype(int)
    held = held[held_steps - 1]
    if kind == "grokking_accuracies":
        columns = ("train_accuracy", "eval_accuracy")
        noisy = [np.clip(y + noise * rng.standard_normal(len(y)) * 2 * np.sqrt(y * (1 - y)), 0, 1)
                 for y in (training, held)]  # fmt: skip
    else:
        columns = ("train_loss", "eval_loss")
        noisy = [y * np.exp(noise * rng.standard_normal(len(y))) for y in (training, held)]
    return Pair(kind, noise, steps, noisy[0], held_steps, noisy[1], columns, truth)
