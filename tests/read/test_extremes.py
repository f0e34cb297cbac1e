"""Numbers that are very large, very small, or next to the end of their range."""

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from ablab.config import InputError
from ablab.experiments.expectations import Expectation, parse_expectation
from ablab.read.curves import read_curve
from ablab.read.effects import effects, gather, predict
from ablab.read.effects.inference import estimate
from ablab.read.effects.level import compare_levels
from ablab.read.quantity import Quantity
from ablab.read.statistics.bounded import bounded_difference
from ablab.read.statistics.levels import spread, unpaired, welch
from ablab.read.statistics.scales import average
from ablab.read.statistics.survival import Steps, median_steps
from tests.read.effects.made import grid

ONE, OTHER = np.array([1.0, 1.2, 0.9, 1.1, 1.25]), np.array([1.1, 1.3, 0.8, 1.2, 1.0])
UNITS = [1e-300, 1e-170, 1e-85, 1.0, 1e78, 1e155, 1e200, 1e300]


@pytest.mark.parametrize("unit", UNITS)
def test_tests_do_not_depend_on_the_unit(unit):
    """scipy's are computed where squares are numbers."""
    test = stats.ttest_ind(ONE, OTHER, equal_var=False)
    ends = test.confidence_interval()
    found = welch(ONE * unit, OTHER * unit)
    assert found.p_value() == pytest.approx(test.pvalue)
    half = float(found.half_width()) / unit
    assert (-half, half) == pytest.approx(
        (ends.low - (at := (ends.low + ends.high) / 2), ends.high - at)
    )
    assert float(unpaired(ONE * unit, OTHER * unit).degrees) == pytest.approx(test.df)
    alone = estimate((ONE - OTHER) * unit, 1.3 * unit)
    assert alone.p == pytest.approx(stats.ttest_rel(ONE, OTHER).pvalue)
    assert alone.deviation / unit == pytest.approx((ONE - OTHER).std(ddof=1))
    pooled = float(spread(np.array([ONE, OTHER]) * unit))
    assert pooled / unit == pytest.approx(math.sqrt((ONE.var(ddof=1) + OTHER.var(ddof=1)) / 2))


@pytest.mark.parametrize("unit", UNITS)
def test_runs_that_vary_are_not_told_as_equal(unit):
    values = np.array([ONE, OTHER])[:, None] * unit
    found = compare_levels(values, False, float(values.max())).estimate
    assert found.interval is not None and found.interval[0] < 0 < found.interval[1]
    assert found.p > 0.5


@pytest.mark.parametrize("unit", UNITS)
def test_effects_of_any_unit(unit):
    random = np.random.default_rng(0)
    table = grid(
        {"width": [8, 16], "heads": [1, 2]}, 4,
        lambda width, heads, seed: float((width + heads + random.normal()) * unit),
    )  # fmt: skip
    found = effects(table, ["width", "heads"], scale="difference")
    one = effects(table.with_columns(table["value"] / unit), ["width", "heads"], scale="difference")
    for mine, theirs in zip(found.interactions, one.interactions, strict=True):
        assert mine.p == pytest.approx(theirs.p, rel=1e-6)
    for mine, theirs in zip(found.marginal, one.marginal, strict=True):
        assert mine.p_adjusted == pytest.approx(theirs.p_adjusted, rel=1e-6)


def test_one_large_cell_does_not_make_the_others_equal():
    """Rounding is that of the numbers that are compared, not of the largest of the grid."""
    size = {1: 1e-5, 2: 2e-5, 3: 4e-5, 4: 1e12}
    table = grid(
        {"a": list(size), "b": [0, 1]}, 3,
        lambda a, b, seed: size[a] * (1 + 0.1 * seed + b * (a == 2)),
    )  # fmt: skip
    found = effects(table, ["a", "b"], scale="difference")
    cell = next(each for each in found.cells if each.keys == {"a": 1, "b": 0})
    assert cell.mean == pytest.approx(1.1e-5)
    (pair,) = found.interactions
    contrast = next(each for each in pair.contrasts if each.value == 2 or each.other_value == 2)
    assert contrast.difference == pytest.approx(2e-5 * 1.0, rel=0.2)


def test_the_best_of_many_values_is_not_blurred_by_the_worst():
    rates = [0.001, 0.002, 0.01, 0.1, 0.2, 0.5, 1.0]
    losses = dict(zip(rates, [0.0, 0.001, 0.002, 0.1, 0.2, 1.0, 1e10], strict=True))
    table = grid({"train.lr": rates}, 3, lambda rate, seed: losses[rate] * (1 + 0.01 * seed))
    (trend,) = effects(table, ["train.lr"], better="lower").trends
    assert trend.best == (0.001,)


def test_a_value_next_to_one_is_in_the_range():
    near = np.array([1.0, np.nextafter(1.0, 0.0), 0.99])
    found = average(near, (0.0, 1.0))
    assert found.interval is not None and found.interval[0] < 0.99 and found.interval[1] == 1.0
    apart = bounded_difference(near, np.array([0.90, 0.91, 0.92]), (0.0, 1.0), False)
    low, high = apart.interval()
    assert low < 0 < apart.value < high and 0.05 < apart.p_value() < 1


