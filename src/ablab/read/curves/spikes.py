"""Spikes: jumps within a few steps that decay again."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.stats import norm

from ablab.read.curves.noise import Noise, correlation_of

Floats = NDArray[np.float64]

_BEFORE = 11  # number of values whose median is the level before a jump
_FAR = 5.5  # minimum height above that level, in standard errors
_RISE = 10.0  # maximum duration of a jump, in steps
_FOOT = 33  # number of values before a jump among which its foot is,
_FOOT_STEPS = 100.0  # within this number of steps,
_SHORTEST_FOOT = 5  # but at least so many values
_WIDTHS = (1, 3, 8)  # numbers of values at the jump whose mean is compared with the level before
_SURE = 15.0  # a single value this many standard deviations high is always a spike
_EVEN = 0.25  # maximum deviation of a distance between periodic spikes, in periods
_MOST_PERIODS = 3  # maximum number of periods between two spikes
_SINGLES = 3  # maximum number of spikes of one value around one; more of them are noise
_AROUND = 500  # ... within this number of values on either side
_BLOCK = 400  # number of values of the blocks in which the upward noise is estimated
_UNDONE = 0.1  # minimum fraction of the curve for the decay of a spike that is not back at the end
_TENTH = float(np.log(10))  # a spike too high to fall by half falls to this fraction of its peak
_SETTLED = 0.03  # fraction of that fall which is left when it has stopped falling
_FALLS = 0.2  # minimum fall after it, if it has not
_STEEP = 0.1  # maximum duration of a jump, as a fraction of its step, where values are far apart


@dataclass(frozen=True)
class Jump:
    """A spike on the reading scale.

    Attributes:
        onset: The index of the first value above the level before.
        peak: The index of the highest value.
        back: The index of the first value back at the level before.
        before: The level before.
        height: The height of the peak above that level.
        width: The number of values above half the height.
        score: The height in standard deviations of the noise.
    """

    onset: int
    peak: int
    back: int
    before: float
    height: float
    width: int
    score: float


def find_jumps(
    steps: Floats, values: Floats, noise: Noise, least: float, logarithmic: bool = True
) -> list[Jump]:
    """The spikes of a curve.

    A spike falls by half of its height. On a logarithmic scale, one that is so high that this takes
    beyond the end of the curve falls to a tenth of its peak.

    Args:
        steps: The steps, (n,).
        values: The curve on its reading scale, (n,).
        noise: The noise of the curve.
        least: The minimum height.
        logarithmic: Whether the reading scale is logarithmic.
    """
    count = len(values)
    if count < 2 * _BEFORE:
        return []
    spacing = float(np.median(np.diff(steps)))
    limits = _Limits(
        max(2, round(_RISE / spacing)),
        foot_length(steps),
        _TENTH if logarithmic else np.inf,
    )
    upper, correlation = _upper_noise(values, int(steps[0] / spacing))
    colour = np.sqrt(6 / (6 - 8 * correlation + 2 * correlation**2))
    scatter = np.maximum(noise.white * colour, upper)
    inflation = (1 + correlation) / (1 - correlation)
    before, led = _levels_before(values, scatter)
    candidate = np.zeros(count, dtype=bool)
    for width in _WIDTHS:
        mean = np.full(count, -np.inf)
        mean[: count - width + 1] = sliding_window_view(values, width).mean(axis=1)
        # Both the median before and the mean after have an error.
        error = scatter * np.sqrt(inflation if width > 1 else 1.0)
        error = error * np.sqrt(1 / width + np.pi / 2 / _BEFORE)
        candidate |= (mean - led > _FAR * error) & (mean - led > 0.75 * least)
    # The median of each value and the next two; the last two values are unchanged.
    calm = values.copy()
    calm[:-2] = np.median(sliding_window_view(values, 3), axis=1)
    found: list[Jump] = []
    place = 0
    for start in np.flatnonzero(candidate):
        if start < place:
            continue
        # An extrapolation along the decay of another spike would be too low.
        after_other = bool(found) and start < found[-1].back + 2 * _BEFORE
        level = float(before[start] if after_other else led[start])
        jump, place = _follow(values, calm, int(start), level, float(scatter[start]), limits)
        if jump is not None and jump.height >= max(least, 5.5 * jump.height / jump.score):
            found.append(jump)
    found = [jump for jump in found if _is_steep(steps, jump)]
    singles = np.array([j.onset for j in found if j.width <= 1 and j.score < _SURE])
    crowded = {int(at) for at in singles if (abs(singles - at) <= _AROUND).sum() > _SINGLES}
    return [jump for jump in found if jump.onset not in crowded]


def _is_steep(steps: Floats, jump: Jump) -> bool:
    """Whether a jump takes a small part of its step, where values are far apart."""
    duration = steps[jump.peak] - steps[jump.onset]
    return bool(duration <= max(_RISE, _STEEP * steps[jump.peak]))


def confidence(jump: Jump, count: int) -> float:
    """The confidence that a jump is not noise, corrected for the number of values."""
    return float(np.clip(1 - count * norm.sf(min(jump.score, 30.0)), 0.0, 1.0))


def without(values: Floats, jumps: list[Jump]) -> Floats:
    """The curve with NaN in place of its spikes."""
    rest = values.copy()
    for jump in jumps:
        rest[jump.onset : jump.back] = np.nan
    return rest


def likeness(values: Floats, jumps: list[Jump]) -> float | None:
    """The mean correlation of each spike's shape with the mean shape; None with too few shapes.

    A shape is the curve minus the level before, over twice the median width of the spikes.
    """
    reach = int(2 * np.median([jump.width for jump in jumps])) + 3
    shapes = [values[each.onset - 2 : each.onset + reach] - each.before for each in jumps]
    shapes = [shape for shape in shapes if len(shape) == reach + 2 and shape.std() > 0]
    if len(shapes) < 3:
        return None
    usual = np.mean([shape / shape.std() for shape in shapes], axis=0)
    return float(np.mean([np.corrcoef(shape, usual)[0, 1] for shape in shapes]))


def period(steps: Floats, jumps: list[Jump]) -> float | None:
    """The number of steps between evenly spaced spikes (within 25%); None if they are not.

    With four spikes or more, some may be missing: then distances are one, two or three periods,
    most of them one.
    """
    if len(jumps) < 3:
        return None
    apart = np.diff(steps[[jump.onset for jump in jumps]])
    usual = float(np.median(apart))
    if float(np.max(np.abs(apart / usual - 1))) <= _EVEN:
        return usual
    if len(apart) < 3:
        return None
    for each in np.sort(apart[apart > 0]):
        times = np.maximum(np.round(apart / each), 1)
        single = times == 1
        if single.mean() <= 0.5 or single.sum() < 2 or times.max() > _MOST_PERIODS:
            continue
        fitted = float(np.median(apart[single]))
        if float(np.max(np.abs(apart / fitted - times))) <= _EVEN:
            return fitted
    return None


def _levels_before(values: Floats, scatter: Floats) -> tuple[Floats, Floats]:
    """The median of the values before each one, and its extrapolation to the value if they fall."""
    medians = np.median(sliding_window_view(values, _BEFORE)[:-1], axis=1)
    before = np.full(len(values), np.nan)
    before[_BEFORE:] = medians
    change = np.zeros(len(values))
    change[2 * _BEFORE :] = medians[_BEFORE:] - medians[:-_BEFORE]
    # The distance from the middle of the window to the next value is (_BEFORE + 1) / 2.
    sure = change < -4 * scatter * np.sqrt(np.pi / _BEFORE)
    return before, before + np.where(sure, (_BEFORE + 1) / 2 / _BEFORE * change, 0.0)


def _upper_noise(values: Floats, first: int) -> tuple[Floats, Floats]:
    """The upward noise by stretches, and its correlation from one value to the next.

    The noise is the 84% quantile, one deviation of a normal distribution: near zero, losses deviate
    upwards more than downwards. The stretches are the same whichever part of a curve is read, apart
    from those at its ends: each is two blocks, and these begin at multiples of their length,
    counted from the step 0.

    Args:
        values: The values, (n,).
        first: The number of the first value, counted from the step 0.
    """
    count = len(values)
    smooth = np.median(
        sliding_window_view(np.pad(values, _BEFORE // 2, mode="edge"), _BEFORE), axis=1
    )
    above = values - smooth
    places, scatters, correlations = [], [], []
    for start in range(-(first % _BLOCK), max(count - _BLOCK // 2, 1), _BLOCK):
        inside = slice(max(start - _BLOCK // 2, 0), max(start + 3 * _BLOCK // 2, 0))
        stretch = above[inside]
        scatter = float(np.quantile(stretch, 0.84))
        block = values[inside]
        narrow = np.abs(block[:-2] - 2 * block[1:-1] + block[2:])
        broad = np.abs(block[:-4] - 2 * block[2:-2] + block[4:])
        few = len(broad) == 0
        correlations.append(0.0 if few else correlation_of(*map(_median, (narrow, broad))))
        places.append(start + _BLOCK // 2)
        scatters.append(scatter)
    every = np.arange(count)
    return np.interp(every, places, scatters), np.interp(every, places, correlations)


def _median(values: Floats) -> float:
    return float(np.median(values))


def _foot(values: Floats, start: int, before: float, scatter: float, count: int) -> float:
    """The level before a jump, if it is lower than the median of the last values before.

    A jump may begin slowly, some values before it is noticed, which raises that median.
    """
    around = values[max(start - count, 0) : start + 1]
    if len(around) < 5:
        return before
    lowest = float(np.median(sliding_window_view(around, 5), axis=1).min())
    return lowest if lowest < before - 3 * scatter else before


@dataclass(frozen=True)
class _Limits:
    """What makes a spike.

    Attributes:
        rise: The maximum number of values in which it rises.
        foot: The number of values before it among which its foot is.
        enough: The fall that is enough if half of the height is more.
    """

    rise: int
    foot: int
    enough: float


def _follow(
    values: Floats, calm: Floats, start: int, before: float, scatter: float, limits: _Limits
) -> tuple[Jump | None, int]:
    """Follows a jump from ``start`` to its end.

    Returns:
        The jump, or None if the curve does not rise, rises slowly, or does not fall by half again;
        and the index at which to continue the search.
    """
    # The highest value until the curve has fallen by half of the rise.
    peak, top = start, -np.inf
    for place in range(start, len(values)):
        if values[place] > top:
            peak, top = place, float(values[place])
        level = calm[place]
        if place > start + max(_WIDTHS) and level < before + 0.5 * (top - before):
            break
    before = _foot(values, start, before, scatter, limits.foot)
    height = top - before
    if height <= 0:
        return None, start + 1
    # The duration of the rise, from 20% to 80% of the height.
    lowest = max(start - _BEFORE, 0)
    below = np.flatnonzero(values[lowest : peak + 1] < before + 0.2 * height)
    if not len(below):  # the curve came from above and has stopped falling
        return None, start + 1
    onset = min(lowest + int(below[-1]) + 1, peak)
    first_high = onset + int(np.argmax(values[onset : peak + 1] >= before + 0.8 * height))
    if first_high - onset >= limits.rise:
        return None, _steepest(values, start, peak, limits.rise)
    span = _decay(values, calm, onset, peak, (before, before + max(scatter, 0.02)))
    if span is None and height > 2 * limits.enough:
        span = _decay_to(calm, onset, peak, top - limits.enough)
    if span is None:  # it never falls enough: a step up, not a spike
        return None, peak + 1
    width, back = span
    return Jump(onset, peak, back, before, height, max(width, 1), height / scatter), back


def _steepest(values: Floats, start: int, peak: int, rise: int) -> int:
    """Where to look for a spike on top of a slow rise: its steepest place, or else after it."""
    ahead = values[start + rise : peak + 1] - values[start : peak + 1 - rise]
    steepest = start + int(np.argmax(ahead)) if len(ahead) else start
    return steepest if steepest > start + rise else peak + 1


def _decay(
    values: Floats, calm: Floats, onset: int, peak: int, levels: tuple[float, float]
) -> tuple[int, int] | None:
    """The width at half of the height, and the index of the first value back.

    Args:
        values: The values.
        calm: The same without single high ones.
        onset: The index of the first value of the spike.
        peak: The index of the highest one.
        levels: The level before the spike, and the one up to which values are back at it.

    Returns:
        None if the curve does not fall by half.
    """
    before, limit = levels
    half = before + 0.5 * (float(values[peak]) - before)
    back, width, away = peak + 1, peak - onset + 1, True
    for place in range(peak + 1, len(values)):
        level = calm[place]
        if away and level < half:
            away, width = False, place - onset
        back = place
        if level <= limit and values[place] <= limit:
            break
        # The curve is below half and no longer falls: a new level, which is not part of the spike.
        if not away and place - peak > 12 * width + 10:
            break
    if not away and back >= len(values) - 1 and back - onset > _UNDONE * len(values):
        # It is not back by the end: what follows its upper half is a fall like any other.
        back = max(min(onset + width, back), peak + 1)
    return None if away and back >= len(values) - 1 else (width, back)


def _decay_to(calm: Floats, onset: int, peak: int, level: float) -> tuple[int, int] | None:
    """The same of a spike that falls to a level above half of its height.

    If the curve falls on to the end, what follows is a fall like any other. If not, the spike
    lasts until the curve has stopped falling.
    """
    above = np.flatnonzero(calm[peak:] > level)
    back = peak + (int(above[-1]) if len(above) else 0) + 1
    if back >= len(calm):
        return None
    if not falls_on(calm[back:]):
        limit = calm[back:].min() + _SETTLED * (calm[peak] - calm[back:].min())
        back += int(np.argmax(calm[back:] <= limit))
    return len(calm) - onset, back


def falls_on(values: Floats) -> bool:
    """Whether values fall up to the last ones: by a factor of 1.2, if the scale is logarithmic."""
    part = max(1, len(values) // 4)
    first, last = float(values[:part].mean()), float(values[-part:].mean())
    middle = values[part:-part]
    return first - last > _FALLS and (not len(middle) or float(middle.mean()) >= last)


def foot_length(steps: Floats) -> int:
    """The number of values before a spike among which its foot is."""
    spacing = float(np.median(np.diff(steps)))
    return int(np.clip(_FOOT_STEPS / spacing, _SHORTEST_FOOT, _FOOT))
