import numpy as np
import pytest
from scipy import stats

from ablab.read.statistics.levels import paired, seeds_matter, spread, unpaired, welch

FIRST, SECOND = np.array([1.0, 2.5, 2.0, 1.8]), np.array([3.0, 2.0, 4.5])


def test_welch_is_scipys():
    test = stats.ttest_ind(FIRST, SECOND, equal_var=False)
    found = welch(FIRST, SECOND)
    ends = test.confidence_interval()
    assert found.p_value() == pytest.approx(test.pvalue)
    assert found.value - found.half_width() == pytest.approx(ends.low)
    below = stats.ttest_ind(FIRST, SECOND + 2.0, equal_var=False, alternative="less")  # < 2
    above = stats.ttest_ind(FIRST, SECOND - 2.0, equal_var=False, alternative="greater")  # > -2
    assert found.p_equivalence(2.0) == pytest.approx(max(below.pvalue, above.pvalue))


def test_stacks_and_missing_runs():
    stack = np.array([[1.0, 2.5, np.nan], [1.0, 2.5, 2.0]])
    found = welch(stack, np.array([[3.0, 2.0, 4.5]] * 2))
    alone = welch(np.array([1.0, 2.5]), np.array([3.0, 2.0, 4.5]))
    assert found.p_value()[0] == pytest.approx(float(alone.p_value()))
    assert np.isnan(welch(np.array([1.0]), SECOND).error)


@pytest.mark.parametrize("runs", [(14, 2), (5, 2), (18, 3)])
@pytest.mark.parametrize("size", [1.0, 3.0])
def test_few_runs_next_to_many_are_covered(runs, size):
    random = np.random.default_rng(4)
    first, second = (random.normal(size=(10_000, n)) for n in runs)
    found = unpaired(first, size * second)
    assert (np.abs(found.value) <= found.half_width()).mean() > 0.93
    few = welch(first, size * second)
    assert (np.abs(few.value) <= few.half_width()).mean() < 0.945


def test_similar_numbers_of_runs_have_welchs_interval():
    assert unpaired(FIRST, SECOND) == welch(FIRST, SECOND)
    assert unpaired(np.arange(5.0), np.arange(30.0)) == welch(np.arange(5.0), np.arange(30.0))
    # Of 4 vs 2 runs: twice the product of Welch's degrees of freedom and 1 over their sum.
    degrees = welch(FIRST, SECOND[:2]).degrees
    assert unpaired(FIRST, SECOND[:2]).degrees == pytest.approx(2 * degrees / (degrees + 1))


def test_paired_is_scipys():
    test = stats.ttest_rel(FIRST, FIRST[::-1] + 1)
    assert paired(FIRST, FIRST[::-1] + 1).p_value() == pytest.approx(test.pvalue)


def test_seeds_matter_is_the_f_test_of_two_way_layouts():
    luck = np.array([0.0, 5.0, -3.0])
    assert seeds_matter(np.array([luck, luck + np.array([1.1, 0.9, 1.0])])) < 0.01
    random = np.random.default_rng(1)
    rejected = seeds_matter(random.normal(size=(4000, 2, 5))) < 0.05
    assert 0.04 < rejected.mean() < 0.06
    assert seeds_matter(np.ones((1, 3))) == 1.0


def test_the_spread_is_pooled_within_cells():
    values = np.array([[1.0, 3.0, np.nan], [10.0, 10.0, 10.0]])
    assert spread(values) == pytest.approx((2.0 / 3) ** 0.5)
