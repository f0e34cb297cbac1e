"""The curve reader: plateaus, descents, slowdowns, growbacks, spikes, the floor of a curve."""

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
