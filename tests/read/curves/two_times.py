"""Curves whose events need two looks: at the step, and at the logarithm of the step.

What happens early in a long run, delayed descents, rises, peaks, falls that become steeper,
accuracies. Like `generated.py`, it knows the definitions of `truth.py` and nothing of the reader.
An event that one careful person would write down and another would not is in `optional`.
"""

from collections.abc import Callable

import numpy as np

from tests.read.curves import accuracies
from tests.read.curves import truth as events
from tests.read.curves.pieces import UnclearError, require
from tests.read.curves.timed import (
    Drawn,
    Floats,
    Rng,
    Timed,
    around,
    at_level,
    bends_of,
    between,
    ends_of,
    first_at,
    floor_of,
    logged,
    unfinished,
)
from tests.read.curves.truth import Event


def log_time(rng: Rng, noise: float) -> Drawn:
    """L · exp(−max(0, t − t₀) / τ) + f over up to 100,000 steps, over within the first few."""
    n = int(between(rng, 5000, 1e5))
    start = between(rng, 60, 0.02 * n)
    rate = start * rng.uniform(0.1, 0.4)
    level = rng.uniform(0.5, 10)
    floor = level * between(rng, 1e-8, 1e-2)
    t = np.arange(1, n + 1)
    y = level * np.exp(-np.maximum(0, t - start) / rate) + floor
    first, last = at_level(y, level, 5, noise)
    plateau = [
        events.Plateau(level, first, last),
        events.Descent(last, level, "exponential", 1 / rate),
    ]
    return Drawn(y, [*plateau, *floor_of(y, noise)], column="train_loss")


def grokking_loss(rng: Rng, noise: float) -> Drawn:
    """A held-out loss: from chance up to a plateau while the training loss falls, later down."""
    early, factor = between(rng, 60, 300), between(rng, 3, 300)
    late = early * factor
    n = int(late * rng.uniform(2, 5))
    require(n <= 1e5)
    t = np.arange(1, n + 1)
    chance = np.log(rng.choice([59, 97, 113]))
    up = rng.uniform(0.4, 1.5) if rng.random() < 0.7 else 0.0
    drop = rng.uniform(1, 14)
    risen = 1 / (1 + (t / early) ** -6.0)
    fallen = 1 / (1 + (t / late) ** -between(rng, 6, 30))
    y = chance * np.exp(up * risen - drop * fallen)
    truth: list[Event] = []
    optional: list[Event] = []
    level = float(chance * np.exp(up))
    first, last = at_level(y, level, int(early * np.sqrt(factor)), max(noise, 0.03))
    there = abs(np.log(y[int(early * np.sqrt(factor)) - 1] / level)) < 0.03
    flat = [
        events.Plateau(level, first, last),
        events.Descent(last, level, "sigmoid", drop),
    ]
    if there and last > (2.5 * first if up else 100):
        truth += flat
    else:
        optional += flat
        top = int(np.argmax(y))
        optional.append(events.Peak(top + 1, float(y[top])))
        optional.append(events.Descent(top + 1, float(y[top]), "sigmoid", drop))
    optional.append(events.Peak(int(np.argmax(y)) + 1, level))
    if up:
        ten, ninety = (first_at(risen > part) for part in (0.1, 0.9))
        truth.append(events.Rise(ten, ninety, float(chance), float(y.max())))
        first, last = at_level(y, float(chance), 5, noise)
        optional.append(events.Plateau(float(chance), 1, max(last, 2)))
    optional += ends_of(y, noise)
    return Drawn(y, truth, optional)


