"""Outcomes of comparisons of two samples of numbers, by the tests of effects.

Values that effects compare by ratios are compared by ratios here, too. A difference that is asked
for is then tested by adding it to the lower side, before logarithms are taken.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ablab.experiments.expectations import Expectation
from ablab.read.effects.compare import factor, too_wide
from ablab.read.effects.inference import ALPHA, Estimate
from ablab.read.effects.level import Levels, compare_levels
from ablab.read.hypothesis_tests import Floats, Sample, apart, gaps, levels_of, why_no_pair
from ablab.read.judgements import Estimand, Found, Outcome
from ablab.read.measured import shown
from ablab.read.quantity import Quantity, factor_text
from ablab.read.statistics.scales import Interval
from ablab.read.trend_tests import interval_text


def compare(
    sample: Sample, other: Sample, expectation: Expectation, quantity: Quantity, pairing: bool
) -> Found:
    """Whether a measure is lower, higher or the same in some cells than in others.

    Args:
        sample: The runs of the cells that the expectation is about.
        other: The runs of the cells with which they are compared.
        expectation: The expectation.
        quantity: What is known of the measure.
        pairing: Whether runs are paired by seed, because seeds matter; else Welch's test is used.
    """
    values = levels_of(sample, other)
    lost = apart(sample, other) + gaps(sample, other)
    made = None if values is None else _Compared(values, quantity, pairing, sample.alpha)
    if made is None or made.apart.mean is None:
        return Found("undecided", why_no_pair(sample, other) + lost)
    sides = [each.seed_values(quantity.ratio) for each in (sample, other)]
    levels = quantity.levels(*sides)
    evidence = f"{levels}{made.averaged}{made.text(quantity.unit)}{lost}"
    found = Found("undecided", evidence, made.value, made.interval, estimand=made.estimand)
    if expectation.relation == "same_as":
        return _same(found, made, expectation, levels, lost)
    sign = -1 if expectation.relation == "lower_than" else 1
    by = sign * expectation.by
    tested = made.at(by)
    if by:
        evidence += f"; tested for more than {expectation.by:g}{quantity.unit}"
        evidence += f": p = {tested.p:.2g}" if quantity.ratio and tested.p is not None else ""
    if tested.interval is None:
        return _by_sign(replace(found, evidence=evidence), made, tested, sign, by)
    low, high = sorted((sign * tested.interval[0], sign * tested.interval[1]))
    outcome: Outcome = "held" if low > 0 else "failed" if high < 0 else "undecided"
    return replace(found, outcome=outcome, evidence=evidence, p=tested.p)


def _by_sign(found: Found, made: "_Compared", tested: Estimate, sign: int, by: float) -> Found:
    """The outcome where all seeds differ by the same amount: that of the sign test, as in effects.

    Args:
        found: What is said of the comparison.
        made: The samples.
        tested: How far they are apart beyond the difference that is asked for.
        sign: 1 if the first sample is expected to be higher, -1 if lower.
        by: The difference that is asked for, with its sign.
    """
    if by and made.quantity.two_ended is not None:  # where differences are not moved
        return found
    if tested.p is None or tested.p >= made.alpha or not tested.mean:
        return replace(found, p=tested.p)
    return replace(found, outcome="held" if sign * tested.mean > 0 else "failed", p=tested.p)


@dataclass(frozen=True)
class _Compared:
    """Two samples, compared on their scale.

    Attributes:
        values: The values, (2, cells, seeds), with NaN for missing ones.
        quantity: What is known of them.
        pairing: Whether runs are paired by seed.
        alpha: The significance level.
    """

    values: Floats
    quantity: Quantity
    pairing: bool
    alpha: float

    @cached_property
    def apart(self) -> Estimate:
        """How far the samples are apart, on their scale."""
        return self._levels(0.0).estimate

    @property
    def estimand(self) -> Estimand:
        """What is estimated."""
        return "ratio" if self.quantity.ratio else "difference"

    @property
    def value(self) -> float | None:
        """The difference or the ratio."""
        mean = self.apart.mean
        return factor(mean) if self.quantity.ratio and mean is not None else mean

    @property
    def interval(self) -> Interval | None:
        """Its interval; None if it is too wide to estimate anything, or there is none."""
        ends = self.apart.interval
        if ends is None or not self.quantity.ratio:
            return ends
        return None if too_wide(ends) else (factor(ends[0]), factor(ends[1]))

    @property
    def differs(self) -> bool:
        """Whether the interval excludes no difference."""
        ends = self.apart.interval
        return ends is not None and not ends[0] <= 0 <= ends[1]

    @property
    def averaged(self) -> str:
        """What comes before the difference, which need not be that of the medians."""
        return "; on average over seeds " if self.apart.interval is not None else ", "

    def text(self, unit: str) -> str:
        """The difference or the ratio with its interval, as text."""
        found = self.apart
        assert self.value is not None, "some seed has a value"
        if not self.quantity.ratio:
            many = unit if found.interval is None else ""
            ends = interval_text(found) + ("" if found.interval is None else unit)
            return f"a difference of {shown(self.value)}{many} {ends}"
        if found.interval is None:
            return f"{self.value:.4g} times as {self._many} {interval_text(found)}"
        wide = factor_text(found.interval)
        if wide is not None:
            return f"ratio not known ({wide}; {found.seeds} seeds)"
        low, high = (factor(end) for end in found.interval)
        return f"{self.value:.4g} [{low:.4g}, {high:.4g}] times as {self._many}"

    @property
    def _many(self) -> str:
        return "many" if self.quantity.steps else "large"

    def at(self, shift: float) -> Estimate:
        """How far the samples are apart beyond a difference of ``shift``; the p-value of none."""
        levels = self._levels(shift)
        limits = self.quantity.two_ended
        if levels.bounded is None or limits is None or not shift:
            return levels.estimate
        width = limits[1] - limits[0]
        ends = levels.estimate.interval
        assert ends is not None and levels.estimate.mean is not None, "there is a difference"
        return Estimate(
            levels.estimate.seeds, levels.estimate.mean - shift, levels.estimate.deviation,
            (ends[0] - shift, ends[1] - shift), None,
            levels.bounded.p_value(shift / width, in_family=self.alpha < ALPHA),
        )  # fmt: skip

    def equivalence(self, margin: float) -> float | None:
        """The p-value of two one-sided tests that the difference is within a margin."""
        if not self.quantity.ratio:
            return self._levels(0.0, margin).p_equivalence
        sides = [(self.at(margin), -1), (self.at(-margin), 1)]
        if any(each.p is None or each.mean is None for each, _ in sides):
            return None
        tests = [(each.p or 0.0) / 2 if sign * (each.mean or 0.0) > 0 else 1.0
                 for each, sign in sides]  # fmt: skip
        return max(tests)

    def _levels(self, shift: float, margin: float | None = None) -> Levels:
        limits = self.quantity.two_ended
        moved = self.values.copy()
        if self.quantity.ratio:
            moved[0 if shift < 0 else 1] += abs(shift)  # the lower side, so that all stay positive
            moved = np.log(moved)
        elif limits is None:
            moved[0] -= shift
        size = float(np.nanmax(np.abs(moved), initial=float(self.quantity.ratio)))
        return compare_levels(
            moved, self.pairing, max(size, abs(shift)), margin, limits=limits, alpha=self.alpha
        )


def _same(found: Found, made: _Compared, expectation: Expectation, levels: str, lost: str) -> Found:
    """The outcome of two samples being the same within a margin.

    A difference within the margin can be more than chance, and the evidence then says so.
    """
    margin = expectation.margin
    assert margin is not None, "checked with the expectation"
    p = made.equivalence(margin)
    unit = made.quantity.unit
    over, under = made.at(margin), made.at(-margin)
    if p is not None and p < made.alpha:
        text = f"{found.evidence}; within ±{margin:g}{unit}"
        if made.differs:
            apart = f"differs by {shown(made.value or 0.0)} {interval_text(made.apart)}{unit}"
            if made.quantity.ratio:
                apart = f"differs: {made.text(unit)}"
            apart = f"; on average over seeds it {apart}"
            text = f"{levels}{apart}, which is within the margin of ±{margin:g}{unit}{lost}"
        return replace(found, outcome="held", evidence=text, p=p)
    above = over.interval is not None and over.interval[0] > 0
    below = under.interval is not None and under.interval[1] < 0
    nearer = over if (made.apart.mean or 0.0) > 0 else under
    if above or below:
        return replace(
            found,
            outcome="failed",
            evidence=f"{found.evidence}; not within ±{margin:g}{unit}",
            p=nearer.p,
        )
    outside = (over.mean or 0.0) > 0 or (under.mean or 0.0) < 0
    tests = [each for each in (p, nearer.p if outside else None) if each is not None]
    text = f"{found.evidence}; not shown to be within ±{margin:g}{unit}"
    return replace(found, outcome="undecided", evidence=text, p=min(tests, default=None))
