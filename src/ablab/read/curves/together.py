"""Training and held-out curves of one run, read together: what generalises, when, and what not."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ablab.read.curves.aside import Curve, without_spikes
from ablab.read.curves.noise import estimate_noise
from ablab.read.curves.reached import calm, reached
from ablab.read.curves.reader import read_curve
from ablab.read.curves.reading import Growback, Reading
from ablab.read.curves.scale import Floats, Scale, direction_of, scale_of
from ablab.read.curves.view import View, make_logarithmic_view
from ablab.tasks.config import Direction

_FEWEST = 8  # minimum number of values of a curve
_LEAST = 0.2  # minimum fall, on the reading scale
_ERRORS = 6.0  # ... and in standard errors
_LATER = 2.0  # minimum ratio of the steps at which the two curves are learnt, for a delay
_GAP = 0.7  # minimum distance of the curves in between, on the reading scale: a factor of 2
_UNLEARNT = 0.35  # maximum improvement of a held-out curve that does not generalise
_DEEP = 3.0  # the curves are compared at most this far below the held-out curve's worst value
_AGAIN = 0.5  # minimum fraction of a rise that the second descent undoes
_OF_FIRST = 0.25  # minimum ratio of a rise between two descents and the first one


@dataclass(frozen=True)
class Together:
    """What a training and a held-out curve say together.

    Attributes:
        training: The column of the training curve.
        held_out: The column of the held-out curve.
        last: The last step of both.
        memorised: The first step at which the training curve is at ``value``, while the held-out
            one is not. If the held-out curve never improves, the step at which half of the training
            curve's fall is done. None if they are learnt together.
        stays_at: The held-out curve's value in between; None without ``memorised``.
        generalised: The first step at which the held-out curve is at ``value``, after its worst
            one, if that is later by a factor of two or more; else None.
        delay: ``generalised`` minus ``memorised``: the measure ``lag(HELD_OUT, value)`` if the
            held-out curve starts at a worse value.
        value: The value half-way between the held-out curve's worst and best (of losses, in the
            logarithm, but at most a factor of 20 below the worst); None without ``generalised``.
        factor: ``generalised`` over ``memorised``.
        overfits_from: The step of the held-out curve's best value, if it then gets worse to the
            end, or to a spike from which it does not come back, while the training curve gets
            better; else None.
        overfits: That rise.
        double_descent: The rise between the two descents of the held-out curve; None without.
        direction: Which values are better: ``lower`` or ``higher``.
    """

    training: str
    held_out: str
    last: int
    memorised: int | None = None
    stays_at: float | None = None
    generalised: int | None = None
    delay: int | None = None
    factor: float | None = None
    value: float | None = None
    overfits_from: int | None = None
    overfits: Growback | None = None
    double_descent: Growback | None = None
    direction: Direction = "lower"

    def as_data(self) -> dict[str, Any]:
        """The finding as plain data."""
        return asdict(self)

    @property
    def anything(self) -> bool:
        """Whether there is something to say."""
        found = (self.memorised, self.overfits_from, self.double_descent)
        return any(each is not None for each in found)


def from_data(data: dict[str, Any]) -> Together:
    """Rebuilds a finding from the result of :meth:`Together.as_data`."""
    data = dict(data)
    for name in ("overfits", "double_descent"):
        if data[name] is not None:
            data[name] = Growback(**data[name])
    return Together(**data)


def read_together(
    training: tuple[ArrayLike, ArrayLike],
    held_out: tuple[ArrayLike, ArrayLike],
    columns: tuple[str, str] = ("train_loss", "eval_loss"),
    direction: Direction | None = None,
) -> Together:
    """Reads a training and a held-out curve together, both without their spikes.

    Args:
        training: Steps and values of the training curve, as for
            :func:`ablab.read.curves.read_curve`.
        held_out: Those of the held-out curve.
        columns: The names of the two columns.
        direction: Which values are better, as for :func:`ablab.read.curves.read_curve`.

    Raises:
        ValueError: A curve has no finite value, or steps and values do not match.
    """
    curves = [
        _finite(*each, column) for each, column in zip((training, held_out), columns, strict=True)
    ]
    better = direction or direction_of(columns[1])
    last = int(curves[1][0][-1])
    nothing = Together(*columns, last, direction=better)
    if min(len(steps) for steps, _ in curves) < _FEWEST:
        return nothing
    scale = scale_of(np.concatenate([values for _, values in curves]), better)
    learnt, left, leaps = without_spikes(curves[0], curves[1], scale)
    reading = read_curve(*left, columns[1], direction=better)
    learns, held = (_Fall.of(_view(*each, scale)) for each in (learnt, left))
    double = _double_descent(reading, held, scale, leaps)
    rise = _overfitting(reading, learns, scale)
    leap = None if rise is None else _leap_in(rise, leaps)
    if leap is not None:
        rise = _overfitting_before(leap, (learnt, left), columns, better, scale)
    found = Together(
        *columns,
        last,
        overfits_from=None if rise is None else rise.first,
        overfits=rise,
        double_descent=double,
        direction=better,
    )
    if double is not None or not learns.falls:
        return found
    steps = _Steps(learnt, left, columns, held, better)
    delayed = _delayed(found, learns, held, scale, steps)
    if rise is None:
        return delayed
    # A held-out loss that gets worse again may have been learnt late before that.
    before = delayed.generalised is not None and delayed.generalised <= rise.first
    return delayed if before else found


@dataclass(frozen=True)
class _Fall:
    """The largest fall of a curve, in bins of logarithmic time on the reading scale.

    Attributes:
        steps: The step of each bin.
        values: The mean of each bin.
        worst: The bin from which the curve falls.
        best: The bin at which it is lowest.
        falls: Whether the fall is larger than noise explains.
    """

    steps: Floats
    values: Floats
    worst: int
    best: int
    falls: bool

    @staticmethod
    def of(view: View) -> "_Fall":
        mean, error = view.bins.mean, view.bins.deviation
        above = np.maximum.accumulate(mean)
        best = int(np.argmax(above - mean))
        worst = int(np.argmax(mean[: best + 1]))
        least = max(_LEAST, _ERRORS * float(np.hypot(error[worst], error[best])))
        return _Fall(view.bins.step, mean, worst, best, bool(mean[worst] - mean[best] > least))

    @property
    def middle(self) -> float:
        worst = float(self.values[self.worst])
        return max((worst + float(self.values[self.best])) / 2, worst - _DEEP)


@dataclass(frozen=True)
class _Steps:
    """When two curves reach a value, as the measures of a run define it."""

    training: Curve
    held_out: Curve
    columns: tuple[str, str]
    held: _Fall
    direction: Direction

    def learnt(self, value: float) -> float | None:
        """The first step at which the training curve is at a value."""
        steps, values = self.training
        return reached(steps, calm(steps, values, self.columns[0]), value, self.direction)

    def generalised(self, value: float) -> float | None:
        """The first step at which the held-out curve is at a value after its worst one."""
        steps, values = self.held_out
        after = steps >= self.held.steps[self.held.worst]
        smooth = calm(steps, values, self.columns[1])
        return reached(steps[after], smooth[after], value, self.direction)


def _delayed(
    found: Together, training: _Fall, held: _Fall, scale: Scale, steps: _Steps
) -> Together:
    """Whether the held-out curve is learnt late, or never."""
    if not held.falls:
        step = steps.learnt(scale.value(training.middle))
        gap = float(held.values[-1] - training.values[-1])
        if step is None or gap < _GAP:
            return found
        stays = float(np.median(_after(held, step)))
        if _start(training, held, steps.learnt(scale.value(stays))) - stays > _UNLEARNT:
            return found
        return replace(found, memorised=int(step), stays_at=scale.value(stays))
    value = scale.value(held.middle)
    first, then = steps.learnt(value), steps.generalised(value)
    if first is None or then is None or first <= 0 or then < _LATER * first:
        return found
    between = _after(held, first, then)
    apart = between - np.interp(
        np.log(_steps(held, first, then)), np.log(training.steps), training.values
    )
    if not len(between) or apart.max() < _GAP:
        return found
    place = int(np.argmin(abs(_steps(held, first, then) - np.sqrt(first * then))))
    return replace(
        found,
        memorised=int(first),
        stays_at=scale.value(float(between[place])),
        generalised=int(then),
        delay=int(then - first),
        factor=then / first,
        value=value,
    )


def _start(training: _Fall, held: _Fall, passed: float | None) -> float:
    """Where the held-out curve began, on the reading scale.

    That is its first value. If the training curve has ``passed`` the held-out one before that, the
    held-out curve may have fallen before it was first evaluated: then the training curve's worst.
    """
    if passed is None or held.steps[0] <= passed:
        return float(held.values[0])
    return float(training.values[training.worst])


def _inside(fall: _Fall, first: float, last: float) -> np.ndarray:
    inside: np.ndarray = (fall.steps >= first) & (fall.steps <= last)
    return inside


def _after(fall: _Fall, first: float, last: float = np.inf) -> Floats:
    values: Floats = fall.values[_inside(fall, first, last)]
    return values


def _steps(fall: _Fall, first: float, last: float) -> Floats:
    steps: Floats = fall.steps[_inside(fall, first, last)]
    return steps


def _overfitting(held_out: Reading, training: _Fall, scale: Scale) -> Growback | None:
    """The first rise of the held-out curve that lasts while the training curve falls."""
    for rise in held_out.growbacks:
        before = training.values[training.steps <= rise.first]
        after = training.values[training.steps > (rise.first + rise.last) / 2]
        if _undone(rise, held_out, scale) >= _AGAIN or not len(before) or not len(after):
            continue
        if before.min() - _lowest(after) > _LEAST / 2:
            return rise
    return None


def _overfitting_before(
    leap: float,
    curves: tuple[Curve, Curve],
    columns: tuple[str, str],
    direction: Direction,
    scale: Scale,
) -> Growback | None:
    """Overfitting before a spike that the held-out curve does not come back from.

    Such a spike makes the held-out curve worse by itself, so its values before and after are not
    compared.
    """
    (steps, values), held_out = ((x[x < leap], y[x < leap]) for x, y in curves)
    if min(len(steps), len(held_out[0])) < _FEWEST:
        return None
    learns = _Fall.of(_view(steps, values, scale))
    return _overfitting(read_curve(*held_out, columns[1], direction=direction), learns, scale)


def _lowest(values: Floats) -> float:
    """The lowest mean of three neighbouring values, or of all if there are fewer."""
    if len(values) < 3:
        return float(values.mean())
    return float(np.convolve(values, np.ones(3) / 3, mode="valid").min())


def _leap_in(rise: Growback, leaps: list[float]) -> float | None:
    """The first step within a rise of a spike that the curve does not come back from."""
    return next((each for each in leaps if rise.first < each <= rise.last), None)


def _double_descent(
    held_out: Reading, held: _Fall, scale: Scale, leaps: list[float]
) -> Growback | None:
    """The highest rise that follows a fall, is a good part of it, and is undone again."""
    found = [
        each
        for each in held_out.growbacks
        if _undone(each, held_out, scale) >= _AGAIN and _of_first(each, held, scale) >= _OF_FIRST
        if _leap_in(each, leaps) is None
    ]
    return max(found, key=lambda each: abs(each.high - each.low), default=None)


def _of_first(rise: Growback, held: _Fall, scale: Scale) -> float:
    """The height of a rise relative to that of the fall before it."""
    low, high = scale.read(np.array([rise.low, rise.high]))
    before = held.values[held.steps <= rise.first]
    return float((high - low) / max(before.max() - low, 1e-9)) if len(before) else 0.0


def _undone(rise: Growback, reading: Reading, scale: Scale) -> float:
    """How much of a rise is undone by the end of the curve."""
    low, high, end = scale.read(np.array([rise.low, rise.high, reading.end]))
    return float((high - end) / (high - low))


def _finite(steps: ArrayLike, values: ArrayLike, column: str) -> Curve:
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"steps {x.shape} and values {y.shape} of {column} do not form a curve")
    known = np.isfinite(y)
    if not known.any():
        raise ValueError(f"{column} has no finite value")
    return x[known], y[known]


def _view(steps: Floats, values: Floats, scale: Scale) -> View:
    read = scale.read(values)
    return make_logarithmic_view(steps, read, estimate_noise(read))
