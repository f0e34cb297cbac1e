import numpy as np
import pytest
from scipy import stats

from ablab.read.statistics.looks import Looks, any_significant

# Jennison and Turnbull, Group Sequential Methods (2000), tables 2.1 and 2.3: the constants of
# two-sided tests at 5% with equal steps, of Pocock, and of O'Brien and Fleming.
POCOCK = {2: 2.178, 3: 2.289, 4: 2.361, 5: 2.413, 10: 2.555}
OBRIEN_FLEMING = {2: 1.977, 3: 2.004, 4: 2.024, 5: 2.040, 10: 2.087}


@pytest.mark.parametrize("looks", POCOCK)
def test_published_boundaries_keep_five_percent(looks):
    numbers = range(1, looks + 1)
    level = 2 * stats.norm.sf(POCOCK[looks])
    assert any_significant(numbers, [level] * looks) == pytest.approx(0.05, abs=1e-4)
    levels = [2 * stats.norm.sf(OBRIEN_FLEMING[looks] * (looks / n) ** 0.5) for n in numbers]
    assert any_significant(numbers, levels) == pytest.approx(0.05, abs=1e-4)


def test_one_look_is_an_ordinary_test():
    assert Looks(7, 7).numbers == (7,)
    assert Looks(7, 7).levels == (0.05,)
    assert any_significant([7], [0.03]) == pytest.approx(0.03)
    assert Looks(7, 7).p_value([0.2]) == pytest.approx(0.2)


def test_seeds_grow_by_a_third_and_levels_with_them():
    looks = Looks(3, 40)
    assert looks.numbers == (3, 4, 6, 8, 11, 15, 20, 27, 36, 40)
    levels = np.array(looks.levels)
    assert levels / levels[-1] == pytest.approx(np.array(looks.numbers) / 40)
    assert levels.sum() > 0.05 > levels[-1]


def test_the_p_value_is_at_most_five_percent_just_where_a_look_is_significant():
    looks = Looks(3, 20)
    for place, level in enumerate(looks.levels):
        before = [0.9] * place
        assert looks.p_value([*before, level * 0.999]) < 0.05
        assert looks.p_value([*before, level * 1.001]) > 0.05
    assert looks.p_value([]) is None
    assert looks.p_value([None, None]) is None
    first = looks.p_value([looks.levels[0] / 2])
    assert (
        looks.p_value([looks.levels[0] / 2, 0.9, None]) == first
    )  # a later look takes nothing back
    assert looks.p_value([1.0]) == 1.0


@pytest.mark.parametrize("ends", [(3, 10), (3, 40), (2, 12), (5, 100)])
def test_students_tests_of_growing_samples_keep_five_percent(ends):
    looks = Looks(*ends)
    random = np.random.default_rng(3)
    values = random.standard_normal((40_000, looks.last))
    significant = np.zeros(len(values), bool)
    lowest = np.ones(len(values))
    for seeds, level in zip(looks.numbers, looks.levels, strict=True):
        p = stats.ttest_1samp(values[:, :seeds], 0, axis=1).pvalue
        significant |= p < level
        lowest = np.minimum(lowest, p / level)
    assert 0.03 < significant.mean() < 0.052
    # The p-value for all looks is one: it is at most 1% in 1% of experiments, or fewer.
    some = [looks.p_value([each * level for level in looks.levels]) for each in lowest[:4000]]
    assert np.mean(np.array(some) <= 0.01) < 0.014


def test_the_chance_of_settling_later():
    looks = Looks(3, 40)
    for p in (0.9, 0.3, 0.05):
        chance = looks.chance(4, p)
        # Draw the effect from what 11 seeds leave open, then the 29 seeds that follow.
        random = np.random.default_rng(5)
        sums = 11**0.5 * stats.norm.isf(p / 2)
        effect = sums / 11 + random.standard_normal(200_000) / 11**0.5
        later = sums + 29 * effect + 29**0.5 * random.standard_normal(200_000)
        bound = stats.norm.isf(looks.levels[-1] / 2)
        assert chance == pytest.approx((np.abs(later / 40**0.5) > bound).mean(), abs=0.004)
    # No difference at all so far: half of what is left would have to come one way.
    nothing = 2 * stats.norm.sf(stats.norm.isf(looks.levels[-1] / 2) / (29 / 11) ** 0.5)
    assert looks.chance(4, 1.0) == pytest.approx(nothing, abs=1e-3)
