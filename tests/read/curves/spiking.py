"""Spikes, single or repeated, put where nothing else happens."""

import numpy as np

from tests.read.curves.noise import Noise
from tests.read.curves.pieces import Path, require
from tests.read.curves.truth import Event, Floor, Repeats, Spike


def lift(n: int, step: int, height: float, rise: int, constant: float, form: str) -> np.ndarray:
    """What a spike adds to the log of the loss at steps 1 … n.

    Up in `rise` steps, a line in the log; then down from the log height h, either in the log,
    h e^(−t/constant), or in the loss itself, log(1 + (e^h − 1) e^(−t/constant)).
    """
    t = np.arange(1, n + 1) - step
    up = height * np.clip(1 + t / rise, 0, 1)
    down = np.exp(-np.maximum(t, 0) / constant)
    return np.where(
        t < 0, up, height * down if form == "log" else np.log1p(np.expm1(height) * down)
    )


def quiet(path: Path, noise: Noise, knees: list[int], extent: float) -> np.ndarray:
    """Which steps may carry a spike of this extent: far from a knee, on no steep slope or rise."""
    n = len(path.y)
    margin = max(60, 0.04 * n)
    steps = np.arange(1, n + 1)
    free = (steps > margin) & (steps < n - margin - extent)
    for knee in knees:
        free &= (steps < knee - margin - extent) | (steps > knee + margin)
    for mark in path.marks:
        if mark.name in ("rise", "sigmoid"):
            free &= (steps < mark.first) | (steps > mark.last)
    for before, after in ((0, int(extent)), (int(margin), 0)):
        y = np.pad(path.y, (before, after), mode="edge")
        fall = np.abs(y[before + after :] - y[: len(y) - before - after])
        free &= fall < max(1.0, 6 * noise.relative)  # no clear foot where it is steep
    return free


def add_spikes(
    rng: np.random.Generator,
    path: Path,
    noise: Noise,
    every: int,
    repeated: bool,
    truth: list[Event],
) -> tuple[np.ndarray, list[Event]]:
    """One or two spikes of their own kinds, or 3 to 6 alike at a period with 5% jitter."""
    n = len(path.y)
    added = np.zeros(n)
    events: list[Event] = []
    knees = [end for mark in path.marks for end in (mark.first, mark.last)]
    knees += [event.first for event in truth if isinstance(event, Floor)]
    sort = _sort(rng, noise, every)
    if not repeated:
        taken = np.zeros(n, dtype=bool)
        for _ in range(rng.integers(1, 3)):
            height, constant, form, extent = sort
            free = np.flatnonzero(quiet(path, noise, knees, extent) & ~taken) + 1
            step = _on_grid(rng.choice(free[free % every == 0]) if len(free) > every else 0, every)
            _one(rng, path, noise, (step, height, constant, form), added, events)
            apart = int(max(extent, 0.04 * n)) + 40
            taken[max(0, step - 2 * apart) : step + 2 * apart] = True
            sort = _sort(rng, noise, every)
        return added, sorted(events, key=lambda spike: spike.step)
    height, constant, form, extent = sort
    period = rng.uniform(max(extent + 80, 0.04 * n), max(extent + 81, 0.15 * n))
    free = quiet(path, noise, knees, extent)
    step = float(rng.choice(np.flatnonzero(free)) + 1 if free.any() else 0)
    for _ in range(rng.integers(3, 7)):
        at = _on_grid(step, every)
        require(0 < at <= n and bool(free[at - 1]))
        _one(rng, path, noise, (at, height * rng.uniform(0.9, 1.1), constant, form), added, events)
        step += period * rng.uniform(0.95, 1.05)
    steps = [spike.step for spike in events]
    return added, [*events, Repeats((steps[-1] - steps[0]) / (len(steps) - 1))]


def _on_grid(step: float, every: int) -> int:
    return round(step / every) * every


def _sort(rng: np.random.Generator, noise: Noise, every: int) -> tuple[float, float, str, float]:
    """Height (log), time constant, form of decay, and how long it can be seen."""
    height = np.log(3) * (np.log(1e4) / np.log(3)) ** rng.random()
    form = "log" if rng.random() < 0.6 else "loss"
    constant = rng.uniform(20, 40) if every > 1 else 2 * (40 / 2) ** rng.random()
    if form == "loss":
        constant = min(constant, 25.0 if every > 1 else 12.0)
    size = height if form == "log" else np.expm1(height)
    return height, constant, form, constant * np.log(size / max(noise.relative, 0.01)) + 10


def _one(
    rng: np.random.Generator,
    path: Path,
    noise: Noise,
    sort: tuple[int, float, float, str],
    added: np.ndarray,
    events: list[Event],
) -> None:
    step, height, constant, form = sort
    require(step > 0)
    foot = path.y[step - 1]
    require(np.log(3) <= height <= np.log(1e4) and height >= 6 * noise.deviation(foot))
    require(foot + height < np.log(100))
    shape = lift(len(path.y), step, height, int(rng.integers(1, 4)), constant, form)
    added += shape
    events.append(Spike(step, float(np.exp(height)), float((shape > height / 2).sum())))
