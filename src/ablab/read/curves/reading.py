"""The result of the curve reader, as data."""

from dataclasses import asdict, dataclass, field
from typing import Any

from ablab.config.shown import Displayed, Shown
from ablab.read.curves.numbers import number
from ablab.tasks.config import Direction


@dataclass(frozen=True)
class Plateau:
    """A level at which a curve stays before it continues to fall.

    Attributes:
        level: The level, in the unit of the curve (nats for a loss).
        first: The first step at the level.
        last: The last step at the level.
        name: The name of the level (``log(10)``), if it is a natural level.
        confidence: The confidence that the curve stays at the level and then leaves it, from 0 to
            1.
    """

    level: float
    first: int
    last: int
    name: str | None
    confidence: float


@dataclass(frozen=True)
class Descent:
    """A fall from a level, or from the first step; a rise, if higher values are better.

    Attributes:
        start: The step at which the curve leaves the level: the last one within 1% of it, or
            within one standard deviation of the noise if that is more. The first step, if the
            curve falls from the start.
        end: The step at which the fall ends: at the next plateau, rise, slowdown or floor, where
            its slow tail begins, or at the end of the curve.
        level: The level before the fall.
        name: The name of that level, if it is a natural level.
        to: The value at the end of the fall.
        form: ``exponential`` (the logarithm of the curve is linear in the step) or ``power law``
            (linear in the logarithm of the step), whichever fits better; ``neither`` if none does.
        rate: The number of steps in which the value halves, on average if it is neither; for a
            power law, the exponent. None if it has too few values to tell, or none.
        confidence: The confidence, from 0 to 1.
    """

    start: int
    end: int
    level: float
    name: str | None
    to: float
    form: str
    rate: float | None
    confidence: float


@dataclass(frozen=True)
class Slowdown:
    """A point at which a fall suddenly becomes less steep.

    Attributes:
        step: The step.
        value: The value at that step.
        factor: The ratio of the slopes before and after.
        confidence: The confidence, from 0 to 1.
    """

    step: int
    value: float
    factor: float
    confidence: float


@dataclass(frozen=True)
class Tail:
    """A long and slow fall after a fast one.

    Attributes:
        first: The step of the knee, at which the fast fall ends.
        last: The step at which the slow fall ends.
        value: The value at the knee.
        to: The value at the end.
        factor: The ratio of the mean slopes before and after the knee.
    """

    first: int
    last: int
    value: float
    to: float
    factor: float


@dataclass(frozen=True)
class SlowFall:
    """A fall by little, but by more than noise explains, in the second half of a curve.

    Attributes:
        steps: The number of steps.
        by: By how much the curve falls in them: relative if it is positive, else absolute.
    """

    steps: int
    by: float


@dataclass(frozen=True)
class Growback:
    """A rise after a fall.

    Attributes:
        first: The step of the lowest value before the rise.
        last: The step of the highest value.
        low: The lowest value.
        high: The highest value.
        confidence: The confidence, from 0 to 1.
    """

    first: int
    last: int
    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class Rise:
    """A rise without a fall before: from the start, or from a first plateau.

    If higher values are better, it goes down.

    Attributes:
        first: The last step at the value before the rise.
        last: The first step at the highest value.
        low: The value before.
        high: The value after.
        confidence: The confidence, from 0 to 1.
    """

    first: int
    last: int
    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class Peak:
    """The top of a rise without a fall before, after which the curve falls.

    Attributes:
        step: The step of the highest value of the smoothed curve.
        value: That value.
        confidence: The confidence, from 0 to 1.
    """

    step: int
    value: float
    confidence: float


@dataclass(frozen=True)
class Steepening:
    """A point at which a fall suddenly becomes steeper.

    Attributes:
        step: The step.
        value: The value at that step.
        factor: The ratio of the slopes after and before.
        confidence: The confidence, from 0 to 1.
    """

    step: int
    value: float
    factor: float
    confidence: float


@dataclass(frozen=True)
class Transition:
    """A change from one level to another, of an accuracy.

    Attributes:
        step: The step at which half of the change is done.
        width: The number of steps between a tenth and nine tenths of it.
        low: The level before.
        high: The level after.
        confidence: The confidence, from 0 to 1.
    """

    step: int
    width: int
    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class Spike:
    """A jump within a few steps that decays again.

    Attributes:
        step: The first step of the jump.
        height: The highest value relative to the value before: a ratio if the curve is positive,
            else a difference.
        width: The number of steps above half the height (on the logarithmic scale if the curve is
            positive).
        confidence: The confidence, from 0 to 1.
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
        first: The first step at the level.
        name: The name of the level, if it is a natural level.
        confidence: The confidence that the curve no longer falls, from 0 to 1.
    """

    level: float
    first: int
    name: str | None
    confidence: float


