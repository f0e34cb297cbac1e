"""Spikes: jumps within a few steps that decay again."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.stats import norm

from ablab.read.curves.noise import Noise

Floats = NDArray[np.float64]

_BEFORE = 11  # values, whose median is the level before a jump
_FAR = 5.5  # standard errors, by which a jump is above the level before
_RISE = 10.0  # steps, that a jump takes at most
_WIDTHS = (1, 3, 8)  # values at the jump, whose mean is compared
_SURE = 15.0  # standard deviations, from which on a single value is a spike, however many there are
_SINGLES = 0.003  # of all values that may be spikes of one value; more of them are noise


@dataclass(frozen=True)
class Jump:
    """A spike on the scale on which the curve is read; places are indices of values.

    Attributes:
        onset: The first value above the level before.
        peak: The highest value.
        back: The first value that is back.
        before: The level before.
        height: How far the peak is above it.
        width: How many values are above half of the height.
        score: The height in standard deviations of the noise.
    """

    onset: int
    peak: int
    back: int
    before: float
    height: float
    width: int
    score: float


def find_jumps(values: Floats, noise: Noise, spacing: float, least: float) -> list[Jump]:
    """The spikes of a curve.

    Args:
        values: The curve on the scale on which it is read.
        noise: Its scatter.
        spacing: The steps from one value to the next.
        least: The least height.
    """
    count = len(values)
    if count < 2 * _BEFORE:
        return []
    rise = max(2, round(_RISE / spacing))
    scatter = np.maximum(noise.here, _upper_scatter(values))
    before, led = _levels_before(values, scatter)
    candidate = np.zeros(count, dtype=bool)
    for width in _WIDTHS:
        mean = np.full(count, -np.inf)
        mean[: count - width + 1] = sliding_window_view(values, width).mean(axis=1)
        # The median before and the mean from here on both scatter.
        error = scatter * np.sqrt(noise.inflation if width > 1 else 1.0)
        error = error * np.sqrt(1 / width + np.pi / 2 / _BEFORE)
        candidate |= (mean - led > _FAR * error) & (mean - led > 0.75 * least)
    # The median of each value and the two after it, the last ones as they are.
    calm = values.copy()
    calm[:-2] = np.median(sliding_window_view(values, 3), axis=1)
    found: list[Jump] = []
    place = 0
    for start in np.flatnonzero(candidate):
        if start < place:
            continue
        # What was led on along the end of another spike would lie too low.
        after_other = bool(found) and start < found[-1].back + 2 * _BEFORE
        level = float(before[start] if after_other else led[start])
        jump, place = _follow(values, calm, int(start), level, float(scatter[start]), rise)
        if jump is not None and jump.height >= max(least, 5.5 * jump.height / jump.score):
            found.append(jump)
    singles = [jump for jump in found if jump.width <= 1 and jump.score < _SURE]
    if len(singles) > max(3, _SINGLES * count):
        found = [jump for jump in found if jump not in singles]
    return found


def confidence(jump: Jump, count: int) -> float:
    """That a jump is none of the noise: among so many values, one of its height would be rare."""
    return float(np.clip(1 - count * norm.sf(min(jump.score, 30.0)), 0.0, 1.0))


def without(values: Floats, jumps: list[Jump]) -> Floats:
    """The curve with its spikes taken out (not a number there)."""
    rest = values.copy()
    for jump in jumps:
        rest[jump.onset : jump.back] = np.nan
    return rest


def likeness(values: Floats, jumps: list[Jump]) -> float | None:
    """The mean correlation of each spike's shape with the mean of all; None where they are short.

    A shape is the curve above the level before, over twice the spikes' median width.
    """
    reach = int(2 * np.median([jump.width for jump in jumps])) + 3
    shapes = [values[each.onset - 2 : each.onset + reach] - each.before for each in jumps]
    shapes = [shape for shape in shapes if len(shape) == reach + 2 and shape.std() > 0]
    if len(shapes) < 3:
        return None
    usual = np.mean([shape / shape.std() for shape in shapes], axis=0)
    return float(np.mean([np.corrcoef(shape, usual)[0, 1] for shape in shapes]))


def period(steps: Floats, jumps: list[Jump]) -> float | None:
    """The steps between spikes that come at even distances, within a quarter; None otherwise."""
    if len(jumps) < 3:
        return None
    apart = np.diff(steps[[jump.onset for jump in jumps]])
    usual = float(np.median(apart))
    return usual if float(np.max(np.abs(apart / usual - 1))) <= 0.25 else None


def _levels_before(values: Floats, scatter: Floats) -> tuple[Floats, Floats]:
    """The median of the values before each one, and it led on to that one where they fall."""
    medians = np.median(sliding_window_view(values, _BEFORE)[:-1], axis=1)
    before = np.full(len(values), np.nan)
    before[_BEFORE:] = medians
    change = np.zeros(len(values))
    change[2 * _BEFORE :] = medians[_BEFORE:] - medians[:-_BEFORE]
    # From the middle of the values before to the next one is a little over half of their number.
    sure = change < -4 * scatter * np.sqrt(np.pi / _BEFORE)
    return before, before + np.where(sure, (_BEFORE + 1) / 2 / _BEFORE * change, 0.0)


def _upper_scatter(values: Floats) -> Floats:
    """The scatter upwards, in stretches: 16% of a normal's values are a deviation above.

    Losses near zero scatter more upwards than around their median.
    """
    count = len(values)
    smooth = np.median(
        sliding_window_view(np.pad(values, _BEFORE // 2, mode="edge"), _BEFORE), axis=1
    )
    above = values - smooth
    size = max(50, count // 8)
    places, found = [], []
    for start in range(0, max(count - size // 2, 1), size // 2):
        stretch = above[start : start + size]
        places.append(start + len(stretch) / 2)
        found.append(float(np.quantile(stretch, 0.84)))
    return np.interp(np.arange(count), places, found)


def _follow(
    values: Floats, calm: Floats, start: int, before: float, scatter: float, rise: int
) -> tuple[Jump | None, int]:
    """A jump followed from where it was seen to where it is back, and where to look on.

    There is none where the curve does not rise, rises slowly, or does not come back by half.
    """
    # The highest value until the curve is down by half of its rise.
    peak, top = start, -np.inf
    for place in range(start, len(values)):
        if values[place] > top:
            peak, top = place, float(values[place])
        level = calm[place]
        if place > start + max(_WIDTHS) and level < before + 0.5 * (top - before):
            break
    height = top - before
    if height <= 0:
        return None, start + 1
    # How long it took: from a fifth of the height to four fifths.
    lowest = max(start - _BEFORE, 0)
    below = np.flatnonzero(values[lowest : peak + 1] < before + 0.2 * height)
    if not len(below):  # it came from above, and only falls no more
        return None, start + 1
    onset = min(lowest + int(below[-1]) + 1, peak)
    first_high = onset + int(np.argmax(values[onset : peak + 1] >= before + 0.8 * height))
    if first_high - onset >= rise:
        return None, peak + 1
    half = before + 0.5 * height
    back, width, away = peak + 1, peak - onset + 1, True
    limit = before + max(scatter, 0.02)
    for place in range(peak + 1, len(values)):
        level = calm[place]
        if away and level < half:
            away, width = False, place - onset
        back = place
        if level <= limit and values[place] <= limit:
            break
        # It lies lower than half and falls no more: a new level, and no part of the spike.
        if not away and place - peak > 12 * width + 10:
            break
    if away and back >= len(values) - 1:  # it never came down by half: a step up, and no spike
        return None, peak + 1
    return Jump(onset, peak, back, before, height, max(width, 1), height / scatter), back