def rise_from_start(rng: Rng, noise: float) -> Drawn:
    """A held-out loss that only gets worse: at once, or after a while."""
    n = int(between(rng, 1000, 5e4))
    t = np.arange(1, n + 1)
    height = between(rng, max(np.log(1.4), 7 * noise), 2.5)
    form = rng.integers(3)
    if form == 0:
        part = -np.expm1(-t / (n * rng.uniform(0.05, 0.3)))
    elif form == 1:
        part = t / n
    else:
        part = 1 / (1 + (t / (n * between(rng, 0.01, 0.3))) ** -5.0)
    part = part / part[-1]
    level = rng.uniform(0.5, 6)
    y = level * np.exp(height * part)
    ten, ninety = (first_at(part > share) for share in (0.1, 0.9))
    near = [ninety, *(first_at(part > share) for share in (0.95, 0.98, 0.995))]
    optional: list[Event] = [events.Floor(float(y[-1]), step) for step in near]
    optional.append(events.Plateau(level, 1, ten))
    return Drawn(y, [events.Rise(ten, ninety, float(y[0]), float(y[-1]))], optional)


def peak(rng: Rng, noise: float) -> Drawn:
    """A loss that rises to a peak before it falls."""
    n = int(between(rng, 2000, 5e4))
    t = np.arange(1, n + 1)
    top = n * between(rng, 0.01, 0.3)
    require(top > 60)
    height = between(rng, max(np.log(1.5), 8 * noise), 2.5)
    drop = height + rng.uniform(0.7, 3)
    up = 1 / (1 + (t / (0.5 * top)) ** -4.0)
    down = 1 / (1 + (t / (2 * top)) ** -4.0)
    y = rng.uniform(1, 6) * np.exp(height * 1.2 * up - drop * 1.1 * down)
    place = int(np.argmax(y))
    require(np.log(y[place] / y[0]) > max(np.log(1.4), 7 * noise))
    risen = np.log(y[:place] / y[0]) / np.log(y[place] / y[0])
    first, last = (first_at(risen > part) for part in (0.1, 0.9))
    optional: list[Event] = [events.Rise(first, last, float(y[0]), float(y[place]))]
    optional += [*around(y, place), *around(y, 0)]
    optional += [*ends_of(y, noise), *bends_of(n)]
    return Drawn(y, [events.Peak(place + 1, float(y[place]))], optional)


def overfit(rng: Rng, noise: float) -> Drawn:
    """A held-out loss that falls and then rises to the end."""
    n = int(between(rng, 2000, 5e4))
    t = np.arange(1, n + 1)
    turn = n * between(rng, 0.03, 0.4)
    fall = rng.uniform(1, 8) * (1 + t / (turn * rng.uniform(0.1, 0.3))) ** -rng.uniform(0.7, 1.5)
    rise = between(rng, 0.5, 4) * np.log1p((t / turn) ** 3.0)
    y = rng.uniform(0.8, 2) + fall + 0.4 * rise
    return _bump(y, noise, True)


def double_descent(rng: Rng, noise: float) -> Drawn:
    """A held-out loss that falls, rises, and falls again."""
    n = int(between(rng, 3000, 5e4))
    t = np.arange(1, n + 1)
    first = n * between(rng, 0.02, 0.1)
    times = rng.uniform(3, 6)
    fall = rng.uniform(0.7, 2) / (1 + (t / first) ** -3.0)
    rise = between(rng, max(np.log(1.6), 8 * noise), 1.2) / (1 + (t / (first * times)) ** -5.0)
    again = rng.uniform(1, 3) / (1 + (t / (first * times**2)) ** -5.0)
    require(first * times**2 < 0.8 * n)
    return _bump(rng.uniform(1, 6) * np.exp(-fall + rise - again), noise, False)