@dataclass(frozen=True, repr=False)
class Reading(Displayed):
    """Everything that was found in one curve.

    Attributes:
        column: The column that was read.
        first: The first step of the curve.
        last: The last step of the curve.
        start: The first value.
        end: The value at the last step, without its noise.
        lowest: The lowest value of the smoothed curve.
        lowest_at: The step of the lowest value.
        noise: The standard deviation of a single value, as the median over the curve: relative if
            the curve is positive, else absolute.
        plateaus: Levels that the curve leaves again, in order.
        descents: Falls from these levels and from the start, in order.
        slowdowns: Points at which a fall becomes less steep.
        tails: Long and slow falls after fast ones.
        steepenings: Points at which a fall becomes steeper.
        growbacks: Rises after a fall.
        rises: Rises without a fall before.
        peaks: The tops of these rises, if the curve falls again.
        transitions: Changes from one level to another, if higher values are better.
        spikes: Jumps that decay again.
        period: The number of steps between spikes, if there are at least three and they are evenly
            spaced, apart from some that are missing; else None.
        likeness: The similarity of repeated spikes: the mean correlation of each with their mean.
        floor: The level at the end; None if the curve still falls or rises there.
        finished: Whether the curve no longer falls at the end.
        falls_slowly: The fall at the end, if it is slow; else None.
        not_finite: The step from which on no value is finite; None if the last one is.
        positive: Whether the curve was read on a logarithmic scale.
        direction: Which values are better: ``lower`` or ``higher``.
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
    tails: tuple[Tail, ...] = ()
    steepenings: tuple[Steepening, ...] = ()
    growbacks: tuple[Growback, ...] = ()
    rises: tuple[Rise, ...] = ()
    peaks: tuple[Peak, ...] = ()
    transitions: tuple[Transition, ...] = ()
    spikes: tuple[Spike, ...] = ()
    period: float | None = None
    likeness: float | None = None
    floor: Floor | None = None
    finished: bool = True
    falls_slowly: SlowFall | None = None
    not_finite: int | None = None
    positive: bool = field(default=True, repr=False)
    direction: Direction = "lower"

    def shown(self) -> Shown:
        """Where the curve starts and ends, and its features in order."""
        found = [(each, vars(each)) for name in _FEATURES for each in getattr(self, name)]
        if self.floor is not None:
            found.append((self.floor, vars(self.floor)))
        rows = [_feature_row(type(each).__name__.lower(), facts) for each, facts in found]
        rows.sort(key=lambda row: row[1])
        return Shown(
            f"{self.column}, steps {self.first:,} to {self.last:,}: "
            f"from {number(self.start)} to {number(self.end)}",
            [f"not finite from step {self.not_finite:,} on"] if self.not_finite is not None else [],
            ["feature", "from", "to", "value", "confidence"] if rows else (),
            rows,
        )

    def as_data(self) -> dict[str, Any]:
        """The reading as plain data."""
        return asdict(self)


_FEATURES = (
    "plateaus",
    "descents",
    "slowdowns",
    "tails",
    "steepenings",
    "growbacks",
    "rises",
    "peaks",
    "transitions",
    "spikes",
)
_FIRST, _LAST = ("first", "start", "step"), ("last", "end")
_VALUE = ("to", "name", "high", "level", "value", "height")  # the first that is known


def _feature_row(kind: str, facts: dict[str, Any]) -> tuple[str, int, int | None, str, Any]:
    """A feature of a curve as a row: its kind, its first and last step, its value."""
    first = next(facts[name] for name in _FIRST if name in facts)
    last = next((facts[name] for name in _LAST if name in facts), None)
    value = next(facts[name] for name in _VALUE if facts.get(name) is not None)
    text = value if isinstance(value, str) else number(value)
    return kind, first, last, text, facts.get("confidence")


def from_data(data: dict[str, Any]) -> Reading:
    """Rebuilds a reading from the result of :meth:`Reading.as_data`."""
    kinds: dict[str, Any] = {
        "plateaus": Plateau,
        "descents": Descent,
        "slowdowns": Slowdown,
        "tails": Tail,
        "steepenings": Steepening,
        "growbacks": Growback,
        "rises": Rise,
        "peaks": Peak,
        "transitions": Transition,
        "spikes": Spike,
    }
    data = dict(data)
    for name, kind in kinds.items():
        data[name] = tuple(kind(**each) for each in data[name])
    if data["floor"] is not None:
        data["floor"] = Floor(**data["floor"])
    if data["falls_slowly"] is not None:
        data["falls_slowly"] = SlowFall(**data["falls_slowly"])
    return Reading(**data)
