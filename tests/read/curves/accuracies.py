"""Accuracies that rise: suddenly, from one level to another, or from the start on."""

import numpy as np

from tests.read.curves import truth as events
from tests.read.curves.pieces import require
from tests.read.curves.timed import Drawn, Floats, Rng, bends_of, between, first_at, unfinished
from tests.read.curves.truth import Event


def _sigmoid(rng: Rng, t: Floats, middle: float, width: float, log: bool) -> Floats:
    """0 to 1; `width` is that from a tenth to nine tenths, of the step or of its logarithm."""
    where = (np.log(t / middle) if log else (t - middle)) / (width / 4.394)
    return 1 / (1 + np.exp(-np.clip(where, -700, 700)))


def _transition(rng: Rng, noise: float, n: int, middle: float, width: float, log: bool) -> Drawn:
    low = float(rng.choice([0.01, 0.1, 0.5, rng.uniform(0, 0.5)]))
    high = float(rng.uniform(low + 0.25, 1)) if rng.random() < 0.3 else 1.0
    require(high - low > 6 * noise)
    part = _sigmoid(rng, np.arange(1, n + 1), middle, width, log)
    y = low + (high - low) * part
    ten, half, ninety = (first_at(part > share) for share in (0.1, 0.5, 0.9))
    require(part[0] < 0.01 and part[-1] > 0.99)
    leaves, arrives = (first_at(part > share) for share in (0.03, 0.97))
    found = events.Transition(half, ninety - ten, low, high)
    start = events.Plateau(low, 1, leaves)
    optional = [start, events.Floor(high, arrives)]
    leaving = [first_at(part > share) for share in (0.002, 0.01, 0.03, 0.1)]
    optional += [events.Descent(step, low, "", 0) for step in leaving]
    if part[-1] < 0.9999:
        optional.append(events.Unfinished())
    return Drawn(y, [found], [*optional, events.FromStart(low)], "eval_accuracy")


def grokking_accuracy(rng: Rng, noise: float) -> Drawn:
    """An accuracy that goes from chance to its end, with a width in the logarithm of the step."""
    n = int(between(rng, 2000, 1e5))
    return _transition(rng, noise, n, n / between(rng, 2, 100), rng.uniform(0.2, 1.1), True)


def transition(rng: Rng, noise: float) -> Drawn:
    """An accuracy that goes from one level to another, in linear time."""
    n = int(between(rng, 2000, 3e4))
    middle = n * rng.uniform(0.15, 0.8)
    return _transition(rng, noise, n, middle, n * rng.uniform(0.01, 0.12), False)


def rising_accuracy(rng: Rng, noise: float) -> Drawn:
    """An accuracy that rises from the start, ever more slowly."""
    n = int(between(rng, 1000, 5e4))
    t = np.arange(1, n + 1)
    low, high = rng.uniform(0, 0.3), rng.uniform(0.5, 1)
    constant = n * between(rng, 0.01, 0.5)
    part = -np.expm1(-t / constant) if rng.random() < 0.5 else t / (t + constant)
    y = low + (high - low) * part
    last = int(0.8 * n)
    ends: list[Event] = [events.Floor(float(y[-1]), first_at(y > y[-1] - 0.02)), unfinished()]
    truth: list[Event] = [events.FromStart(float(low))]
    if y[-1] - y[last] > max(0.05, 4 * noise):
        truth, ends = [*truth, unfinished()], []
    # Over many values per constant, the first ones are at a level.
    first = first_at(part > 0.1)
    ends += [events.Plateau(low, 1, first), events.Descent(first, low, "", 0)]
    return Drawn(y, truth, [*ends, *bends_of(n)], "eval_accuracy")
