"""The curve reader: finds what is in a curve, in linear and in logarithmic time.

Modules:

- ``arrivals``: where falls begin and arrive.
- ``aside``: two curves of one run without their spikes.
- ``ends``: the end of a curve: its value, whether it still falls.
- ``events``: the parts of a reading, from what both passes found.
- ``falls``: the form of a fall, slowdowns and steepenings.
- ``flats``: flat stretches.
- ``floors``: levels at the end that are shown to be flat.
- ``levels``: names of natural levels.
- ``noise``: the noise of a curve.
- ``numbers``: numbers as text.
- ``pair_sentences``: two curves read together as text.
- ``passes``: one pass over a curve, and merging two of them.
- ``phrases``: the events of a reading as phrases.
- ``pieces``: bins, and the segmentation into straight pieces.
- ``reached``: when a curve reaches a value.
- ``reader``: :func:`read_curve`, which combines all of them.
- ``reading``: the result, as data.
- ``rises``: rises, after a fall or from the start.
- ``scale``: logarithmic and linear scales.
- ``sentences``: readings as text.
- ``spikes``: spikes.
- ``stops``: whether a fall stops or goes on.
- ``tails``: slow tails after fast falls.
- ``together``: training and held-out curves together.
- ``transitions``: changes of an accuracy from one level to another.
- ``view``: a curve without spikes, in bins and pieces.
"""

from ablab.read.curves.reader import read_curve
from ablab.read.curves.reading import (
    Descent,
    Floor,
    Growback,
    Peak,
    Plateau,
    Reading,
    Rise,
    Slowdown,
    SlowFall,
    Spike,
    Steepening,
    Tail,
    Transition,
)

__all__ = [
    "Descent",
    "Floor",
    "Growback",
    "Peak",
    "Plateau",
    "Reading",
    "Rise",
    "SlowFall",
    "Slowdown",
    "Spike",
    "Steepening",
    "Tail",
    "Transition",
    "read_curve",
]
