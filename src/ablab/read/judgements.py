"""Outcomes of orders and ranges of numbers; see ``comparisons`` for comparisons of cells.

Steps that were not reached are in ``not_reached``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from scipy.special import stdtr

from ablab.experiments.expectations import Expectation
from ablab.read.effects.inference import deviation, estimate, rounding
from ablab.read.hypothesis_tests import Floats, Sample, gaps
from ablab.read.quantity import Quantity, factor_text
from ablab.read.statistics.scales import Average
from ablab.read.trend_tests import factor, interval_text, spans_ratios, trend

Outcome = Literal["held", "failed", "undecided"]
Estimand = Literal["median", "mean", "difference", "ratio", "slope", "factor"]
ALPHA = 0.05


@dataclass(frozen=True)
class Found:
    """The outcome of a test.

    Attributes:
        outcome: ``held``, ``failed`` or ``undecided``.
        evidence: The numbers behind it.
        value: The tested number.
        interval: Its 95% confidence interval.
        p: The p-value of the test that decided, or else the lower one of those for and against;
            None if nothing was tested, or if an interval is the test.
        counts: For each cell, how many runs reached the step, and of how many; None for numbers.
        estimand: What ``value`` is: ``median``, ``mean``, ``difference``, ``ratio``, ``slope`` or
            ``factor`` (per value of the setting); None if nothing is estimated.
        overturned: Whether a test decided it otherwise, and runs that diverged contradict that.
    """

    outcome: Outcome
    evidence: str
    value: float | None = None
    interval: tuple[float, float] | None = None
    p: float | None = None
    counts: tuple[tuple[int, int], ...] | None = None
    estimand: Estimand | None = None
    overturned: bool = False

    @property
    def tested(self) -> bool:
        """Whether anything was tested."""
        return self.p is not None or self.interval is not None or self.overturned


def order(sample: Sample, expectation: Expectation, quantity: Quantity) -> Found:
    """Whether a measure falls, or rises, from each value of a setting to the next."""
    key = expectation.falls_with or expectation.rises_with
    assert key is not None, "given by the relation"
    sign = -1 if expectation.falls_with else 1
    ordered = sample.by(key)
    if isinstance(ordered, str):
        return Found("undecided", ordered)
    if expectation.factor is not None or spans_ratios(ordered[1], quantity.ratio):
        positive = bool((sample.known["value"] > 0).all())
        ordered = sample.by(key, geometric=positive)
        assert not isinstance(ordered, str), "the same runs"
    labels, table = ordered  # (values, seeds)
    rows = [row[np.isfinite(row)] for row in table]
    path = quantity.path(labels, rows)
    if expectation.factor is not None:
        return _by_factor(sample, table, sign, expectation.factor, path)
    tested = trend(table, sign, quantity.ratio, sample.alpha)
    evidence = f"{path}; {tested.text}{gaps(sample)}"
    against = [
        f"{before} to {after}"
        for (before, after), change in zip(pairwise(labels), tested.steps, strict=True)
        if change < 0
    ]
    if against:
        evidence += f"; opposite direction from {', '.join(against)}"
    interval, value = tested.interval, tested.slope
    outcome: Outcome = "undecided"
    if tested.reversed or (interval is not None and sign * _near(interval, sign) < 0):
        outcome = "failed"
    elif tested.p is not None and tested.p < sample.alpha and not against:
        outcome = "held"
    p = {
        "held": tested.p,
        "failed": tested.p_reversed,
        "undecided": _least(tested.p, tested.p_reversed),
    }[outcome]
    return Found(outcome, evidence, value, interval, p, estimand="slope")


def _by_factor(
    sample: Sample, table: Floats, sign: int, wanted: tuple[float, float], path: str
) -> Found:
    """Whether a measure changes by a factor in a range from each value of a setting to the next."""
    found = factor(table, sign, sample.alpha)
    if isinstance(found, str):
        return Found("undecided", f"{path}; {found}{gaps(sample)}")
    factor_text = f"a factor of {found.mean:.3g} {interval_text(found)} per value"
    evidence = f"{path}; {factor_text}{gaps(sample)}"
    if found.interval is None:
        evidence += of_range("undecided", f"between {wanted[0]:g} and {wanted[1]:g}")
        return Found("undecided", evidence, found.mean, estimand="factor")
    low, high = found.interval
    outcome: Outcome = "undecided"
    if wanted[0] <= low and high <= wanted[1]:
        outcome = "held"
    elif high < wanted[0] or low > wanted[1]:
        outcome = "failed"
    evidence += of_range(outcome, f"between {wanted[0]:g} and {wanted[1]:g}")
    logs = np.log(found.values)
    ends = (float(np.log(wanted[0])) if wanted[0] > 0 else -np.inf, float(np.log(wanted[1])))
    p = _in_range(logs, found.size, *ends)
    return Found(outcome, evidence, found.mean, found.interval, p, estimand="factor")


def _near(interval: tuple[float, float], sign: int) -> float:
    """The end of an interval that favours a direction most."""
    return interval[1] if sign > 0 else interval[0]


def within(sample: Sample, expectation: Expectation, quantity: Quantity) -> Found:
    """Whether the average of a measure is in a range; with one seed, whether its value is."""
    low, high = limits(expectation)
    values = sample.by_seed()["value"].to_numpy()
    found = quantity.average(values, sample.alpha)
    ends = found.interval
    evidence = f"{quantity.levels(values)} {_ends_text(found, len(values))}{gaps(sample)}"
    if ends is None:
        if len(values) == 1 and sample.lost.height:  # which seed has a value is chance, too
            return Found("undecided", evidence, found.value)
        evidence += "" if len(values) > 1 else ", for this seed only"
        ends = (float(values.min()), float(values.max()))
    strict = expectation.within is None
    inside = (low < ends[0] and ends[1] < high) if strict else (low <= ends[0] and ends[1] <= high)
    outside = (ends[1] <= low or ends[0] >= high) if strict else (ends[1] < low or ends[0] > high)
    outcome: Outcome = "held" if inside else "failed" if outside else "undecided"
    p = None
    if found.interval is not None:
        scaled = found.scale.of(values)
        size = float(np.abs(scaled).max(initial=0.0 if found.scale.name == "linear" else 1.0))
        p = _in_range(scaled, size, *(found.scale.place(end) for end in (low, high)))
    return Found(outcome, evidence + of_range(outcome, expectation.range), found.value,
                 found.interval, p, estimand=quantity.statistic(values))  # fmt: skip


def _ends_text(found: Average, seeds: int) -> str:
    """The interval of an average as text, or why there is none."""
    if found.interval is None:
        return "(one seed)" if seeds == 1 else f"(equal for all {seeds} seeds)"
    if found.scale.name == "logarithm":
        wide = factor_text((float(np.log(found.interval[0])), float(np.log(found.interval[1]))))
        if wide is not None:
            return f"({wide}; {seeds} seeds)"
    low, high = found.interval
    return f"[{low:.4g}, {high:.4g}]"


def of_range(outcome: Outcome, tested: str) -> str:
    """Whether something is in the range that was tested, as the end of the evidence."""
    words = {"held": "", "failed": "not ", "undecided": "not shown to be "}[outcome]
    return f"; {words}{tested}"


def limits(expectation: Expectation) -> tuple[float, float]:
    """The ends of the range of an expectation, infinite if it has none there."""
    low, high = expectation.within or (-np.inf, np.inf)
    low = expectation.above if expectation.above is not None else low
    high = expectation.below if expectation.below is not None else high
    return float(low), float(high)  # bounds that are settings have numbers by now


def other_cell(expectation: Expectation) -> Mapping[str, Any]:
    """The settings of the cells that are compared with."""
    return expectation.lower_than or expectation.higher_than or expectation.same_as or {}


def compared_cells(expectation: Expectation) -> list[dict[str, Any]]:
    """The cells whose runs it needs: those it is about, then those it compares them with."""
    others = (expectation.lower_than, expectation.higher_than, expectation.same_as)
    where = expectation.where
    return [where, *(where | each for each in others if each is not None)]


def _in_range(values: Floats, size: float, low: float, high: float) -> float | None:
    """The p-value of a mean inside of a range, or outside if it is there; two-sided.

    Args:
        values: The values on their scale, (seeds,).
        size: The largest absolute value of the numbers from which they were computed.
        low: The lower end of the range on the same scale, infinite if there is none.
        high: The upper end.
    """
    mean = float(values.mean())
    ends = [each for each in (low, high) if np.isfinite(each)]
    equal = float(np.ptp(values)) <= rounding(size)
    tests = {end: estimate(values - end, max(size, abs(end))).p if equal else _p(values, end)
             for end in ends}  # fmt: skip
    known = [each for each in tests.values() if each is not None]
    if len(known) < len(ends) or not known:
        return None
    if low <= mean <= high:
        return max(known)
    return tests[low] if mean < low else tests[high]


def _p(values: Floats, end: float) -> float:
    """The two-sided p-value of a mean other than ``end``, of values that differ."""
    n = len(values)
    error = deviation(values) / n**0.5
    return 2 * float(stdtr(n - 1, -abs(float(values.mean()) - end) / error))


def _least(*tests: float | None) -> float | None:
    return min((each for each in tests if each is not None), default=None)
