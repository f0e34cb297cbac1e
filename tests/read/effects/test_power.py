import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from ablab.read.effects.power import MOST_SEEDS, seeds_for_equivalence, seeds_to_detect


def test_a_difference_of_half_a_deviation_takes_34_seeds():
    # Cohen (1988), table 2.4.1, less the pairing: n = 34 for d = 0.5, 80%, 5% two-sided, one sample
    assert seeds_to_detect(0.5, 1.0) == 34
    assert seeds_to_detect(-5.0, 10.0) == 34


@pytest.mark.parametrize(("size", "family"), [(0.2, 1), (0.7, 1), (0.7, 12), (2.0, 4)])
def test_the_power_is_that_of_statsmodels(size, family):
    def power(seeds):
        return TTestPower().power(size, seeds, 0.05 / family)

    seeds = seeds_to_detect(size, 1.0, family)
    assert power(seeds) >= 0.8 > power(seeds - 1)


def test_it_takes_more_seeds_in_a_larger_family_and_two_at_least():
    assert seeds_to_detect(0.5, 1.0, 6) > seeds_to_detect(0.5, 1.0, 2) > 34
    assert seeds_to_detect(1e6, 1.0) == 2


def test_what_no_number_of_seeds_settles_is_none():
    assert seeds_to_detect(0.0, 1.0) is None
    assert seeds_to_detect(1.0, 0.0) is None
    assert seeds_to_detect(1e-6, 1.0) is None
    assert seeds_for_equivalence(1e-6, 1.0) is None
    assert seeds_for_equivalence(1.0, 0.0) is None
    assert MOST_SEEDS > seeds_for_equivalence(0.05, 1.0) > 3000


@pytest.mark.parametrize("margin", [0.6, 1.0, 2.0])
def test_seeds_for_equivalence_pass_four_times_in_five(margin):
    random = np.random.default_rng(0)

    def power(seeds):
        values = random.normal(size=(40_000, seeds))
        error = values.std(axis=1, ddof=1) / np.sqrt(seeds)
        return np.mean(np.abs(values.mean(axis=1)) + stats.t.isf(0.05, seeds - 1) * error < margin)

    seeds = seeds_for_equivalence(margin, 1.0)
    assert power(seeds) > 0.79
    assert power(seeds - 1) < 0.81
