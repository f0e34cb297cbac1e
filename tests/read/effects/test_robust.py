"""Statistics next to the comparisons, where there are runs enough."""

import json

import numpy as np
import polars as pl
import pytest
from scipy import stats

from ablab.read.effects import effects, robust_table
from tests.read.effects.made import grid

NOISE = np.random.default_rng(3).normal(size=(2, 12))


def report(runs, better=None, value=lambda a, s: a + NOISE[a - 1, s], **more):
    frame = grid({"a": [1, 2]}, runs, value)
    return effects(frame, ["a"], better=better, **more)


def test_from_ten_runs_there_are_interquartile_means_and_probabilities():
    (found,) = report(12, "higher").robust
    one, two = 1 + NOISE[0], 2 + NOISE[1]
    assert found.runs == (12, 12)
    assert found.interquartile == pytest.approx(
        stats.trim_mean(two, 0.25) - stats.trim_mean(one, 0.25)
    )
    assert found.improvement == pytest.approx(stats.mannwhitneyu(two, one).statistic / 144)
    low, high = found.improvement_interval
    assert low < found.improvement < high
    (lower,) = report(12, "lower").robust
    assert lower.improvement == pytest.approx(1 - found.improvement)
    assert report(9).robust == ()


def test_a_ratio_is_one_of_interquartile_means():
    (found,) = report(12, value=lambda a, s: float(np.exp(2 * a + 0.5 * NOISE[a - 1, s]))).robust
    assert found.scale == "ratio"
    apart = stats.trim_mean(4 + 0.5 * NOISE[1], 0.25) - stats.trim_mean(2 + 0.5 * NOISE[0], 0.25)
    assert found.interquartile == pytest.approx(np.exp(apart))


def test_runs_of_two_kinds_have_no_interquartile_mean():
    def value(a, s):
        return (1.0 if s < 6 * a else 0.1) + 0.01 * NOISE[a - 1, s]

    (found,) = report(12, "higher", value).robust
    assert found.interquartile is None
    # With a=2 all 12 runs learnt, with a=1 half of them: 6 of 12 runs are beaten for sure.
    assert 0.5 < found.improvement < 1


def test_steps_have_the_log_rank_test():
    steps = {1: [100, 200, 300], 2: [None] * 3}
    rows = [
        {"a": a, "seed": s, "value": step, "not_before": None if step else 1000, "reason": None}
        for a, each in steps.items()
        for s, step in enumerate(each)
    ]
    found = effects(pl.DataFrame(rows), ["a"], measure="steps")
    assert found.robust[0].log_rank == pytest.approx(0.1)  # the least that 3 vs 3 runs can give
    header, ((*_, medians, p),) = robust_table(found.robust)
    assert header[-2:] == ["median step", "log-rank p"]
    assert (medians, p) == ("none vs 200", "0.1")


def test_the_log_rank_test_takes_a_single_run_on_a_side():
    """Its runs at a=2 diverged but for one, which did not reach the step."""
    rows = [{"a": 1, "seed": s, "value": 100 + s, "not_before": None, "reason": None}
            for s in range(5)]  # fmt: skip
    rows += [{"a": 2, "seed": s, "value": None, "not_before": None, "reason": "diverged"}
             for s in range(1, 5)]  # fmt: skip
    rows += [{"a": 2, "seed": 0, "value": None, "not_before": 1000, "reason": None}]
    (found,) = effects(pl.DataFrame(rows), ["a"], measure="steps").robust
    assert found.runs == (1, 5)
    assert found.log_rank == pytest.approx(2 / 6)


def test_the_table_is_narrow_and_the_data_are_plain():
    found = report(12, "higher")
    header, rows = robust_table(found.robust)
    assert header == ["setting", "value", "vs", "runs", "IQM difference", "P(better)"]
    assert sum(max(map(len, column)) + 2 for column in zip(header, *rows, strict=True)) < 80
    data = json.loads(json.dumps(found.as_data()))["robust"]
    assert data[0]["improvement"] == found.robust[0].improvement
    assert robust_table(()) == ([], [])
