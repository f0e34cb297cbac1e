"""The curve reader: finds plateaus, descents, slowdowns, growbacks, spikes and the floor.

Modules:

- ``falls``: the form of a fall, and slowdowns.
- ``flats``: flat stretches.
- ``levels``: names of natural levels.
- ``noise``: the noise of a curve.
- ``pieces``: bins, and the segmentation into straight pieces.
- ``reader``: :func:`read_curve`, which combines all of them.
- ``reading``: the result, as data.
- ``rises``: rises after a fall.
- ``scale``: logarithmic and linear scales.
- ``sentences``: readings as text.
- ``spikes``: spikes.
- ``view``: a curve without spikes, in bins and pieces.
"""

from ablab.read.curves.reader import read_curve
from ablab.read.curves.reading import (
    Descent,
    Floor,
    Growback,
    Plateau,
    Reading,
    Slowdown,
    Spike,
)

__all__ = [
    "Descent",
    "Floor",
    "Growback",
    "Plateau",
    "Reading",
    "Slowdown",
    "Spike",
    "read_curve",
]
