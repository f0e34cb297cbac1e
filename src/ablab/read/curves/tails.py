"""Slow tails: a fast fall that a long, much slower one follows."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ablab.read.curves.reading import Descent, Tail
from ablab.read.curves.scale import Floats, Scale
from ablab.read.curves.view import View

_SLOWER = 3.0  # minimum ratio of the mean slopes before and after the knee
_LEAST = 0.04  # minimum fall of the tail, on the reading scale
_ERRORS = 5.0  # ... and in standard errors
_LONG = 0.15  # minimum length of the tail, as a fraction of the curve's steps
_FAST = 0.1  # minimum fall before the knee, on the reading scale,
_PART = 0.1  # and as a part of the whole fall
_FEWEST = 4  # minimum number of bins on either side of the knee
_WINDOWS = (1.0, 0.6, 0.4, 0.25, 0.15)  # first parts of a fall in which a knee is looked for
_NEAR = 3.0  # length in which it is looked for again, in lengths of the fast part,
_AGAIN = 2  # so many times,
_DEEP = 2.0  # if the fast part falls by this much on the reading scale
_LAW = 0.03  # maximum deviation from one power law, as a fraction of the fall
_SETTLED = 0.1  # last part of a fall to a floor, which is its approach and no tail


def split(
    views: tuple[View, View], scale: Scale, descent: Descent, begin: float, settles: bool
) -> tuple[Descent, Tail | None]:
    """A fall up to its knee, and the slow tail after it, if there is one.

    The knee is where the curve is farthest below the chord of the fall, on the reading scale and in
    linear time (Satopää et al., "Finding a 'kneedle' in a haystack", 2011). A fall that one power
    law of the step describes has no knee; its exponent says that it slows down.

    Args:
        views: The curve in linear and in logarithmic time.
        scale: The scale on which the curve is read.
        descent: The fall.
        begin: The step from which its fast part falls: its start, or where it became steeper.
        settles: Whether the fall ends at the floor.
    """
    step, value, error = _points(views, begin, descent.end)
    if settles and len(value):
        before = value >= value[-1] + _SETTLED * (value[0] - value[-1])
        last = int(np.flatnonzero(before)[-1]) + 1
        step, value, error = step[:last], value[:last], error[:last]
    if len(step) < 2 * _FEWEST:
        return descent, None
    if _is_power_law(step, value, error):
        return descent, None
    span = float(views[0].steps[-1] - views[0].steps[0])
    best = max(_knees(step, value, error, span), default=None)
    if best is None:
        return descent, None
    _, knee, factor = best
    knee = _closer(step, value, knee)
    at, there = int(step[knee]), scale.value(float(value[knee]))
    tail = Tail(at, descent.end, there, descent.to, factor)
    return replace(descent, end=at, to=there), tail


def _points(views: tuple[View, View], first: float, last: float) -> tuple[Floats, Floats, Floats]:
    """Steps, values and errors of the bins between two steps, of the view that has more there."""
    found = []
    for view in views:
        bins = view.bins
        inside = (bins.step >= first) & (bins.step <= last)
        found.append((bins.step[inside], bins.mean[inside], bins.deviation[inside]))
    return max(found, key=lambda each: len(each[0]))


def _knees(
    step: Floats, value: Floats, error: Floats, span: float
) -> Iterator[tuple[float, int, float]]:
    """Knees that a long and slow tail follows: how sharp each is, its point, and its factor.

    They are looked for in the whole fall and in its first parts, as a tail that itself slows down,
    or becomes steeper again, moves the knee of the whole.
    """
    for part in _WINDOWS:
        last = int(np.searchsorted(step, step[0] + part * (step[-1] - step[0]), side="right"))
        found = _knee(step[:last], value[:last])
        if found is None:
            continue
        knee, sharp = found
        fast, slow = float(step[knee] - step[0]), float(step[-1] - step[knee])
        fell, falls = float(value[0] - value[knee]), float(value[knee] - np.median(value[-3:]))
        least = max(_LEAST, _ERRORS * float(np.hypot(error[knee], error[-1])))
        if fast <= 0 or slow < max(_LONG * span, fast) or falls < least:
            continue
        if fell < max(_FAST, _PART * (fell + falls)):
            continue
        factor = fell / fast / (falls / slow)
        if factor >= _SLOWER:
            yield sharp, knee, factor


def _closer(step: Floats, value: Floats, knee: int) -> int:
    """The knee as it looks near it: a tail that itself slows down moves it, if the fall is deep."""
    for _ in range(_AGAIN):
        if value[0] - value[knee] < _DEEP:
            break
        last = int(np.searchsorted(step, step[0] + _NEAR * (step[knee] - step[0])))
        found = _knee(step[:last], value[:last])
        knee = knee if found is None else found[0]
    return knee


def _knee(step: Floats, value: Floats) -> tuple[int, float] | None:
    """The point that is farthest below the line from the first to the last one, and how far.

    The distance is a fraction of the fall.
    """
    if len(step) < 2 * _FEWEST:
        return None
    smooth = np.convolve(np.pad(value, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    below = np.interp(step, step[[0, -1]], smooth[[0, -1]]) - smooth
    knee = int(np.argmax(below))
    if not _FEWEST <= knee < len(step) - _FEWEST:
        return None
    return knee, float(below[knee] / max(smooth[0] - smooth[-1], 1e-9))


def _is_power_law(step: Floats, value: Floats, error: Floats) -> bool:
    """Whether one line over the logarithm of the step describes the whole fall."""
    x = np.log(np.maximum(step, 1.0))
    places = np.linspace(x[0], x[-1], 40)  # equally spaced, whatever the bins are
    y = np.interp(places, x, value)
    rest = y - np.polyval(np.polyfit(places, y, 1), places)
    limit = max(_LAW * float(y[0] - y[-1]), 3 * float(error.mean()))
    return bool(np.abs(rest[1:-1]).max() <= limit)
