"""One pass over a curve, in linear or in logarithmic time, and how two passes are merged."""

from dataclasses import dataclass

import numpy as np

from ablab.read.curves import spikes
from ablab.read.curves.ends import falls_at_end, line
from ablab.read.curves.falls import Bend, find_slowdowns, find_steepenings
from ablab.read.curves.flats import Flat, edges, find_end, find_flats
from ablab.read.curves.rises import Rise, find_rises
from ablab.read.curves.view import View

_DROP = 0.2  # minimum fall after a plateau, on the reading scale
_SMALL_DROP = 0.04  # ... and after one that takes much of the curve,
_MOST_OF_IT = 0.3  # at least this fraction of its steps
_STEEPER = 4.0  # minimum ratio of the slopes after and within a plateau
_LONG = 0.08  # minimum length of a plateau that a rise follows, as a fraction of the curve's time
_SOON = 2.5  # in logarithmic time, a plateau is left before this multiple of its last step
_CALM = 5  # number of values in the running mean that may come back from a spike
_LEFT = 0.5  # minimum part of the height of a spike that is left
_HIGHER = 1.1  # a rise in logarithmic time replaces one that is lower by this factor
_FEWEST_EARLY = 10  # the same of plateaus found in logarithmic time,
_SHORTEST = 25  # and their minimum number of steps
_EARLY = 0.1  # bends are looked for in logarithmic time in this first fraction of the steps
_FEWEST = 5  # minimum number of values of a plateau and of a rise


@dataclass(frozen=True)
class Level:
    """A flat stretch that the curve leaves, by the indices of its first and last value.

    Attributes:
        view: The view in which it was found.
        first: The first value at the level.
        last: The last value at the level.
        level: The level, on the reading scale.
        drop: The fall afterwards, on the reading scale.
        downwards: Whether the curve leaves it downwards.
        share: Its length as a fraction of the curve's time.
    """

    view: View
    first: int
    last: int
    level: float
    drop: float
    downwards: bool
    share: float


@dataclass(frozen=True)
class Found:
    """What one pass, or two, found. Rises and bends come with the view that their bins are of.

    A fall ends at the next of ``stops``: the indices at which flat stretches and rises begin, and
    spikes from which the curve does not come back (``leaps``).
    """

    levels: list[Level]
    rises: list[tuple[View, Rise]]
    slowdowns: list[tuple[View, Bend]]
    steepenings: list[tuple[View, Bend]]
    ends: list[tuple[View, Flat]]
    stops: list[int]
    leaps: list[int]


def read_pass(view: View, jumps: list[spikes.Jump]) -> Found:
    """What is in a curve, in the time of a view."""
    flats = find_flats(view)
    rises = [rise for rise in find_rises(view) if not _is_tail(view, rise, jumps)]
    if view.logarithmic:
        rises = [each for each in rises if view.bins.last[each.last] - _before(view, each) >= 3]
    end = None if falls_at_end(view) else find_end(view)
    if end is not None:  # the flat stretch at the end includes the flat pieces there
        flats = [flat for flat in flats if flat.last < end.first] + [end]
    levels = _levels(view, [each for each in flats if each is not end], flats, rises, jumps)
    blocked = [(flat.first - 1, flat.last + 1) for flat in flats]
    blocked += [(rise.first - 2, rise.last + 2) for rise in rises]
    blocked += [_removed(view, jump) for jump in jumps if jump.back - jump.onset > 2]
    slowdowns = find_slowdowns(view, blocked)
    tops = [flat.last for flat in flats] + [rise.last for rise in rises]
    steepenings = [
        bend
        for bend in find_steepenings(view, tops)
        if not any(first <= bend.bin <= last + 1 for first, last in blocked)
    ]
    stops = [flat.first for flat in flats] + [rise.first for rise in rises]
    leaps = [jump.onset for jump in jumps if _is_leap(view, jump)]
    return Found(
        levels,
        [(view, rise) for rise in rises],
        [(view, bend) for bend in slowdowns],
        [(view, bend) for bend in steepenings],
        [] if end is None else [(view, end)],
        [int(view.bins.first[stop]) for stop in stops] + leaps,
        leaps,
    )


