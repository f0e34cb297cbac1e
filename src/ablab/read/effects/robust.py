"""Statistics next to the comparisons of levels, where there are runs enough for them.

From ten runs a side: the difference of interquartile means and the probability of improvement
(Agarwal et al., 2021). Of steps that some runs did not reach: the log-rank test. A run is the unit,
so all other settings are at their base values. They are not corrected for the number of
comparisons, and no verdict rests on them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ablab.read.effects.compare import factor
from ablab.read.effects.inference import Interval
from ablab.read.effects.results import Array, Better, Results, Scale
from ablab.read.effects.sentences import interval as as_text
from ablab.read.effects.sentences import number, p_value
from ablab.read.statistics.array import Flags
from ablab.read.statistics.robust import (
    LEAST_RUNS,
    interquartile_difference,
    probability_of_improvement,
)
from ablab.read.statistics.survival import Steps, log_rank_test, median_steps


@dataclass(frozen=True)
class Robust:
    """Robust statistics of one value of a setting and another.

    Attributes:
        key: The setting.
        value: The value of the setting.
        reference: The value with which it is compared.
        scale: Whether ``interquartile`` is a difference or a ratio.
        better: Which values are better; None if that is not declared.
        runs: The numbers of runs at the value and at the reference.
        interquartile: The difference (on the ratio scale, the ratio) of the interquartile means;
            None with fewer than ten runs a side, or if some runs did not learn, finish or reach
            the step, as no number averages both kinds of runs.
        interquartile_interval: Its 95% confidence interval; None without one, or if the runs do not
            differ.
        improvement: The probability that a run at the value is better than one at the reference
            (is higher, if it is not declared which is better); None as above, but not if runs fall
            into two groups.
        improvement_interval: Its 95% confidence interval; None without one, or if each run of one
            side is better than every run of the other.
        log_rank: The p-value of the log-rank test up to the common horizon, by permutation; None if
            the measure is not a step, or every run reached it.
        medians: The Kaplan-Meier medians of such steps, at the value and at the reference, each
            None where fewer than half of the runs reached it; None if ``log_rank`` is.
    """

    key: str
    value: Any
    reference: Any
    scale: Scale
    better: Better | None
    runs: tuple[int, int]
    interquartile: float | None = None
    interquartile_interval: Interval | None = None
    improvement: float | None = None
    improvement_interval: Interval | None = None
    log_rank: float | None = None
    medians: tuple[float | None, float | None] | None = None

    def as_data(self) -> dict[str, Any]:
        """The statistics as plain data."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items()}


def robust(results: Results, of: Sequence[str]) -> tuple[Robust, ...]:
    """The robust statistics of each value of some settings and the base value.

    Args:
        results: The results of the runs.
        of: The settings.

    Returns:
        Those of pairs that have any of the statistics.
    """
    found = []
    for key in of:
        values = results.by([key], "base")[:, 0]
        failed, reached = (
            None if mask is None else results.by([key], "base", mask.astype(np.float64))[:, 0] > 0
            for mask in (results.failed, results.reached)
        )
        base = results.place(key, results.base[key])
        for place, level in enumerate(results.levels[key]):
            if place == base:
                continue
            pair = [place, base]
            first, second = (side[np.isfinite(side)] for side in values[pair])
            about = Robust(
                key, level, results.base[key], results.scale, results.better,
                (len(first), len(second)),
            )  # fmt: skip
            if reached is not None:
                made = _log_rank(about, results, values[pair], reached[pair])
            elif failed is not None and failed[pair].any():
                continue
            else:
                made = _from_ten_runs(about, first, second, results.cut is None)
            if made is not None:
                found.append(made)
    return tuple(found)


def _log_rank(about: Robust, results: Results, values: Array, reached: Flags) -> Robust | None:
    horizon = results.horizon
    assert horizon is not None, "some runs did not reach the step"
    there = np.isfinite(values)
    if not there.any(axis=1).all() or reached[there].all():
        return None
    steps = [Steps(np.exp(side[known]) if results.scale == "ratio" else side[known],
                   got[known], horizon)
             for side, known, got in zip(values, there, reached, strict=True)]  # fmt: skip
    medians = median_steps(steps[0]), median_steps(steps[1])
    return _with(about, log_rank=log_rank_test(*steps), medians=medians)


def _from_ten_runs(about: Robust, first: Array, second: Array, one_kind: bool) -> Robust | None:
    if min(about.runs) < LEAST_RUNS:
        return None
    given: dict[str, Any] = {}
    if one_kind:
        middle, ends = interquartile_difference(first, second)
        shown = factor if about.scale == "ratio" else float
        given["interquartile"] = shown(middle)
        if ends is not None:
            given["interquartile_interval"] = (shown(ends[0]), shown(ends[1]))
    sign = -1 if about.better == "lower" else 1
    chance, ends = probability_of_improvement(sign * first, sign * second)
    return _with(about, **given, improvement=chance, improvement_interval=ends)


def _with(about: Robust, **more: Any) -> Robust:
    return Robust(**(vars(about) | more))


def robust_table(found: Sequence[Robust]) -> tuple[list[str], list[list[str]]]:
    """Robust statistics as text: a header, and a row for each; both empty without any."""
    if not found:
        return [], []
    ratio, better = found[0].scale == "ratio", found[0].better is not None
    columns = {
        "IQM ratio" if ratio else "IQM difference": [
            _text(each.interquartile, each.interquartile_interval) for each in found
        ],
        "P(better)" if better else "P(higher)": [
            _text(each.improvement, each.improvement_interval) for each in found
        ],
        "median step": ["" if each.medians is None else _medians(*each.medians) for each in found],
        "log-rank p": ["" if each.log_rank is None else p_value(each.log_rank) for each in found],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    rows = [
        [
            each.key,
            str(each.value),
            str(each.reference),
            f"{each.runs[0]} vs {each.runs[1]}",
            *cells,
        ]
        for each, *cells in zip(found, *shown.values(), strict=True)
    ]
    return ["setting", "value", "vs", "runs", *shown], rows


def _text(value: float | None, ends: Interval | None) -> str:
    if value is None:
        return ""
    return number(value) + ("" if ends is None else f" {as_text(ends)}")


def _medians(*steps: float | None) -> str:
    return " vs ".join("none" if each is None else f"{each:,.0f}" for each in steps)
