"""The average of a scalar over seeds, and the interval that belongs to it."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from ablab.analysis.analysis import AT_MOST_ONE, NOT_NEGATIVE, SHARE, NoSettings
from ablab.analysis.finding import Findings
from ablab.analysis.summary import summarise

# Shares explained of six runs, none of them far off: not skewed, and without a lower end.
EXPLAINED = (0.98, 0.97, 0.96, 0.955, 0.80, 0.67)
# Counts of 25 runs, most of them none, so that no logarithm can be taken.
COUNTS = (0.0,) * 13 + (1.0,) * 3 + (2.0,) * 3 + (5.0,) * 3 + (8.0, 9.0, 11.0)
APART = (0.0,) * 15 + (10.0,) * 5 + (1.0,) * 5
LOSSES = (0.2, 0.4, 1.6)
SHARES = (0.9, 0.95, 0.99, 0.999)


def summary(trained, limits, untrained=None):
    """The line of one scalar, of runs that were looked at untrained and after step 10."""
    untrained = trained if untrained is None else untrained
    rows = [
        {"run": f"{run}", "seed": run, "step": step, "name": "analysis/mine/x", "value": value}
        for step, values in ((0, untrained), (10, trained))
        for run, value in enumerate(values)
    ]
    found = Findings("mine", "?", NoSettings(), pl.DataFrame(rows), {}, {})
    (row,), _ = summarise(found, ["x"], {} if limits is None else {"x": limits})
    return row


@pytest.mark.parametrize(
    ("values", "limits", "average", "center"),
    [
        (EXPLAINED, AT_MOST_ONE, "mean", 0.889167),
        (COUNTS, NOT_NEGATIVE, "mean", 2.08),
        (EXPLAINED, None, "mean", 0.889167),
        (LOSSES, NOT_NEGATIVE, "median", 0.4),
        (LOSSES, None, "median", 0.4),  # skewed
        (SHARES, SHARE, "median", 0.97),
    ],
)
def test_the_average_is_the_one_that_the_interval_belongs_to(values, limits, average, center):
    trained = summary(values, limits).trained
    assert trained.statistic == average
    assert trained.average == pytest.approx(center, abs=1e-6)
    low, high = trained.interval
    assert low < trained.average < high
    if average == "mean":
        ends = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        least, most = limits or (None, None)
        expected = np.clip(ends, least, most) if limits else ends
        np.testing.assert_allclose(trained.interval, expected)


def test_untrained_models_have_the_same_average_as_trained_ones():
    skewed = (0.01, 0.1, 0.7, 0.9)
    row = summary((0.3, 0.31, 0.32, 0.36), None, untrained=skewed)
    assert row.trained.statistic == "mean" and row.trained.average == pytest.approx(0.3225)
    assert row.untrained.of("mean") == pytest.approx(0.4275)
    assert row.untrained.of("median") == pytest.approx(0.4)


def test_one_run_is_no_average():
    row = summary((0.5,), SHARE)
    assert row.trained.average == 0.5 and row.trained.interval is None
    assert row.statistic is None


@pytest.mark.parametrize(
    ("values", "limits", "below"),
    [
        ((2.29, 2.3, 2.28, 2.31, 2.285, 2.285, 0.011, 0.01, 0.009, 0.012), NOT_NEGATIVE, 4),
        ((0.972, 0.9725, 0.973, 0.9722, 0.971, 0.974, 0.2, 0.21, 0.22, 0.19), SHARE, 4),
        (APART, NOT_NEGATIVE, 20),
        ((-1.0, -1.01, -1.02, 3.0, 3.01, 3.02, 3.03), None, 3),
    ],
)
def test_two_groups_are_counted_and_have_no_interval(values, limits, below):
    trained = summary(values, limits).trained
    assert trained.interval is None
    assert trained.statistic == "median"
    assert trained.average == pytest.approx(np.median(values))
    count, cut = trained.groups
    assert count == below == sum(value < cut for value in values)


def test_a_median_outside_of_the_interval_of_logarithms_has_that_of_ranks():
    # The logarithms are so skewed that their mean is far below their median.
    values = np.exp([*np.linspace(-0.5, 0.5, 8), *-np.linspace(1.5, 6, 7)])
    logs = np.log(values)
    assert np.median(logs) > stats.t.interval(0.95, 14, logs.mean(), stats.sem(logs))[1]
    trained = summary(tuple(values), NOT_NEGATIVE).trained
    assert trained.groups is None
    ordered = np.sort(values)  # P(at most 3 of 15 on a side) = 0.0176, of 4: 0.059
    assert trained.interval == (ordered[3], ordered[11])
    assert trained.interval[0] < trained.average < trained.interval[1]


def test_groups_of_one_variant_are_seen_beside_others():
    rows = [
        {"run": f"{name}{seed}", "seed": seed, "train.lr": name, "step": 10,
         "name": "analysis/mine/x", "value": value}
        for name, values in (("a", (0.01, 0.011, 2.3, 2.31)), ("b", (2.29, 2.3, 2.31, 2.32)))
        for seed, value in enumerate(values)
    ]  # fmt: skip
    found = Findings("mine", "?", NoSettings(), pl.DataFrame(rows), {}, {})
    (one, other), _ = summarise(found, ["x"], {"x": NOT_NEGATIVE})
    assert one.trained.groups[0] == 2 and one.trained.interval is None
    low, high = other.trained.interval
    assert other.trained.groups is None and low < 2.305 < high
