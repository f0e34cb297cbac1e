"""Notices whether runs fall into two groups, such as runs that learnt and runs that did not.

A mean over both groups describes no run, and its intervals from few seeds cover a fraction of what
they should. Two groups are noticed where one cut separates the runs of at least one cell, and the
gap at the cut is many times the spread within the groups of all cells. Where the task declares the
loss of guessing, that is enough: runs that are still there and runs well below it are two groups.
"""

import math

import numpy as np

from ablab.read.statistics.array import Array, Flags, unit_of

GAP = 7.0
"""The least gap, in standard deviations within groups, with at least two runs on either side."""
LONE_GAP = 12.0
"""The same with a single run on one side, which may be an outlier."""
LEAST_GAP = 0.2
"""The least gap of a column whose range has two ends, as a part of the range."""
LOGARITHMIC = 3.0
"""Positive values that span a larger factor are looked at on a logarithmic scale."""
_LEAST_DEGREES = 2
_GUESSING = 0.97
"""From this fraction of the loss of guessing on, a run guesses."""
_LEARNT = 0.9
"""Up to this fraction, it does not; between the two, it is not clear."""


def notice_cut(values: Array, least_gap: float = 0.0) -> Array:
    """The cut between two groups of runs, (…); NaN where there are not two groups.

    Args:
        values: The values, (…, cells, seeds), with NaN for missing ones.
        least_gap: The least gap between the groups.
    """
    lead = values.shape[:-2]
    unit = unit_of(np.where(np.isfinite(values), values, 0.0), (-1, -2))
    values = (values / unit).reshape(-1, *values.shape[-2:])
    least = least_gap / unit.reshape(-1)
    ordered = np.sort(values.reshape(len(values), -1), axis=-1)  # NaN last
    best = np.full(len(values), np.nan)
    strongest = np.zeros(len(values))
    count = np.isfinite(ordered).sum(axis=-1)
    promising = _promising(values)
    for place in np.flatnonzero(promising.any(axis=0)):
        at = np.flatnonzero(promising[:, place])
        below, above = ordered[at, place], ordered[at, place + 1]
        gap, cut = above - below, (above + below) / 2
        degrees, square, mixed = _within(values[at], cut)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = gap / np.sqrt(square / degrees)
        lone = np.minimum(place + 1, count[at] - place - 1) < 2
        wanted = np.where(lone, LONE_GAP, GAP) * (1 + 4 / np.maximum(degrees, 1))
        found = mixed & (degrees >= _LEAST_DEGREES) & (gap > least[at]) & (ratio > wanted)
        found &= ratio > strongest[at]
        best[at] = np.where(found, cut, best[at])
        strongest[at] = np.where(found, ratio, strongest[at])
    return best.reshape(lead) * unit[..., 0, 0]


def guessing_cut(values: Array, level: float) -> float:
    """The cut between runs that guess and runs that learnt; NaN if there are not two such groups.

    There are if no run is between the two, and at least one cell has runs of both.

    Args:
        values: Losses, (…, seeds), with NaN for missing ones.
        level: The loss of guessing.
    """
    guess, learnt = values >= _GUESSING * level, values <= _LEARNT * level
    clear = (guess | learnt | ~np.isfinite(values)).all()
    mixed = (guess.any(axis=-1) & learnt.any(axis=-1)).any()
    return (_GUESSING + _LEARNT) / 2 * level if clear and mixed else math.nan


def _promising(values: Array) -> Flags:
    """The places in the order of values at which a cut may be found, (…, values - 1).

    A quick bound from cumulative sums over each cell, which rounding cannot make too strict; the
    exact spread is computed at the few places that remain.
    """
    cells, seeds = values.shape[-2:]
    lead = values.shape[:-2]
    values = np.sort(values, axis=-1)  # within cells; NaN last
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        middle = np.where(known, values, 0.0).sum((-2, -1)) / np.maximum(known.sum((-2, -1)), 1)
    centred = np.where(known, values - middle[..., None, None], 0.0)
    # A value that passes from above the cut to below it changes the spread of its own cell only.
    n, sums, squares = (
        np.concatenate([np.zeros((*lead, cells, 1)), np.cumsum(each, axis=-1)], axis=-1)
        for each in (known * 1.0, centred, centred**2)
    )
    square, degrees = np.zeros(n.shape), np.zeros(n.shape)  # of both sides, (…, cells, seeds + 1)
    for m, total, total_square in (
        (n, sums, squares),
        (n[..., -1:] - n, sums[..., -1:] - sums, squares[..., -1:] - squares),
    ):
        square += total_square - total**2 / np.maximum(m, 1)
        degrees += np.maximum(m - 1, 0)
    flat = values.reshape(*lead, cells * seeds)
    order = np.argsort(flat, axis=-1, kind="stable")  # equal values of a cell stay in its order
    ordered = np.take_along_axis(flat, order, axis=-1)
    square, degrees = (
        each[..., 0].sum(axis=-1)[..., None]
        + np.cumsum(
            np.take_along_axis(np.diff(each, axis=-1).reshape(flat.shape), order, axis=-1), axis=-1
        )[..., :-1]
        for each in (square, degrees)
    )
    rounding = 1e-11 * squares[..., -1].sum(axis=-1)[..., None]
    least = np.sqrt(np.maximum(square - rounding, 0) / np.maximum(degrees, 1))
    with np.errstate(invalid="ignore"):
        return np.asarray(np.diff(ordered, axis=-1) > 0.9 * GAP * least)


def _within(values: Array, cut: Array) -> tuple[Array, Array, Flags]:
    """Degrees of freedom and sum of squares within cells and groups; whether a cell has both."""
    degrees = np.zeros(cut.shape)
    square = np.zeros(cut.shape)
    sides = []
    for mine in (values > cut[..., None, None], values < cut[..., None, None]):
        n = mine.sum(axis=-1)
        mean = np.where(mine, values, 0.0).sum(axis=-1) / np.maximum(n, 1)
        square += np.where(mine, (values - mean[..., None]) ** 2, 0.0).sum(axis=(-1, -2))
        degrees += np.maximum(n - 1, 0).sum(axis=-1)
        sides.append(n > 0)
    return degrees, square, (sides[0] & sides[1]).any(axis=-1)
