import numpy as np
import pytest
from scipy import stats

from ablab.read.statistics.permutation import order_test, permutation_test

PLACES = [-1.0, 0.0, 1.0]


def test_in_blocks_signs_of_differences_are_permuted():
    first, second = np.array([1.0, 12, 23, 34, 45, 56]), np.array([2.0, 14, 25, 37, 49, 58])
    assert permutation_test(first, second, blocks=True) == pytest.approx(2 / 2**6)
    assert permutation_test(first, second) > 0.5
    signed = stats.wilcoxon(np.arange(1, 7), method="exact").pvalue  # of six equal signs
    assert permutation_test(first, second, blocks=True) == pytest.approx(signed)


@pytest.mark.parametrize(
    ("one", "others", "p"),
    [
        (5.0, [1.0, 2.0, 3.0, 4.0], 2 / 5),
        (0.0, [1.0, 2.0, 3.0, 4.0], 2 / 5),
        (3.5, [1.0, 2.0, 3.0, 4.0], 4 / 5),
        (4.0, [1.0, 2.0, 4.0, 4.0], 1.0),
        (1.0, [2.0], 1.0),
    ],
)
def test_of_one_run_any_of_all_is_exchanged(one, others, p):
    alone, rest = np.array([one]), np.array(others)
    assert permutation_test(alone, rest) == pytest.approx(p)
    assert permutation_test(rest, alone) == pytest.approx(p)
    assert permutation_test(alone, rest[:1], blocks=True) == 1.0
    assert permutation_test(alone, rest[:0]) == 1.0


@pytest.mark.parametrize("runs", [2, 3, 4, 8])
def test_an_order_in_blocks_is_pages(runs):
    random = np.random.default_rng(runs)
    values = stats.rankdata(random.normal(size=(runs, 3)) + np.array([0, 0.8, 1.6]), axis=1)
    page = 2 * stats.page_trend_test(values, ranked=True, method="exact").pvalue
    found = order_test(list(values.T), PLACES, blocks=True)
    assert found == pytest.approx(min(1.0, page), abs=0.004 if runs == 8 else 1e-9)


def test_an_order_over_all_is_spearmans():
    values = [np.array([1.0, 2.0]), np.array([3.0, 4.0]), np.array([5.0, 6.0])]
    # Of the 90 ways to put six values into three pairs, only this one has the greatest sum; and it
    # is the same if both directions count.
    assert order_test(values, PLACES) == pytest.approx(2 / 90)
    assert order_test(values[::-1], PLACES) == 1.0