def test_small_shares_are_compared_as_large_ones():
    one, other = np.array([1.0, 1.1, 0.9]) * 1e-17, np.array([3.0, 3.2, 2.9]) * 1e-17
    found = bounded_difference(one, other, (0.0, 1.0), False)
    assert found.interval()[1] < 0 and found.p_value() < 0.01


def test_intervals_of_several_looks_have_the_degrees_of_their_p_values():
    """So a difference is outside of the interval just where its p-value is below the level."""
    one, other = np.array([0.50, 0.54, 0.52]), np.array([0.65, 0.67, 0.69])
    values = np.array([one, other])[:, None]
    for alpha in (0.0015, 0.003, 0.01, 0.02):
        found = compare_levels(values, False, 1.0, limits=(0.0, 1.0), alpha=alpha).estimate
        low, high = found.interval
        assert (not low <= 0 <= high) == (found.p < alpha)


def test_a_zero_has_the_mean_and_its_interval():
    values = np.repeat([0.0, *(0.001 * 2**k for k in range(9))], 3)
    quantity = Quantity(limits=(0.0, math.inf))
    found = quantity.average(values)
    assert quantity.statistic(values) == found.statistic == "mean"
    assert found.value == pytest.approx(values.mean())
    assert found.interval[0] < found.value < found.interval[1]
    assert quantity.statistic(values[3:]) == "median"


def test_what_is_told_is_what_the_interval_is_of_on_the_scale_of_ratios():
    values = np.array([100.0, 101.0, 103.0, 110.0, 125.0])
    quantity = Quantity(ratio=True)
    found = quantity.average(values)
    assert (quantity.statistic(values), found.value) == ("mean", pytest.approx(107.8))
    low, high = found.interval
    assert (low + high) / 2 == pytest.approx(107.8)


def test_tiny_values_beside_a_zero_are_not_told_as_equal():
    found = average(np.array([0.0, 1e-16, 3e-16]), (0.0, math.inf))
    assert found.interval is not None and found.interval[1] > 3e-16


def test_points_are_not_made_equal_by_the_largest():
    losses = [0.0, 0.001, 0.002, 0.1, 0.2, 1.0, 1e10]
    rates = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1]
    rows = [
        {"point": str(place), "seed": seed, "value": losses[place] * (1 + 0.01 * seed)}
        for place in range(7) for seed in range(3)
    ]  # fmt: skip
    points = {"point": [{"train.lr": rate} for rate in rates]}
    found = effects(pl.DataFrame(rows), ["point"], better="lower", points=points)
    (trend,) = found.trends
    assert trend.best == (1e-4,) and trend.correlation == pytest.approx(1.0)


@pytest.mark.parametrize("value", [1.0, 0.3, 10.0, 0.97])
def test_equal_means_on_a_line_predict_nothing(value):
    axes = {"width": [4, 8, 16, 32, 64, 128, 256, 512], "heads": list(range(1, 9))}
    table = grid(axes, 10, lambda width, heads, seed: value)
    with pytest.raises(InputError, match="on a line without noise"):
        predict(gather(table, ["width", "heads"]), "width", 1024)


def test_counts_do_not_fall_into_two_groups():
    table = grid({"width": [8, 16]}, 3, lambda width, seed: float(width == 16 and seed == 2))
    found = effects(table, ["width"], measure="spikes(train_loss)")
    (each,) = found.marginal
    assert each.difference is not None and each.interval is not None


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_runs_that_broke_count_as_not_finished_whatever_else_is_said(status):
    table = grid({"width": [8, 16]}, 3, lambda width, seed: None if seed == 2 else 1.0 + seed)
    reasons = ["train_loss was not reached by step 40; diverged at step 40", None]
    table = table.with_columns(
        pl.when(pl.col("seed") == 2).then(pl.lit(reasons[0])).alias("reason"),
        pl.when(pl.col("seed") == 2).then(pl.lit(status)).otherwise(pl.lit("finished"))
        .alias("status"),
    )  # fmt: skip
    found = gather(table, ["width"])
    assert found.failed.tolist() == [[False, False, True]] * 2


@pytest.mark.parametrize(("runs", "reached"), [(2, 1), (6, 3), (10, 5), (12, 6), (14, 7), (18, 9)])
def test_half_of_the_runs_have_a_median_step(runs, reached):
    steps = np.concatenate([np.arange(1, reached + 1) * 10.0, np.full(runs - reached, 500.0)])
    found = Steps(steps, np.arange(runs) < reached, 500.0)
    assert median_steps(found) == reached * 10.0
    fewer = Steps(steps, np.arange(runs) < reached - 1, 500.0)
    assert median_steps(fewer) is None


@pytest.mark.parametrize(
    "sentence",
    [
        "n_params is between 1234567 and 1234568",
        "final(eval_loss) falls with model.d_model by a factor between 1.2345678 and 2.3456789",
        "final(eval_loss) is lower where model.d_model=8 than where model.d_model=16 by 0.12345678",
    ],
)
def test_an_expectation_says_the_numbers_that_it_tests(sentence):
    found = parse_expectation(sentence)
    assert found.sentence == sentence
    assert isinstance(found, Expectation) and parse_expectation(found.sentence) == found


def test_values_below_what_float32_holds_are_read():
    steps = np.arange(1, 401)
    falling = read_curve(steps, np.exp(-np.linspace(0, 460, 400)))
    assert falling.end == pytest.approx(1e-200, rel=0.9) and falling.floor is None
