"""Transitions: changes from one level to another, with their step and width."""

import numpy as np

from ablab.read.curves.reading import Plateau, Transition
from ablab.read.curves.scale import Floats, Scale
from ablab.read.curves.view import View

_SUDDEN = 6.0  # maximum ratio of the steps at nine tenths and one tenth of the change,
SUDDEN_WIDTH = 0.2  # or maximum distance between them, as a fraction of the curve's steps
_LEAST = 0.1  # minimum change, of a share
_PART = 0.35  # minimum part of a change on either side of a shoulder
_FASTER = 2.0  # minimum ratio of the slopes before and after it
_FEWEST = 6  # minimum number of values between a twentieth and nineteen twentieths of the change
_SMOOTH = 25  # maximum number of values in the running mean that crossings are looked for in


def find_transition(
    view: View,
    before: Plateau,
    arrival: tuple[int, float],
    scale: Scale,
    settled: list[int],
    narrow: float = SUDDEN_WIDTH,
) -> Transition | None:
    """The transition from a plateau to where the curve arrives, if it gets there soon.

    Args:
        view: The curve.
        before: The plateau.
        arrival: The index of the value at which the curve arrives, and its level there.
        scale: The scale on which the curve is read.
        settled: Steps at which a flat stretch starts.
        narrow: The width that is sudden at any step, as a fraction of the curve's steps; 0 for a
            rise from the start, which a saturating curve has, too.
    """
    end, to = arrival
    if abs(to - before.level) < _LEAST:
        return None
    first = int(np.searchsorted(view.steps, before.last))
    made = _steps(view, (first, end), (before.level, to), scale)
    if made is None:
        return None
    tenth, step, ninth = made
    width = ninth - tenth
    sudden = ninth <= _SUDDEN * max(tenth, 1)
    short = width <= narrow * (view.steps[-1] - view.steps[0])
    arrives = any(tenth < each <= ninth + 3 * width for each in settled)
    if not (sudden or short) or not (arrives or ninth + width < view.steps[-1]):
        return None
    return Transition(step, width, before.level, to, before.confidence)


def find_shoulder(
    view: View, span: tuple[int, int], levels: tuple[float, float], scale: Scale
) -> tuple[int, float] | None:
    """Where a change pauses: the index at which it goes on much more slowly, and the level there.

    It is where the curve is farthest ahead of the line from the start to the end of the change. The
    parts before and after it both have to be a third of the change, and the first one much steeper:
    a change that saturates makes most of its way before.

    Args:
        view: The curve.
        span: The indices of the values between which the curve changes.
        levels: The levels before and after.
        scale: The scale on which the curve is read.
    """
    first, last = span
    made = _steps(view, span, levels, scale, (0.05, 0.5, 0.95))
    if made is None:
        return None
    high, low = scale.read(np.array(levels))
    window = int(np.clip((last - first) // 20, 1, _SMOOTH)) | 1
    done = (high - view.smooth(window)[first : last + 1]) / (high - low)
    steps = view.steps[first : last + 1]
    start, end = (int(np.searchsorted(steps, made[place])) for place in (0, 2))
    start, end = max(start - 1, 0), min(end, len(steps) - 1)
    if end - start < _FEWEST:
        return None
    line = np.interp(steps[start : end + 1], steps[[start, end]], done[[start, end]])
    ahead = done[start : end + 1] - line
    place = start + int(np.argmax(ahead))
    before, after = done[place] - done[start], done[end] - done[place]
    if min(before, after) < _PART * (done[end] - done[start]):
        return None
    slopes = [
        (done[b] - done[a]) / (steps[b] - steps[a]) for a, b in ((start, place), (place, end))
    ]
    if slopes[0] < _FASTER * slopes[1]:
        return None
    return first + place, scale.value(float(high - done[place] * (high - low)))


def _steps(
    view: View,
    span: tuple[int, int],
    levels: tuple[float, float],
    scale: Scale,
    parts: tuple[float, float, float] = (0.1, 0.5, 0.9),
) -> tuple[int, int, int] | None:
    """The steps at which a tenth, half and nine tenths of a change are done, or other parts of it.

    A noisy curve goes through each several times. The number of values below a part is that of the
    values before a monotone curve goes through it.
    """
    first, last = span[0], min(2 * span[1] - span[0] + _SMOOTH, len(view.steps))
    high, low = scale.read(np.array(levels))
    if high == low:  # two flat pieces of a quantised accuracy can have one level
        return None
    window = int(np.clip((span[1] - span[0]) // 20, 1, _SMOOTH)) | 1
    done = (high - view.smooth(window)[first:last]) / (high - low)
    places = [int((done < part).sum()) for part in parts]
    if first + places[-1] >= last:
        return None
    tenth, half, ninth = (
        _between(view.steps[first:last], done, place, part)
        for place, part in zip(places, parts, strict=True)
    )
    return tenth, half, ninth


def _between(steps: Floats, done: Floats, place: int, part: float) -> int:
    """The step at which a part of a change is done, between two values where that is known."""
    if place == 0 or not done[place - 1] < part <= done[place]:
        return int(steps[place])
    share = (part - done[place - 1]) / (done[place] - done[place - 1])
    return round(float(steps[place - 1] + share * (steps[place] - steps[place - 1])))
