"""What is known of the values of a measure: their range, their unit, how they are averaged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ablab.experiments.measures import COUNTED, Measure
from ablab.read.directions import measure_range
from ablab.read.effects.compare import TOO_WIDE, too_wide
from ablab.read.hypothesis_tests import Floats
from ablab.read.measured import shown
from ablab.read.measures import is_step
from ablab.read.statistics.scales import Average, Interval, Range, Statistic, average, choose
from ablab.store.store import ExperimentRecord


@dataclass(frozen=True)
class Quantity:
    """The values of a measure.

    Attributes:
        limits: Their range; None if it was not declared.
        counted: Whether they are counts, of which the mean is told.
        steps: Whether they are steps or numbers of steps.
        unit: Their unit after a number, such as `` steps``; may be empty.
        ratio: Whether effects compare ratios of them.
    """

    limits: Range | None = None
    counted: bool = False
    steps: bool = False
    unit: str = ""
    ratio: bool = False

    @classmethod
    def of(cls, record: ExperimentRecord, measure: Measure) -> "Quantity":
        """What is known of a measure of an experiment."""
        steps = is_step(measure)
        unit = " s" if measure.function == "seconds" else ""
        if steps or measure.function == "lead":
            unit = " steps"
        counted = measure.function in (*COUNTED, "diverged")
        return cls(measure_range(record, measure), counted, steps, unit)

    @property
    def two_ended(self) -> Range | None:
        """The range if it has two ends and differences are compared."""
        if self.limits is None or self.ratio or not np.isfinite(self.limits).all():
            return None
        return self.limits

    def average(self, values: Floats, alpha: float = 0.05) -> Average:
        """The average of the values of a few seeds, with its interval at a level."""
        return average(values, self._limits(values), self.counted, alpha)

    def statistic(self, values: Floats) -> Statistic:
        """Which average is told: that of which there is an interval.

        Of counts it is the mean; of steps and of declared ranges the median, unless a value is
        zero, which has no logarithm.
        """
        return choose(values, self._limits(values), self.counted).statistic

    def levels(self, *samples: Floats) -> str:
        """The averages of samples as text, such as ``median 345 vs 202 steps``."""
        every = np.concatenate(samples)
        numbers = " vs ".join(shown(float(self._take(every)(each))) for each in samples)
        many = any(len(each) > 1 and np.ptp(each) > 0 for each in samples)
        return f"{self.statistic(every)} {numbers}{self.unit}" if many else numbers + self.unit

    def path(self, labels: Sequence[Any], rows: Sequence[Floats]) -> str:
        """The averages at the values of a setting, such as ``median steps 300 at 8, 150 at 16``."""
        every = np.concatenate(rows)
        numbers = ", ".join(
            f"{shown(float(self._take(every)(row)))} at {label}"
            for label, row in zip(labels, rows, strict=True)
        )
        return f"{self.statistic(every)}{self.unit} {numbers}"

    def _take(self, values: Floats) -> Callable[[Floats], np.floating[Any]]:
        return np.median if self.statistic(values) == "median" else np.mean

    def _limits(self, values: Floats) -> Range | None:
        """Of steps, zero is the least unless some are negative, as those of a lag can be."""
        return (0.0, np.inf) if self.steps and values.min() > 0 else self.limits


def factor_text(ends: Interval) -> str | None:
    """What is said of the interval of a ratio that is too wide to estimate it; None if it is not.

    Args:
        ends: The logarithms of its ends.
    """
    return f"no estimate: {TOO_WIDE}" if too_wide(ends) else None
