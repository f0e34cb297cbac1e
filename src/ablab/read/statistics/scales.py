"""The scale on which few values are averaged, so that an interval stays in the column's range.

A t-interval of values near the end of their range (accuracies near 1, losses near 0) reaches beyond
it and covers too little, since such values are skewed. Their logarithms, or logits, hardly are.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats
from scipy.special import expit, logit

from ablab.read.statistics.array import Array

Range = tuple[float, float]
"""The least and the greatest value that a column can have; infinite where there is no end."""
Interval = tuple[float, float]
ScaleName = Literal["linear", "logarithm", "logit"]
Statistic = Literal["median", "mean"]

SKEWED = 0.25
"""Positive values whose logarithms deviate by more are skewed."""


@dataclass(frozen=True)
class Scale:
    """A scale of values.

    Attributes:
        name: ``logit`` of the place in a range with two ends, ``logarithm``, or ``linear``.
        limits: The range of the values.
        resolution: On the logit scale, the distance from an end that stands for no distance.
    """

    name: ScaleName
    limits: Range = (-np.inf, np.inf)
    resolution: float = 0.0

    @property
    def statistic(self) -> Statistic:
        """What an interval on this scale is of: symmetric on the scale, the mean is the median."""
        return "mean" if self.name == "linear" else "median"

    def of(self, values: Array) -> Array:
        """The values on the scale; infinite at or beyond the end of their range."""
        if self.name == "linear":
            return values
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.name == "logarithm":
                return np.asarray(np.log(np.maximum(values, 0.0)))
            low, high = self.limits
            share = np.clip((values - low) / (high - low), 0.0, 1.0)
            if self.resolution:
                least = self.resolution / (high - low)
                # A number below 1 that is nearer to it than any other stands for the end.
                share = np.clip(share, least, min(1 - least, float(np.nextafter(1.0, 0.0))))
            return np.asarray(logit(share))

    def place(self, value: float) -> float:
        """The place of a single number on the scale; infinite at or beyond the end of the range."""
        return float(Scale(self.name, self.limits).of(np.array(value)))

    def back(self, values: Array) -> Array:
        """Values from their places on the scale."""
        if self.name == "linear":
            return np.clip(values, *self.limits)
        if self.name == "logarithm":
            with np.errstate(over="ignore"):
                return np.clip(np.exp(values), *self.limits)
        low, high = self.limits
        return np.asarray(low + (high - low) * expit(values))


def choose(values: Array, limits: Range | None, counted: bool = False) -> Scale:
    """The scale on which an average of values has an interval that covers.

    Logits, if the range has two ends; logarithms of positive values, if the range begins at zero or
    they are skewed; else the values as they are. On a scale that knows no end, the interval is cut
    off at that of the range: the average is never beyond, so that costs no coverage.

    Args:
        values: The values, (seeds,).
        limits: The declared range; None if it was not declared. Ignored if a value is beyond it.
        counted: Whether the values are counts, of which a mean is wanted.
    """
    low, high = limits or (-np.inf, np.inf)
    if values.size and not (low <= values.min() and values.max() <= high):
        low, high = -np.inf, np.inf  # what was declared is not so
    if counted:
        return Scale("linear", (low, high))
    if np.isfinite(low) and np.isfinite(high):
        return Scale("logit", (low, high), resolution(values, (low, high)))
    if values.size and values.min() > 0:
        logs = np.log(values)
        skewed = values.size > 1 and float(logs.std(ddof=1)) > SKEWED
        if low == 0 or skewed:
            return Scale("logarithm", (low, high))
    return Scale("linear", (low, high))


def resolution(values: Array, limits: Range) -> float:
    """Half of the least distance of a value from an end of its range, but for those at an end.

    It stands for the distance of a value at an end, such as an accuracy of 1: that is below what
    the evaluation can tell. It is at most a two-hundredth of the range.
    """
    known = values[np.isfinite(values)]
    apart = np.concatenate([known - limits[0], limits[1] - known])
    apart = apart[apart > 0]
    most = (limits[1] - limits[0]) / 200
    return min(float(apart.min()) / 2, most) if apart.size else most


@dataclass(frozen=True)
class Average:
    """The average of a few values.

    Attributes:
        value: The median, or on the linear scale the mean.
        interval: Its 95% interval; None with fewer than two values, or if all are equal.
        scale: The scale on which it was computed.
    """

    value: float
    interval: Interval | None
    scale: Scale

    @property
    def statistic(self) -> Statistic:
        """Which average it is."""
        return self.scale.statistic


def average(
    values: Array, limits: Range | None, counted: bool = False, alpha: float = 0.05
) -> Average:
    """The average of the values of a few seeds, with a t-interval on their scale.

    Args:
        values: The values, (seeds,), at least one.
        limits: The declared range; None if it was not declared.
        counted: Whether the values are counts.
        alpha: The significance level: the confidence of the interval is 1 - alpha.
    """
    scale = choose(values, limits, counted)
    value = float(np.median(values) if scale.statistic == "median" else values.mean())
    scaled = scale.of(values)
    least = 0.0 if scale.name == "linear" else 1.0  # a logarithm is no more accurate than that
    rounding = 8 * float(np.finfo(np.float64).eps) * float(np.abs(scaled).max(initial=least))
    if len(values) < 2 or np.ptp(values) <= 8 * np.finfo(np.float64).eps * np.abs(values).max():
        return Average(value, None, scale)
    if np.ptp(scaled) <= rounding:
        return Average(value, None, scale)
    error = scaled.std(ddof=1) / len(values) ** 0.5
    half = stats.t.ppf(1 - alpha / 2, len(values) - 1) * error
    ends = scale.back(scaled.mean() + np.array([-half, half]))
    low, high = float(ends[0]), float(ends[1])
    if scale.name == "logit":  # a value at an end leaves open that the median is there
        low = scale.limits[0] if values.min() <= scale.limits[0] else low
        high = scale.limits[1] if values.max() >= scale.limits[1] else high
    return Average(value, (low, high), scale)


def median_interval(values: Array) -> Interval | None:
    """The 95% interval of a median from the order of the values (sign test), of any distribution.

    Args:
        values: The values, (seeds,).

    Returns:
        The interval, which contains the median; None with fewer than six values.
    """
    n = len(values)
    likely = np.flatnonzero(stats.binom.cdf(np.arange(n + 1), n, 0.5) <= 0.025)
    if not likely.size:
        return None
    ordered, place = np.sort(values), int(likely[-1])
    return float(ordered[place]), float(ordered[n - 1 - place])