def _bump(y: Floats, noise: float, to_end: bool) -> Drawn:
    """The truth of a curve that falls from the start, rises, and perhaps falls again."""
    n = len(y)
    turns = np.flatnonzero(np.diff(np.sign(np.diff(y))) != 0) + 1
    require(len(turns) == (1 if to_end else 2))
    low = int(turns[0])
    high = n - 1 if to_end else int(turns[1])
    least = max(np.log(1.4), 7 * noise)
    require(np.log(y[high] / y[low]) > least and np.log(y[0] / y[low]) > least)
    require(low > 40)
    rise = events.Growback(low + 1, high + 1, float(y[low]), float(y[high]))
    optional: list[Event] = [events.FromStart(float(y[0]))]
    for place in (0, low, high):
        optional += around(y, place)
    if to_end:
        optional.append(events.Floor(float(y[-1]), first_at(y > 0.95 * y[-1])))
        return Drawn(y, [rise], [*optional, *bends_of(low)])
    return Drawn(y, [rise], [*optional, *bends_of(low), *ends_of(y, noise)])


def steepening(rng: Rng, noise: float) -> Drawn:
    """A fall whose slope suddenly becomes 4 to 20 times as steep."""
    n = int(between(rng, 1000, 3e4))
    t = np.arange(1, n + 1)
    step = n * rng.uniform(0.15, 0.8)
    factor = rng.uniform(4.5, 20)
    before = between(rng, max(0.5, 8 * noise), 2) / step
    after = before * factor
    require(after * (n - step) > max(1.0, 8 * noise))
    end = min(n, int(step + 16 / after))
    soft = 0.02 * step
    bend = soft * np.logaddexp(0, (t - step) / soft)
    y = rng.uniform(1, 8) * np.exp(-before * t - (after - before) * bend)[:end]
    require(end > 1.1 * step and after * (end - step) > max(1.0, 8 * noise))
    truth = [events.Steepening(int(step), factor), unfinished()]
    return Drawn(y, truth, [events.FromStart(float(y[0]))], "train_loss")


def missed_spike(rng: Rng, noise: float) -> Drawn:
    """Spikes at a period, one of which does not come."""
    n = int(between(rng, 3000, 3e4))
    t = np.arange(1, n + 1)
    count = int(rng.integers(5, 10))
    period = n * rng.uniform(0.7, 0.9) / count
    missed = int(rng.integers(1, count - 1))
    log = np.log(between(rng, 1e-4, 0.1)) - rng.uniform(0, 1) * t / n
    found: list[Event] = []
    step = period * rng.uniform(0.4, 1)
    constant = between(rng, 8, min(40, period / 12))
    height = between(rng, max(np.log(4), 10 * noise), 5)
    for number in range(count):
        at = int(step + period * (number + rng.uniform(-0.04, 0.04)))
        if number != missed and at < n - 60:
            own = height * rng.uniform(0.8, 1.2)
            log = log + np.where(t >= at, own * np.exp(-np.maximum(t - at, 0) / constant), 0)
            width = constant * np.log(2)
            found.append(events.Spike(at, float(np.exp(own)), width))
    require(len(found) >= 4)
    ends: list[Event] = [unfinished(), events.FromStart(float(np.exp(log[0])))]
    ends.append(events.Floor(float(np.exp(log[-1])), int(0.5 * n)))
    ends += [events.Floor(float(np.exp(log[-1])), int(p * n)) for p in (0, 0.1, 0.3, 0.7, 0.85)]
    return Drawn(np.exp(log), [*found, events.Repeats(period)], ends, "train_loss")


KINDS: dict[str, Callable[[Rng, float], Drawn]] = {
    "log_time": log_time,
    "grokking_loss": grokking_loss,
    "grokking_accuracy": accuracies.grokking_accuracy,
    "transition": accuracies.transition,
    "rising_accuracy": accuracies.rising_accuracy,
    "rise_from_start": rise_from_start,
    "peak": peak,
    "overfit": overfit,
    "double_descent": double_descent,
    "steepening": steepening,
    "missed_spike": missed_spike,
}


def drawn(rng: Rng, kind: str, noise: float) -> Timed:
    """A curve of a kind of KINDS as it would be logged."""
    while True:
        try:
            return logged(rng, kind, KINDS[kind](rng, noise), noise)
        except UnclearError:
            continue
