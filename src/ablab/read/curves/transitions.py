"""Transitions: changes from one level to another, with their step and width."""

import numpy as np

from ablab.read.curves.reading import Plateau, Transition
from ablab.read.curves.scale import Scale
from ablab.read.curves.view import View

_SUDDEN = 6.0  # maximum ratio of the steps at nine tenths and one tenth of the change,
_NARROW = 0.2  # or maximum distance between them, as a fraction of the curve's steps
_LEAST = 0.1  # minimum change, of a share
_SMOOTH = 25  # maximum number of values in the running mean that crossings are looked for in


def find_transition(
    view: View,
    before: Plateau,
    arrival: tuple[int, float],
    scale: Scale,
    settled: list[int],
    narrow: float = _NARROW,
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


def _steps(
    view: View, span: tuple[int, int], levels: tuple[float, float], scale: Scale
) -> tuple[int, int, int] | None:
    """The steps at which a tenth, half and nine tenths of a change are done.

    A noisy curve goes through each several times. The number of values below a part is that of the
    values before a monotone curve goes through it.
    """
    first, last = span[0], min(2 * span[1] - span[0] + _SMOOTH, len(view.steps))
    high, low = scale.read(np.array(levels))
    window = int(np.clip((span[1] - span[0]) // 20, 1, _SMOOTH)) | 1
    done = (high - view.smooth(window)[first:last]) / (high - low)
    places = [first + int((done < part).sum()) for part in (0.1, 0.5, 0.9)]
    if places[-1] >= last:
        return None
    tenth, half, ninth = (int(view.steps[place]) for place in places)
    return tenth, half, ninth
