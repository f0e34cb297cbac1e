"""Two curves of one run without their spikes."""

import numpy as np
from numpy.typing import NDArray

from ablab.read.curves import spikes
from ablab.read.curves.noise import estimate_noise
from ablab.read.curves.scale import Floats, Scale

LEAST_SPIKE = 0.4  # minimum height on the reading scale: a factor of 1.5
_REACH = 3  # number of held-out values from a training spike on among which its peak is
_RISES = 0.2  # a rise by this much after a peak is none of its decay,
_ERRORS = 5.0  # or by so many standard deviations of the noise
_BACK = 0.02  # at most so far above the level before, a curve is back at it

Curve = tuple[Floats, Floats]


def without_spikes(
    training: Curve, held_out: Curve, scale: Scale
) -> tuple[Curve, Curve, list[float]]:
    """A training and a held-out curve without the values within spikes of either.

    A held-out curve is logged more rarely, so its spikes are also those of the training curve. What
    is left out of it lasts until it is back at its level before or has stopped falling.

    Args:
        training: The steps and values of the training curve.
        held_out: Those of the held-out curve.
        scale: The scale on which both are read.

    Returns:
        The training curve, the held-out curve, and the steps of the spikes from which the held-out
        one does not come back to its level before.
    """
    steps, values = training
    jumps = _jumps(training, scale)
    left = np.ones(len(steps), dtype=bool)
    for jump in jumps:
        left[jump.onset : jump.back] = False
    onsets = {float(steps[jump.onset]) for jump in jumps}
    onsets |= {float(held_out[0][jump.onset]) for jump in _jumps(held_out, scale)}
    rest, leaps = _without_decays(held_out, sorted(onsets), scale)
    return (steps[left], values[left]), (held_out[0][rest], held_out[1][rest]), leaps


def _jumps(curve: Curve, scale: Scale) -> list[spikes.Jump]:
    read = scale.read(curve[1])
    return spikes.find_jumps(curve[0], read, estimate_noise(read), LEAST_SPIKE, scale.logarithmic)


def _without_decays(
    curve: Curve, onsets: list[float], scale: Scale
) -> tuple[NDArray[np.bool_], list[float]]:
    """Which values are not within spikes that begin at some steps, (n,), and which spikes last."""
    steps, read = curve[0], scale.read(curve[1])
    rises = max(_RISES, _ERRORS * estimate_noise(read).usual)
    outside, leaps = np.ones(len(steps), dtype=bool), []
    for onset in onsets:
        first = int(np.searchsorted(steps, onset))
        if not 0 < first < len(steps) or not outside[first - 1 : first + 1].all():
            continue
        before = float(read[first - 1])
        peak = first + int(np.argmax(read[first : first + _REACH]))
        if read[peak] - before >= LEAST_SPIKE:
            after = _end_of_decay(read, peak, before + _BACK, rises)
            outside[first:after] = False
            if after == len(steps) or read[after] > before + rises:
                leaps.append(onset)
    return outside, leaps


def _end_of_decay(read: Floats, peak: int, level: float, rises: float) -> int:
    """The index after the decay of a spike: back at a level, or where the curve rises again."""
    lowest = peak
    for place in range(peak + 1, len(read)):
        if read[place] < read[lowest]:
            lowest = place
        if read[place] <= level:
            return place
        if read[place] - read[lowest] > rises:
            return lowest
    return len(read)
