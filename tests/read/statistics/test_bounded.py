"""Differences in a range with two ends: against t-tests, against the formula, and at the ends."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

from ablab.read.statistics.bounded import bounded_difference

UNIT = (0.0, 1.0)
MIDDLE = np.array([0.501, 0.498, 0.503, 0.499]), np.array([0.502, 0.505, 0.501, 0.506])
NEAR_ONE = np.array([0.999, 0.98, 0.9995]), np.array([0.9, 0.97, 0.6])


@pytest.mark.parametrize("paired", [False, True])
def test_in_the_middle_of_the_range_it_is_the_t_test(paired):
    found = bounded_difference(*MIDDLE, UNIT, paired)
    test = stats.ttest_rel(*MIDDLE) if paired else stats.ttest_ind(*MIDDLE, equal_var=False)
    ends = test.confidence_interval()
    assert found.interval() == pytest.approx((ends.low, ends.high), abs=1e-5)
    assert found.p_value() == pytest.approx(test.pvalue, rel=1e-3)
    assert found.error == pytest.approx(abs((MIDDLE[0] - MIDDLE[1]).mean() / test.statistic), 1e-3)


def test_near_the_end_it_is_mover_of_two_logit_intervals():
    found = bounded_difference(*NEAR_ONE, UNIT, False)
    centres = [logit(each).mean() for each in NEAR_ONE]
    errors = [logit(each).std(ddof=1) / 3**0.5 for each in NEAR_ONE]
    p, q = map(expit, centres)
    t = stats.t.ppf(0.975, found.degrees)
    (l1, u1), (l2, u2) = (
        expit([c - t * e, c + t * e]) for c, e in zip(centres, errors, strict=True)
    )
    low = p - q - ((p - l1) ** 2 + (u2 - q) ** 2) ** 0.5  # Zou and Donner (2008), formula 2
    high = p - q + ((u1 - p) ** 2 + (q - l2) ** 2) ** 0.5
    assert found.interval() == pytest.approx((low, high))
    v, w = ((x * (1 - x) * e) ** 2 for x, e in zip((p, q), errors, strict=True))
    assert found.degrees == pytest.approx((v + w) ** 2 / (v**2 / 2 + w**2 / 2))
    welch = stats.ttest_ind(*NEAR_ONE, equal_var=False).confidence_interval()
    assert low > welch.low


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("at", [0.0, 0.02, 0.3])
def test_the_p_value_is_that_of_the_interval_that_ends_there(paired, at):
    found = bounded_difference(*NEAR_ONE, UNIT, paired)
    ends = found.interval(found.p_value(at))
    assert min(abs(end - at) for end in ends) < 1e-6


@pytest.mark.parametrize("paired", [False, True])
def test_it_never_leaves_the_range(paired):
    for first, second in [
        ([1.0, 1.0, 0.999], [0.0, 0.01, 0.6]),
        ([0.2, 0.9999, 0.5], [1e-6, 0.9, 0.1]),
        ([1.0, 1.0, 1.0], [0.5, 0.4, 0.9]),
    ]:
        found = bounded_difference(np.array(first), np.array(second), UNIT, paired)
        low, high = found.interval()
        assert -1 <= low < found.value < high <= 1
    assert found.upper(2.0) >= 1 - 0.65  # three accuracies of 1 leave open that the median is 1


def test_equivalence_is_two_one_sided_tests():
    found = bounded_difference(*MIDDLE, UNIT, False)
    sides = [found.p_value(end) / 2 for end in (-0.02, 0.02)]
    assert found.p_equivalence(0.02) == pytest.approx(max(sides))
    assert found.p_equivalence(1e-4) == 1.0


def test_a_wider_range_is_the_same_range_in_other_units():
    percent = [100 * each for each in NEAR_ONE]
    one = bounded_difference(*NEAR_ONE, UNIT, False)
    other = bounded_difference(*percent, (0.0, 100.0), False)
    assert other.interval() == pytest.approx(one.interval())
