"""Whether a curve stops or goes on: curves that do and that do not, fitted to a stretch of it."""

import numpy as np

from ablab.read.curves.scale import Floats

_KNEES = np.linspace(0.04, 0.9, 16)  # where a fall stops, as parts of a stretch
_CONSTANTS = np.geomspace(0.03, 0.4, 10)  # time constants of an approach, in the same unit
_POWERS = (0.5, 1.0)  # of the time, for falls that slow down more
_FEWEST = 8  # minimum number of values
_UNSURE = 3.0  # standard errors by which the residual sum of squares may be too large
_OFFSETS = np.concatenate([np.geomspace(0.02, 4.0, 12), [100.0]])  # of the time


def stops(x: Floats, y: Floats, deviation: Floats) -> float:
    """By how much better a fall that stops fits a stretch than one that goes on.

    A fall that stops is a straight line that ends in a level, or an exponential approach to one.
    One that goes on is a line over the logarithm, the inverse square root or the inverse of the
    time since the stretch began plus an offset; with a large offset, that is a straight line. Each
    has three parameters.

    Args:
        x: The steps, (n,).
        y: The values, (n,).
        deviation: Their standard errors, (n,).

    Returns:
        The difference of the residual sums of squares in units of the variance: twice the logarithm
        of the likelihood ratio, positive if the fall stops; at most 0 if no such fall describes the
        stretch.
    """
    count = len(x)
    if count < _FEWEST:
        return 0.0
    time = (x - x[0]) / max(float(x[-1] - x[0]), 1e-300)
    ends = [np.minimum(time, knee) for knee in _KNEES]
    ends += [-np.exp(-time / constant) for constant in _CONSTANTS]
    on = [np.log(time + offset) for offset in _OFFSETS]
    on += [-((time + offset) ** -power) for power in _POWERS for offset in _OFFSETS]
    weight = 1 / deviation**2
    rest = _least_rest(np.array(ends), y, weight)
    better = _least_rest(np.array(on), y, weight) - rest
    adequate = rest <= count - 3 + _UNSURE * float(np.sqrt(2 * (count - 3)))
    return better if adequate else min(better, 0.0)


def _least_rest(shapes: Floats, y: Floats, weight: Floats) -> float:
    """The least weighted residual sum of squares of a falling multiple of one of several shapes.

    Args:
        shapes: The shapes, which rise, (shapes, n).
        y: The values, (n,).
        weight: Their weights, (n,).
    """
    total = weight.sum()
    shapes = shapes - (shapes @ weight / total)[:, None]
    y = y - (y @ weight) / total
    both = np.minimum(shapes @ (weight * y), 0.0)
    spread = np.maximum((shapes**2) @ weight, 1e-300)
    return float((weight * y * y).sum() - (both**2 / spread).max())
