"""What the curve reader finds, as data."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Plateau:
    """A level at which a curve stays before it falls on.

    Attributes:
        level: The level, in the curve's own unit (nats for a loss).
        first: The first step at it.
        last: The last step at it.
        name: What the level means (``log(10)``), where it is a natural one.
        confidence: From 0 to 1, that the curve stays there and then leaves it.
    """

    level: float
    first: int
    last: int
    name: str | None
    confidence: float


@dataclass(frozen=True)
class Descent:
    """A fall from a level.

    Attributes:
        start: The step at which the level is left: the last one within 1% of it, or within a
            standard deviation of the noise where that is more.
        end: The step at which the fall ends: at the next plateau, rise, slowdown, floor or the
            curve's end.
        level: The level that is left.
        name: What that level means, where it is a natural one.
        to: The value at the end.
        form: ``exponential`` (the curve's logarithm falls in line with the step) or ``power law``
            (in line with the step's logarithm), whichever fits better.
        rate: Of an exponential the steps in which the value halves, of a power law its exponent.
        confidence: From 0 to 1.
    """

    start: int
    end: int
    level: float
    name: str | None
    to: float
    form: str
    rate: float
    confidence: float


@dataclass(frozen=True)
class Slowdown:
    """A fall that goes on, but all at once less steeply.

    Attributes:
        step: Where it becomes slower.
        value: The value there.
        factor: How many times less steep it is after than before.
        confidence: From 0 to 1.
    """

    step: int
    value: float
    factor: float
    confidence: float


@dataclass(frozen=True)
class Growback:
    """A rise after a fall.

    Attributes:
        first: The step of the lowest value before it.
        last: The step of the highest value.
        low: The lowest value.
        high: The highest value.
        confidence: From 0 to 1.
    """

    first: int
    last: int
    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class Spike:
    """A jump within a few steps that decays again.

    Attributes:
        step: The first step of the jump.
        height: The highest value over the value before: a ratio of a positive curve, a difference
            of another.
        width: The steps for which the curve is above half of the jump (of a positive curve in the
            logarithm).
        confidence: From 0 to 1.
    """

    step: int
    height: float
    width: int
    confidence: float


@dataclass(frozen=True)
class Floor:
    """The level at which a curve ends.

    Attributes:
        level: The level.
        first: The first step at it.
        name: What it means, where it is a natural level.
        confidence: From 0 to 1, that it falls no more.
    """

    level: float
    first: int
    name: str | None
    confidence: float


@dataclass(frozen=True)
class Reading:
    """What was found in one curve.

    Attributes:
        column: The column that was read.
        first: The curve's first step.
        last: Its last step.
        start: The value at its start.
        end: The value at its end (mean of its last steps).
        lowest: The lowest value of the smoothed curve.
        lowest_at: The step of it.
        noise: The standard deviation of a step's value: relative of a positive curve, absolute of
            another. The median over the curve.
        plateaus: Levels that are left again, in order.
        descents: Falls from these levels, in order.
        slowdowns: Where a fall becomes slower.
        growbacks: Rises after a fall.
        spikes: Jumps.
        period: The steps from one spike to the next, where at least three come at even distances.
        likeness: How alike the repeated spikes are: the mean correlation of each with their mean.
        floor: The level at the end; None where the curve still falls or rises there.
        finished: Whether the curve falls no more at its end.
        not_finite: The first step with a value that is no finite number; None where there is none.
    """

    column: str
    first: int
    last: int
    start: float
    end: float
    lowest: float
    lowest_at: int
    noise: float
    plateaus: tuple[Plateau, ...] = ()
    descents: tuple[Descent, ...] = ()
    slowdowns: tuple[Slowdown, ...] = ()
    growbacks: tuple[Growback, ...] = ()
    spikes: tuple[Spike, ...] = ()
    period: float | None = None
    likeness: float | None = None
    floor: Floor | None = None
    finished: bool = True
    not_finite: int | None = None
    positive: bool = field(default=True, repr=False)

    def as_data(self) -> dict[str, Any]:
        """The reading as plain data."""
        return asdict(self)


def from_data(data: dict[str, Any]) -> Reading:
    """The reading that :meth:`Reading.as_data` gave."""
    kinds: dict[str, Any] = {
        "plateaus": Plateau,
        "descents": Descent,
        "slowdowns": Slowdown,
        "growbacks": Growback,
        "spikes": Spike,
    }
    data = dict(data)
    for name, kind in kinds.items():
        data[name] = tuple(kind(**each) for each in data[name])
    if data["floor"] is not None:
        data["floor"] = Floor(**data["floor"])
    return Reading(**data)