def merge(linear: Found, logarithmic: Found) -> Found:
    """Both passes, each finding once: that of the linear pass where both have it."""
    levels = list(linear.levels)
    for level in logarithmic.levels:
        if not any(_same_level(level, other) for other in linear.levels):
            levels.append(level)
    rises = list(linear.rises)
    for view, rise in logarithmic.rises:
        span = _rise_span(view, rise)
        same = [each for each in rises if _overlap(span, _rise_span(*each))]
        if all(rise.high - rise.low > _HIGHER * (other.high - other.low) for _, other in same):
            rises = [each for each in rises if each not in same] + [(view, rise)]
    return Found(
        sorted(levels, key=lambda each: each.first),
        sorted(rises, key=lambda each: _rise_span(*each)),
        _bends(linear.slowdowns, logarithmic.slowdowns),
        _bends(linear.steepenings, logarithmic.steepenings),
        [*linear.ends, *logarithmic.ends],
        sorted({*linear.stops, *logarithmic.stops, *(level.first for level in levels)}),
        linear.leaps,
    )


def _same_level(one: Level, other: Level) -> bool:
    return _overlap((one.first, one.last), (other.first, other.last))


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two ranges share more than a third of the shorter one."""
    both = min(one[1], other[1]) - max(one[0], other[0])
    return both > min(one[1] - one[0], other[1] - other[0]) / 3


def _rise_span(view: View, rise: Rise) -> tuple[int, int]:
    return int(view.bins.first[rise.first]), int(view.bins.last[rise.last])


def _bends(
    linear: list[tuple[View, Bend]], logarithmic: list[tuple[View, Bend]]
) -> list[tuple[View, Bend]]:
    """The bends of both passes; those within a third of the later step are one.

    Those in logarithmic time are for the beginning of the curve, where linear bins are too long.
    Of several that are one, that of the linear pass stays, or the most significant one.
    """
    early = [each for each in logarithmic if _step_of(each) <= _EARLY * each[0].steps[-1]]
    found: list[tuple[View, Bend]] = []
    for each in sorted([*linear, *early], key=_step_of):
        if not found or _step_of(each) - _step_of(found[-1]) > _step_of(each) / 3:
            found.append(each)
        elif _rank(each) > _rank(found[-1]):
            found[-1] = each
    return found


def _step_of(found: tuple[View, Bend]) -> float:
    view, bend = found
    return float(view.bins.step[bend.bin])


def _rank(found: tuple[View, Bend]) -> tuple[bool, float]:
    view, bend = found
    return not view.logarithmic, bend.score


def _before(view: View, rise: Rise) -> int:
    return int(view.bins.first[rise.first])


def _levels(
    view: View,
    candidates: list[Flat],
    flats: list[Flat],
    rises: list[Rise],
    jumps: list[spikes.Jump],
) -> list[Level]:
    """The flat stretches that the curve leaves."""
    found = []
    for flat in candidates:
        low, high = neighbourhood(view, flat, flats, rises)
        first, last = edges(view, flat, low, high)
        drop = _drop(view, flat, high, last)
        long = view.length(flat.first, flat.last) >= _LONG * view.span
        in_rise = any(rise.first <= flat.last + 1 and flat.first - 1 <= rise.last for rise in rises)
        if drop is None and not (long and in_rise and _is_left_upwards(view, flat, rises)):
            continue
        if not long and (in_rise or _after_spike(view, flat, jumps)):
            continue
        if last - first < _FEWEST or (view.logarithmic and not _is_long(view, first, last)):
            continue
        if np.isfinite(view.values[first : last + 1]).mean() <= 0.5:
            continue
        share = view.length(flat.first, flat.last) / view.span
        found.append(Level(view, first, last, flat.level, drop or _DROP, drop is not None, share))
    return found


def _is_long(view: View, first: int, last: int) -> bool:
    """Whether a plateau in logarithmic time is more than the rounded beginning of a fall."""
    return last - first >= _FEWEST_EARLY and view.steps[last] - view.steps[first] >= _SHORTEST


def _after_spike(view: View, flat: Flat, jumps: list[spikes.Jump]) -> bool:
    """Whether a stretch starts where a spike ends, and so belongs to its decay."""
    first = int(view.bins.first[flat.first])
    return any(jump.onset < first <= jump.back + 3 * (jump.back - jump.onset) for jump in jumps)


def neighbourhood(view: View, flat: Flat, flats: list[Flat], rises: list[Rise]) -> tuple[int, int]:
    """The range of bins around a flat stretch up to the next stretches and rises."""
    low = max(
        [0]
        + [each.last for each in flats if each.last < flat.first]
        + [min(rise.last, flat.first) for rise in rises if rise.first < flat.first]
    )
    high = min(
        [len(view.bins.mean) - 1]
        + [each.first for each in flats if each.first > flat.last]
        + [rise.first for rise in rises if rise.last > flat.last]
    )
    return low, max(high, flat.last)


def _drop(view: View, flat: Flat, high: int, last: int) -> float | None:
    """The fall from a flat stretch before bin ``high``; None if it does not fall.

    It has to become steeper in linear time, too: an exponential fall looks flat at its beginning
    in logarithmic time. ``last`` is the index of the last value at the level.
    """
    mean, error = view.bins.mean, view.bins.deviation
    after = mean[flat.last + 1 : high + 1]
    if not len(after):
        return None
    lowest = int(np.argmin(after))
    drop = float(flat.level - after[lowest])
    least = _SMALL_DROP if _is_long_level(view, flat) else _DROP
    if drop < max(least, 5 * float(np.hypot(flat.deviation, error[flat.last + 1 + lowest]))):
        return None
    if view.logarithmic:  # it has to become steeper soon
        soon = _SOON * float(view.steps[last])
        high = min(high, int(np.searchsorted(view.bins.step, soon)))
        after = mean[flat.last + 1 : high + 1]
        if not len(after):
            return None
        lowest = int(np.argmin(after))
    pieces = [p for p in view.pieces if flat.last < p.first <= max(high, flat.last + 1)]
    if not view.logarithmic:
        pieces = [p for p in pieces if p.last <= max(high, flat.last + 1)]
    falls = [
        (-p.slope * view.length(p.first, p.last), view.steps_between(p.first, p.last))
        for p in pieces
        if np.isfinite(p.slope_deviation) and _is_known(view, p.first, p.last)
    ]
    slopes = [fall / length for fall, length in falls if fall > 0.3 * least]
    whole = float(flat.level - after[lowest]) / view.steps_between(
        flat.last + 1, flat.last + 1 + lowest
    )
    own = max(flat.change, _change(view, flat)) / view.steps_between(flat.first, flat.last)
    return drop if max([*slopes, whole]) >= _STEEPER * own else None


def _is_long_level(view: View, flat: Flat) -> bool:
    """Whether a flat stretch takes so much of a loss that leaving it by little is an event, too."""
    long = view.length(flat.first, flat.last) >= _MOST_OF_IT * view.span
    return view.unit == 1 and not view.logarithmic and long


def _is_known(view: View, first: int, last: int) -> bool:
    """Whether most values of some bins are outside of spikes."""
    values = view.values[view.bins.first[first] : view.bins.last[last] + 1]
    return bool(np.isfinite(values).mean() > 0.7)


def _is_left_upwards(view: View, flat: Flat, rises: list[Rise]) -> bool:
    """Whether a rise from a flat stretch, or to it, is steeper than the stretch in linear time."""
    if not view.logarithmic:
        return True
    own = max(flat.change, _change(view, flat)) / view.steps_between(flat.first, flat.last)
    for rise in rises:
        if rise.last > flat.last and rise.first <= flat.last + 1:
            height = rise.high - flat.level
            return height >= _STEEPER * own * view.steps_between(flat.last, rise.last)
    return True


def _change(view: View, flat: Flat) -> float:
    """The absolute change over a flat stretch in linear time, plus its standard error.

    In logarithmic time, the earlier bins have most of the weight, and may hide a steady fall.
    """
    if not view.logarithmic:
        return flat.change
    inside = slice(flat.first, flat.last + 1)
    x, y = view.bins.step[inside], view.bins.mean[inside]
    slope, error = line(x, y, view.bins.deviation[inside])
    return (abs(slope) + error) * float(x[-1] - x[0])


def _removed(view: View, jump: spikes.Jump) -> tuple[int, int]:
    """The bins around the values that were removed as a spike, where slopes are interpolated."""
    slack = 1 + (view.bin_of(jump.back) - view.bin_of(jump.onset)) // 4
    return max(view.bin_of(jump.onset) - slack, 0), view.bin_of(jump.back) + slack


def _is_tail(view: View, rise: Rise, jumps: list[spikes.Jump]) -> bool:
    """Whether a rise belongs to a spike: what remains of it, or the step up that it leaves."""
    bins = view.bins
    first, last = int(bins.first[rise.first]), int(bins.last[rise.last])
    slack = 2 * int(bins.last[rise.first] - bins.first[rise.first] + 1)
    foot = spikes.foot_length(view.steps)
    for jump in jumps:
        if first > jump.back + slack or last < jump.onset - slack:
            continue
        if jump.onset + jump.width >= len(view.values):  # it is not back by the end
            return spikes.falls_on(view.filled[jump.back :])
        inside = first >= jump.onset - slack - foot and last <= jump.back + slack
        if inside or rise.high - rise.low < 0.6 * jump.height:
            return True
    return False


def _is_leap(view: View, jump: spikes.Jump) -> bool:
    """Whether the curve never comes back half-way from a spike."""
    after = view.smooth(_CALM)[min(jump.back, len(view.values) - 1) :]
    return bool(after.min() > jump.before + max(_DROP, _LEFT * jump.height))
