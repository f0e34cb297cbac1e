"""The events of a generated curve, as a careful person would name them. Steps are counted from 1.

A curve is "at" a level where it is, without its noise, within 1% of it or within one standard
deviation of the noise there, whichever is larger.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plateau:
    """At `level` without a break from `first` to `last`, and left afterwards."""

    level: float
    first: int
    last: int


@dataclass(frozen=True)
class Descent:
    """A plateau is left: `start` is the last step at its `level`.

    The rate: of an exponential, the fall of the log of the loss per step; of a power, the exponent
    of the step; of a sigmoid, the fall of the log over its whole length, per step.
    """

    start: int
    level: float
    form: str  # exponential | power | sigmoid
    rate: float


@dataclass(frozen=True)
class Growback:
    """A smooth rise between two descents, from `low` at `first` to `high` at `last`."""

    first: int
    last: int
    low: float
    high: float


@dataclass(frozen=True)
class Spike:
    """A jump to `height` times the curve, highest at `step`; `width`: steps above half its log."""

    step: int
    height: float
    width: float


@dataclass(frozen=True)
class Repeats:
    """The mean distance, in steps, of three spikes or more."""

    period: float


@dataclass(frozen=True)
class Slowdown:
    """A descent becomes at least 4 times less steep at `step` and goes on visibly."""

    step: int


@dataclass(frozen=True)
class Floor:
    """At `level` from `first` to the curve's end."""

    level: float
    first: int


@dataclass(frozen=True)
class Unfinished:
    """The curve still falls at its end."""


@dataclass(frozen=True)
class FromStart:
    """The curve improves from its first step on, from `level`."""

    level: float


@dataclass(frozen=True)
class Rise:
    """A loss gets worse without having improved before: from `low` at `first` to `high` at `last`.

    It has risen by a tenth of the (log) height at `first` and by nine tenths at `last`.
    """

    first: int
    last: int
    low: float
    high: float


@dataclass(frozen=True)
class Peak:
    """The curve rises to `value` at `step` and falls again, without having fallen before."""

    step: int
    value: float


@dataclass(frozen=True)
class Steepening:
    """A fall becomes at least 4 times as steep at `step`."""

    step: int
    factor: float


@dataclass(frozen=True)
class Transition:
    """From one level to another: half of the way at `step`, a tenth to nine tenths in `width`."""

    step: int
    width: float
    low: float
    high: float


Event = (
    Plateau
    | Descent
    | Growback
    | Spike
    | Repeats
    | Slowdown
    | Floor
    | Unfinished
    | FromStart
    | Rise
    | Peak
    | Steepening
    | Transition
)
