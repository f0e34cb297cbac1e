"""Reads a curve: finds plateaus, descents, slowdowns, growbacks, spikes and the floor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from ablab.read.curves import spikes
from ablab.read.curves.falls import Slower, find_slowdowns, form_of_fall
from ablab.read.curves.flats import Flat, edges, find_end, find_flats
from ablab.read.curves.levels import name_level
from ablab.read.curves.noise import estimate_noise
from ablab.read.curves.reading import (
    Descent,
    Floor,
    Growback,
    Plateau,
    Reading,
    Slowdown,
    Spike,
)
from ablab.read.curves.rises import Rise, find_rises
from ablab.read.curves.scale import Scale, scale_of
from ablab.read.curves.view import View, make_view

_FEW = 8  # minimum number of values to find anything
_LEAST_SPIKE = 0.4  # minimum height on the reading scale: a factor of 1.5
_END = 0.12  # fraction of the curve that decides whether it is still falling
_FALLS = 0.02  # minimum fall over that fraction, on the reading scale
_FLOOR = 0.05  # minimum length of a floor, as a fraction of the curve's steps
_DROP = 0.2  # minimum fall after a plateau, on the reading scale
_STEEPER = 4.0  # minimum ratio of the slopes after and within a plateau
_LONG = 0.08  # minimum length of a plateau that a rise follows, as a fraction of the curve's steps


def read_curve(
    steps: ArrayLike,
    values: ArrayLike,
    column: str = "train_loss",
    levels: Mapping[str, float] | None = None,
) -> Reading:
    """Reads a curve. The method is described in ``docs/reading.md``.

    A curve without negative values is read on a logarithmic scale, any other on a linear scale in
    units of a quarter of its range. An accuracy is read with its sign reversed.

    Args:
        steps: The steps at which the curve has values, ascending, (n,).
        values: The values, (n,); values that are not finite are ignored.
        column: The name of the column.
        levels: Natural levels, by name.

    Raises:
        ValueError: No value is finite, or the shapes of steps and values do not match.
    """
    x, raw = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.shape != raw.shape or x.ndim != 1:
        raise ValueError(f"steps {x.shape} and values {raw.shape} do not form a curve")
    known = np.isfinite(raw)
    if not known.any():
        raise ValueError(f"{column} has no finite value")
    not_finite = None if known.all() else int(x[~known][0])
    x, raw = x[known], raw[known]
    scale = scale_of(raw, column)
    tail = max(1, round(_END * len(raw)))
    basic = Reading(
        column=column,
        first=int(x[0]),
        last=int(x[-1]),
        start=float(raw[0]),
        end=float(np.mean(raw[-tail:])),
        lowest=float(raw.min()),
        lowest_at=int(x[np.argmin(raw)]),
        noise=0.0,
        not_finite=not_finite,
        positive=scale.logarithmic,
    )
    if len(raw) < _FEW:
        return basic
    read = scale.read(raw)
    noise = estimate_noise(read)
    spacing = float(np.median(np.diff(x)))
    jumps = spikes.find_jumps(read, noise, spacing, _LEAST_SPIKE)
    view = make_view(x, spikes.without(read, jumps), noise)
    likeness = spikes.likeness(read, jumps) if len(jumps) > 2 else None
    return _assemble(replace(basic, likeness=likeness), view, jumps, scale, levels or {})


def _assemble(
    basic: Reading,
    view: View,
    jumps: list[spikes.Jump],
    scale: Scale,
    levels: Mapping[str, float],
) -> Reading:
    flats = find_flats(view)
    rises = [rise for rise in find_rises(view) if not _is_tail(view, rise, jumps)]
    falling = _falls_at_end(view)
    end = find_end(view)
    if end is not None:  # the flat stretch at the end includes the flat pieces there
        flats = [flat for flat in flats if flat.last < end.first] + [end]
    last = end
    floor = None if falling or last is None else _floor(view, last, flats, rises, scale)
    left = [each for each in flats if each is not last]
    places = _plateaus(view, left, flats, rises, jumps)
    blocked = [(flat.first - 1, flat.last + 1) for flat in flats]
    blocked += [(rise.first - 2, rise.last + 2) for rise in rises]
    slower = find_slowdowns(view, blocked)

    def named(level: float) -> str | None:
        return name_level(level, levels, basic.column)

    stops = [flat.first for flat in flats] + [rise.first for rise in rises]
    stops += [each.bin for each in slower]
    plateaus, descents = [], []
    for flat, (first, stop), how in places:
        level = _level(view, first, stop, scale)
        sure = _certainty(how.drop / _DROP, view.length(flat.first, flat.last) / view.span / 0.03)
        plateaus.append(
            Plateau(level, int(view.steps[first]), int(view.steps[stop]), named(level), sure)
        )
        if how.downwards:
            descents.append(_descent(view, stop, plateaus[-1], stops, scale))
    lowest = int(np.argmin(view.bins.mean))
    value = scale.value
    return replace(
        basic,
        lowest=value(float(view.bins.mean[lowest])),
        lowest_at=int(view.bins.place[lowest]),
        noise=view.noise.usual * (1.0 if scale.logarithmic else scale.unit),
        plateaus=tuple(plateaus),
        descents=tuple(descents),
        slowdowns=tuple(_slowdown(view, each, scale) for each in slower),
        growbacks=tuple(_growback(view, each, scale) for each in rises),
        spikes=tuple(_spike(view, each, scale) for each in jumps),
        period=spikes.period(view.steps, jumps),
        floor=None if floor is None else replace(floor, name=named(floor.level)),
        finished=not falling,
    )


@dataclass(frozen=True)
class _Left:
    """How a curve leaves a flat stretch: by how much, and whether downwards."""

    drop: float
    downwards: bool


def _plateaus(
    view: View,
    candidates: list[Flat],
    flats: list[Flat],
    rises: list[Rise],
    jumps: list[spikes.Jump],
) -> list[tuple[Flat, tuple[int, int], _Left]]:
    """The flat stretches that the curve leaves, with the indices of their first and last value."""
    found = []
    for flat in candidates:
        low, high = _neighbourhood(view, flat, flats, rises)
        left = _left(view, flat, high)
        long = view.length(flat.first, flat.last) >= _LONG * view.span
        in_rise = any(rise.first <= flat.last + 1 and flat.first - 1 <= rise.last for rise in rises)
        if left is None and not (long and in_rise):
            continue
        if not long and (in_rise or _after_spike(view, flat, jumps)):
            continue
        first, end = edges(view, flat, low, high)
        if np.isfinite(view.values[first : end + 1]).mean() > 0.5:  # mostly outside spikes
            found.append((flat, (first, end), left or _Left(_DROP, False)))
    return found


def _after_spike(view: View, flat: Flat, jumps: list[spikes.Jump]) -> bool:
    """Whether a stretch starts where a spike ends, and so belongs to its decay."""
    first = int(view.bins.first[flat.first])
    return any(jump.onset < first <= jump.back + 3 * (jump.back - jump.onset) for jump in jumps)


def _neighbourhood(view: View, flat: Flat, flats: list[Flat], rises: list[Rise]) -> tuple[int, int]:
    """The range of bins around a flat stretch up to the next stretches and rises."""
    low = max(
        [0]
        + [each.last for each in flats if each.last < flat.first]
        + [rise.last for rise in rises if rise.last <= flat.first]
    )
    high = min(
        [len(view.bins.mean) - 1]
        + [each.first for each in flats if each.first > flat.last]
        + [rise.first for rise in rises if rise.first > flat.last]
    )
    return low, max(high, flat.last)


def _left(view: View, flat: Flat, high: int) -> _Left | None:
    """How the curve falls from a flat stretch before bin ``high``; None if it does not."""
    mean, error = view.bins.mean, view.bins.deviation
    after = mean[flat.last + 1 : high + 1]
    if not len(after):
        return None
    lowest = int(np.argmin(after))
    drop = float(flat.level - after[lowest])
    if drop < max(_DROP, 5 * float(np.hypot(flat.deviation, error[flat.last + 1 + lowest]))):
        return None
    pieces = [p for p in view.pieces if flat.last < p.first and p.last <= max(high, flat.last + 1)]
    slopes = [
        -p.slope
        for p in pieces
        if np.isfinite(p.slope_deviation) and -p.slope * view.length(p.first, p.last) > 0.3 * _DROP
    ]
    whole = drop / view.length(flat.last + 1, flat.last + 1 + lowest)
    steepest = max([*slopes, whole])
    own = flat.change / view.length(flat.first, flat.last)
    return _Left(drop, True) if steepest >= _STEEPER * own else None


def _descent(
    view: View, start: int, plateau: Plateau, stops: Sequence[int], scale: Scale
) -> Descent:
    """The descent from a plateau.

    Args:
        view: The curve.
        start: The index of the plateau's last value.
        plateau: The plateau.
        stops: Bins at which a descent ends: of flat pieces, rises and slowdowns.
        scale: The scale on which the curve is read.
    """
    bin_of = int(np.searchsorted(view.bins.last, start))
    last = min((stop for stop in stops if stop > bin_of), default=len(view.bins.mean) - 1)
    # A spike may end on another level: the fall ends where it is lowest.
    lowest = bin_of + int(np.argmin(view.bins.mean[bin_of : last + 1]))
    end = int(view.bins.last[lowest])
    form, rate = form_of_fall(view, start, end)
    at_end = float(view.smooth(5)[end])
    return Descent(
        int(view.steps[start]), int(view.steps[end]), plateau.level, plateau.name,
        scale.value(at_end), form, rate, plateau.confidence,
    )  # fmt: skip


def _floor(
    view: View, flat: Flat, flats: list[Flat], rises: list[Rise], scale: Scale
) -> Floor | None:
    length = view.length(flat.first, flat.last)
    if length < _FLOOR * view.span:
        return None
    low, high = _neighbourhood(view, flat, flats, rises)
    first, end = edges(view, flat, low, high)
    sure = _certainty(length / view.span / _FLOOR, 0.08 / max(flat.change, 1e-6))
    # A curve approaches its floor slowly, so the level is taken from the second half.
    return Floor(_level(view, (first + end) // 2, end, scale), int(view.steps[first]), None, sure)


def _level(view: View, first: int, last: int, scale: Scale) -> float:
    """The mean of the values from ``first`` to ``last``, without a sixth at each end and spikes."""
    trim = (last - first) // 6
    values = view.values[first + trim : last + 1 - trim]
    known = values[np.isfinite(values)]
    if not len(known):  # all values are within spikes: use the interpolation
        known = view.filled[first : last + 1]
    if not scale.logarithmic:
        return scale.value(float(known.mean()))
    return float(np.exp(known).mean())


def _is_tail(view: View, rise: Rise, jumps: list[spikes.Jump]) -> bool:
    """Whether a rise is the remainder of a spike: next to it, and much lower."""
    bins = view.bins
    first, last = int(bins.first[rise.first]), int(bins.last[rise.last])
    slack = 2 * int(bins.last[0] - bins.first[0] + 1)
    return any(
        first <= jump.back + slack
        and last >= jump.onset - slack
        and rise.high - rise.low < 0.6 * jump.height
        for jump in jumps
    )


def _falls_at_end(view: View) -> bool:
    """Whether the last part of the curve falls by more than 2% and more than three errors."""
    bins = view.bins
    last = bins.place >= bins.place[-1] - _END * view.span
    last[-min(6, len(last)) :] = True
    x, y, weight = bins.place[last], bins.mean[last], 1 / bins.deviation[last] ** 2
    middle = (weight * x).sum() / weight.sum()
    spread = float((weight * (x - middle) ** 2).sum())
    if spread == 0:
        return False
    length = x[-1] - x[0]
    change = float((weight * (x - middle) * y).sum() / spread) * length
    return bool(change < -max(_FALLS, 3 * length / np.sqrt(spread)))


def _growback(view: View, rise: Rise, scale: Scale) -> Growback:
    first, last = (int(view.bins.place[place]) for place in (rise.first, rise.last))
    sure = _certainty(rise.score / 7, (rise.high - rise.low) / 0.2)
    return Growback(first, last, scale.value(rise.low), scale.value(rise.high), sure)


def _slowdown(view: View, each: Slower, scale: Scale) -> Slowdown:
    sure = _certainty(each.factor / 3.5, max(each.score, 0.1))
    value = scale.value(float(view.bins.mean[each.bin]))
    return Slowdown(int(view.steps[view.bins.first[each.bin]]), value, each.factor, sure)


def _spike(view: View, jump: spikes.Jump, scale: Scale) -> Spike:
    height = float(np.exp(jump.height)) if scale.logarithmic else jump.height * scale.unit
    step = int(view.steps[jump.onset])
    end = min(jump.onset + jump.width, len(view.steps) - 1)
    width = max(1, int(view.steps[end] - view.steps[jump.onset]))
    return Spike(step, height, width, spikes.confidence(jump, len(view.steps)))


def _certainty(*margins: float) -> float:
    """A confidence from 0 to 1, from ratios of a result to the reader's thresholds.

    The smallest ratio counts: 1 gives 0.63, 2 gives 0.86, 4 gives 0.98.
    """
    return float(np.clip(1 - np.exp(-max(min(margins), 0.0)), 0.0, 1.0))
