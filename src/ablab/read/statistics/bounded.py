"""The difference of two averages of a column whose range has two ends, such as an accuracy.

Each side has an interval on the logit scale, and the two are joined by the method of variance
estimates recovery (MOVER; Zou and Donner, 2008), of which Newcombe's interval for proportions is
one case. The interval of the difference stays in its range; in the middle of the range it is
Welch's, or the paired t-interval.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, stdtr, stdtrit

from ablab.read.statistics.array import Array
from ablab.read.statistics.levels import few_degrees, welch_degrees
from ablab.read.statistics.scales import Range, Scale, resolution

_ROUNDING = 1e-15  # of an average, as a part of it
_FAR = 1e6  # standard errors; no p-value from farther is told from zero
Interval = tuple[float, float]


@dataclass(frozen=True)
class Side:
    """The values of one side on the logit scale of their range.

    Attributes:
        centre: The mean of the logits.
        error: Its standard error.
        lowest: Whether a value is at the lower end, so that the median may be there.
        highest: The same for the upper end.
    """

    centre: float
    error: float
    lowest: bool
    highest: bool

    @property
    def value(self) -> float:
        """The centre as a place in the range, from 0 to 1."""
        return float(expit(self.centre))

    @property
    def slope(self) -> float:
        """The derivative of the place by the logit."""
        return self.value * (1 - self.value)

    def below(self, t: float) -> float:
        """How far the interval of t standard errors reaches down."""
        end = 0.0 if self.lowest else float(expit(self.centre - t * self.error))
        return self.value - end

    def above(self, t: float) -> float:
        """How far it reaches up."""
        end = 1.0 if self.highest else float(expit(self.centre + t * self.error))
        return end - self.value


@dataclass(frozen=True)
class BoundedDifference(ABC):
    """The difference of the averages of two sides, as a part of the width of their range.

    Attributes:
        value: The first average minus the second.
        degrees: The degrees of freedom.
        least: Those of the smaller side.
    """

    value: float
    degrees: float
    least: float

    @property
    @abstractmethod
    def error(self) -> float:
        """The approximate standard error (delta method)."""

    @abstractmethod
    def lower(self, t: float) -> float:
        """The lower end of the interval of t standard errors."""

    @abstractmethod
    def upper(self, t: float) -> float:
        """The upper end."""

    @property
    @abstractmethod
    def size(self) -> float:
        """The size of the averages, of which rounding is a part."""

    def interval(self, alpha: float = 0.05, in_family: bool = False) -> Interval:
        """The interval with confidence 1 - alpha.

        Args:
            alpha: The significance level.
            in_family: Whether it is one of several; see :meth:`.levels.Difference.in_family`.
        """
        t = float(stdtrit(self._degrees(in_family), 1 - alpha / 2))
        return self.lower(t), self.upper(t)

    def p_one_sided(self, at: float, degrees: float) -> float:
        """The one-sided p-value of a difference farther from ``at`` than none, on its own side.

        It is that of the confidence at which the interval ends at ``at``.
        """
        end = self.lower if self.value > at else self.upper
        if abs(self.value - at) <= _ROUNDING * max(self.size, abs(at)):
            return 0.5
        if (end(_FAR) - at) * (self.value - at) > 0:
            return 0.0
        if (end(0.0) - at) * (
            self.value - at
        ) <= 0:  # a value at an end of the range leaves it open
            return 0.5
        t = brentq(lambda each: end(each) - at, 0.0, _FAR)
        return float(stdtr(degrees, -t))

    def p_value(self, at: float = 0.0, in_family: bool = False) -> float:
        """The two-sided p-value of a difference other than ``at``.

        Args:
            at: The difference.
            in_family: Whether it is one of several; see :meth:`.levels.Difference.in_family`.
        """
        return 2 * self.p_one_sided(at, self._degrees(in_family))

    def p_equivalence(self, margin: float, in_family: bool = False) -> float:
        """The p-value of two one-sided tests that the difference is within a margin."""
        if abs(self.value) >= margin:
            return 1.0
        degrees = self._degrees(in_family)
        return max(self.p_one_sided(end, degrees) for end in (-margin, margin))

    def _degrees(self, in_family: bool) -> float:
        return 3 / (2 / self.degrees + 1 / self.least) if in_family else self.degrees


@dataclass(frozen=True)
class _Independent(BoundedDifference):
    """Of independent sides: the distances to the ends of their intervals add up in squares."""

    first: Side
    second: Side

    @property
    def error(self) -> float:
        one, two = (side.slope * side.error for side in (self.first, self.second))
        return float(np.hypot(one, two))

    @property
    def size(self) -> float:
        return max(self.first.value, self.second.value)

    def lower(self, t: float) -> float:
        return self.value - float(np.hypot(self.first.below(t), self.second.above(t)))

    def upper(self, t: float) -> float:
        return self.value + float(np.hypot(self.first.above(t), self.second.below(t)))


@dataclass(frozen=True)
class _Paired(BoundedDifference):
    """Of pairs of a seed: the difference of logits at the mean of both, and that mean.

    The first logit is ``middle + apart / 2`` and the second ``middle - apart / 2``; the intervals
    of both are joined with their correlation.
    """

    middle: float
    apart: float
    middle_error: float
    apart_error: float
    correlation: float

    @property
    def error(self) -> float:
        return (self.upper(1e-3) - self.lower(1e-3)) / 2e-3

    @property
    def size(self) -> float:
        return float(expit(self.middle + abs(self.apart) / 2))

    def lower(self, t: float) -> float:
        apart = self.value - self._at(0.0, -t)
        return self.value - self._joined(t, apart, self.value - min(self._shifted(t)))

    def upper(self, t: float) -> float:
        apart = self._at(0.0, t) - self.value
        return self.value + self._joined(t, apart, max(self._shifted(t)) - self.value)

    def _at(self, middle: float, apart: float) -> float:
        """The difference with both moved by so many standard errors."""
        m = self.middle + middle * self.middle_error
        half = (self.apart + apart * self.apart_error) / 2
        return float(expit(m + half) - expit(m - half))

    def _shifted(self, t: float) -> tuple[float, float]:
        return self._at(-t, 0.0), self._at(t, 0.0)

    def _joined(self, t: float, apart: float, middle: float) -> float:
        low, high = self._shifted(t)
        mixed = (1 if high > low else -1) * self.correlation * apart * max(middle, 0.0)
        return float(np.sqrt(max(apart**2 + max(middle, 0.0) ** 2 + 2 * mixed, 0.0)))


def bounded_difference(
    first: Array, second: Array, limits: Range, paired: bool
) -> BoundedDifference:
    """Compares two samples of a column whose range has two ends.

    Args:
        first: The first sample, (runs,), at least two.
        second: The second sample; of as many runs if they are paired.
        limits: The ends of the range.
        paired: Whether runs at the same place are of one seed.
    """
    low, high = limits
    scale = Scale("logit", limits, resolution(np.concatenate([first, second]), limits))
    sides, logits = [], []
    for values in (first, second):
        scaled = scale.of(values)
        error = float(scaled.std(ddof=1)) / len(values) ** 0.5
        at_ends = bool(values.min() <= low), bool(values.max() >= high)
        sides.append(Side(float(scaled.mean()), error, *at_ends))
        logits.append(scaled)
    one, two = sides
    value = one.value - two.value
    n, m = len(first), len(second)
    if paired and not any(side.lowest or side.highest for side in sides):
        middles, apart = (logits[0] + logits[1]) / 2, logits[0] - logits[1]
        errors = [float(each.std(ddof=1)) / n**0.5 for each in (middles, apart)]
        r = float(np.corrcoef(middles, apart)[0, 1]) if min(errors) > 0 else 0.0
        return _Paired(
            value, n - 1.0, n - 1.0, float(middles.mean()), float(apart.mean()), errors[0],
            errors[1], r,
        )  # fmt: skip
    if paired:  # what is at an end of the range has no logit to pair
        return _Independent(value, n - 1.0, n - 1.0, one, two)
    v, w = (np.asarray(side.slope * side.error) for side in sides)
    runs = np.asarray(n), np.asarray(m)
    found = float(few_degrees(welch_degrees(v, w, *runs), *runs))
    return _Independent(value, found, min(n, m) - 1.0, one, two)
