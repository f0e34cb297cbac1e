import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from ablab.read.effects.inference import balance, equivalence, estimate, holm

SEEDS = np.array([0.31, 0.12, 0.55, 0.2, 0.4])


def test_an_estimate_is_students():
    found = estimate(SEEDS, 1.0)
    mean, error = SEEDS.mean(), SEEDS.std(ddof=1) / np.sqrt(5)
    assert (found.seeds, found.mean) == (5, pytest.approx(mean))
    assert found.deviation == pytest.approx(SEEDS.std(ddof=1))
    # t(0.975, 4) = 2.776 and t(0.95, 4) = 2.132 from a printed table
    assert found.interval == pytest.approx((mean - 2.776 * error, mean + 2.776 * error), rel=1e-3)
    assert found.narrow == pytest.approx((mean - 2.132 * error, mean + 2.132 * error), rel=1e-3)
    assert found.p == pytest.approx(stats.ttest_1samp(SEEDS, 0).pvalue)
    assert found.bound == pytest.approx(mean + 2.132 * error, rel=1e-3)


def test_the_bound_is_the_smallest_margin_that_passes():
    bound = estimate(SEEDS, 1.0).bound
    assert bound is not None
    assert equivalence(SEEDS, bound * 1.001, 1.0) < 0.05 < equivalence(SEEDS, bound * 0.999, 1.0)
    assert equivalence(-SEEDS, bound, 1.0) == pytest.approx(0.05)


def test_equivalence_is_the_worse_of_two_one_sided_tests():
    low = stats.ttest_1samp(SEEDS, -0.6, alternative="greater").pvalue
    high = stats.ttest_1samp(SEEDS, 0.6, alternative="less").pvalue
    assert equivalence(SEEDS, 0.6, 1.0) == pytest.approx(max(low, high))


def test_one_seed_has_no_interval_and_none_has_nothing():
    one = estimate(np.array([0.5]), 1.0)
    assert (one.mean, one.deviation, one.interval, one.p, one.bound) == (0.5, *[None] * 4)
    assert equivalence(np.array([0.5]), 1.0, 1.0) is None
    none = estimate(np.empty(0), 1.0)
    assert (none.seeds, none.mean, none.p) == (0, None, None)


def test_equal_differences_are_judged_by_the_sign_test():
    same = estimate(np.full(5, 0.5), 1.0)
    assert (same.mean, same.deviation, same.interval, same.p) == (0.5, 0.0, None, 0.0625)
    level = estimate(np.zeros(5), 1.0)
    assert (level.mean, level.p) == (0.0, 1.0)
    assert equivalence(np.zeros(5), 0.1, 1.0) == 2**-5
    assert equivalence(np.full(5, 0.2), 0.1, 1.0) == 1.0


def test_a_spread_of_rounding_alone_is_none():
    values = np.array([10.1, 10.2, 10.3, 10.7]) - np.array([10.0, 10.1, 10.2, 10.6])
    assert np.ptp(values) > 0
    assert estimate(values, 10.7).deviation == 0.0
    assert estimate(values - 0.1, 10.7).mean == 0.0


def test_balance_leaves_out_what_misses_most():
    whole = np.arange(12.0).reshape(3, 4)  # (cells, seeds)
    assert balance(whole).values.tolist() == [4, 5, 6, 7]
    gap = whole.copy()
    gap[2, 1] = np.nan  # a third of the seed, a quarter of the cell
    found = balance(gap)
    assert (found.values.tolist(), found.cells, found.pairs, found.missing) == ([4, 6, 7], 3, 12, 1)
    gap[2] = np.nan  # the cell alone
    found = balance(gap)
    assert (found.values.tolist(), found.cells, found.missing) == ([2, 3, 4, 5], 2, 4)


def test_balance_of_nothing_is_nothing():
    found = balance(np.full((2, 3), np.nan))
    assert (len(found.values), found.cells, found.missing) == (0, 0, 6)


def test_balance_with_axes_in_front_drops_whole_tables():
    values = np.arange(24.0).reshape(2, 3, 4)
    values[1, 0, 2] = np.nan
    found = balance(values)
    assert found.values.shape == (2, 3)
    assert found.values[0].tolist() == [4, 5, 7]


@pytest.mark.parametrize("p", [[0.01, 0.04, 0.03, 0.005], [0.5], [0.2, 0.2, 0.9], []])
def test_holm_is_that_of_statsmodels(p):
    expected = list(multipletests(p, method="holm")[1]) if p else []
    assert holm(p) == pytest.approx(expected)


def test_holm_passes_over_what_was_not_tested():
    assert holm([None, 0.02, None, 0.03]) == [None, pytest.approx(0.04), None, pytest.approx(0.04)]
