"""Transitions: changes from one level to another, with their step and width."""

import numpy as np

from ablab.read.curves.reading import Descent, Plateau, Transition
from ablab.read.curves.scale import Scale
from ablab.read.curves.view import View

_SUDDEN = 6.0  # maximum ratio of the steps at nine tenths and one tenth of the change,
_NARROW = 0.2  # or maximum distance between them, as a fraction of the curve's steps
_LEAST = 0.1  # minimum change, of a share
_SMOOTH = 15  # number of values in the running median that crossings are looked for in


def find_transitions(
    view: View, plateaus: list[Plateau], descents: list[Descent], scale: Scale, settled: list[int]
) -> list[Transition]:
    """The descents from a plateau that reach another level soon.

    Args:
        view: The curve.
        plateaus: The plateaus.
        descents: The descents, on the reading scale falls.
        scale: The scale on which the curve is read.
        settled: Steps at which a flat stretch starts.
    """
    found = []
    for descent in descents:
        before = next((each for each in plateaus if each.last == descent.start), None)
        if before is None or abs(descent.to - descent.level) < _LEAST:
            continue
        made = _transition(view, descent, scale)
        if made is None:
            continue
        tenth, step, ninth = made
        width = ninth - tenth
        sudden = ninth <= _SUDDEN * max(tenth, 1)
        narrow = width <= _NARROW * (view.steps[-1] - view.steps[0])
        arrives = any(tenth < each <= ninth + 3 * width for each in settled)
        if (sudden or narrow) and (arrives or ninth + width < view.steps[-1]):
            found.append(Transition(step, width, descent.level, descent.to, descent.confidence))
    return found


def _transition(view: View, descent: Descent, scale: Scale) -> tuple[int, int, int] | None:
    """The steps at which a tenth, half and nine tenths of a descent are done."""
    first, last = np.searchsorted(view.steps, [descent.start, descent.end])
    last = int(min(last + 1, len(view.steps)))
    levels = scale.read(np.array([descent.level, descent.to]))
    smooth = view.smooth(_window(view, first, last))[first:last]
    done = (levels[0] - smooth) / (levels[0] - levels[1])
    steps = []
    for part in (0.1, 0.5, 0.9):
        there = np.flatnonzero(done >= part)
        if not len(there):
            return None
        steps.append(int(view.steps[first + there[0]]))
    return steps[0], steps[1], steps[2]


def _window(view: View, first: int, last: int) -> int:
    """A window for the running mean that is short against the descent."""
    return int(np.clip((last - first) // 20, 1, _SMOOTH)) | 1
