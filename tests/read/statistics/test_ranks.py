"""Ranks within cells: against SciPy, against van Elteren's formula, and worked by hand."""

import itertools

import numpy as np
import pytest
from scipy import stats

from ablab.read.statistics.ranks import (
    Arrivals,
    Bounds,
    _t_test,
    first,
    in_order,
    least_rank_p,
    scores,
    step_by_step,
)

NAN = np.nan


def exactly(*rows):
    return Bounds.exactly(np.array(rows, dtype=float))


def test_one_cell_is_wilcoxons_test():
    x, y = [3.0, 1.0, 7.0, 2.0, 6.0], [9.0, 4.0, 12.0, 5.0, 11.0]
    known = stats.mannwhitneyu(x, y, method="exact").pvalue
    assert first(exactly(x), exactly(y), False) == pytest.approx(known)
    assert first(exactly(y), exactly(x), False) == 1.0


def test_the_scores_are_van_elterens():
    # Two cells, of 2 + 3 and 2 + 2 runs. Ranks of the first sample: 1, 3 of 5; 2, 4 of 4.
    one = np.array([[10.0, 12.0, NAN], [101.0, 103.0, NAN]])
    two = np.array([[11.0, 13.0, 14.0], [100.0, 102.0, NAN]])
    x, y = scores([one, two])
    # Of five runs the expected rank is 3 and the weight 1/6, of four 2.5 and 1/5.
    assert x[0, :2] == pytest.approx([-2 / 6, 0])
    assert x[1, :2] == pytest.approx([-0.5 / 5, 1.5 / 5])
    assert np.isnan(x[:, 2]).all()
    assert y[0] == pytest.approx([-1 / 6, 1 / 6, 2 / 6])
    assert y[1, :2] == pytest.approx([-1.5 / 5, 0.5 / 5])
    # van Elteren (1960): the sum of W / (N + 1) less its expectation, m / 2 in each cell.
    assert np.nansum(x) == pytest.approx((1 + 3) / 6 + (2 + 4) / 5 - 2 / 2 - 2 / 2)


def test_cells_of_another_size_do_not_hide_an_order():
    # Within each of three cells every run of the first sample is lower, by 1 of 10, 100 or 1,000.
    cells = np.array([[10.0], [100.0], [1000.0]])
    seeds = np.array([[0.0, 3.0, 1.0, 2.0]])
    one, two = cells * (1 + seeds / 100), cells * (1.1 + seeds[:, ::-1] / 100)
    assert first(Bounds.exactly(one), Bounds.exactly(two), False) == pytest.approx(2 / 70)


def test_what_is_permuted_is_the_seed_with_all_its_cells():
    random = np.random.default_rng(3)
    one, two = random.normal(size=(3, 3)), random.normal(size=(3, 4)) + 1.0
    two[1, 3] = NAN
    every = np.concatenate([one, two], axis=1)
    weighted = np.zeros(7)
    for row in every:  # written out once more
        there = np.isfinite(row)
        n = there.sum()
        weighted[there] += (stats.rankdata(row[there]) - (n + 1) / 2) / (n + 1)
    differences = [weighted[list(c)].mean() - np.delete(weighted, c).mean()
                   for c in itertools.combinations(range(7), 3)]  # fmt: skip
    observed = weighted[:3].mean() - weighted[3:].mean()
    assert observed < 0
    low = np.mean([each <= observed + 1e-9 for each in differences])
    high = np.mean([each >= observed - 1e-9 for each in differences])
    wanted = min(1.0, 2 * min(low, high))
    padded = np.column_stack([one, [NAN] * 3])
    assert first(Bounds.exactly(padded), Bounds.exactly(two), False) == pytest.approx(wanted)


def test_five_pairs_in_several_cells_need_both_tests():
    # In six cells of another size each, five seeds: all but one run of 30 are lower, by 5%.
    random = np.random.default_rng(1)
    cells = 10.0 ** np.arange(6)[:, None] * np.exp(random.normal(size=(1, 5)))
    lower = cells * np.exp(-0.05 + 0.01 * random.normal(size=(6, 5)))
    lower[0, 0] = cells[0, 0] * 1.05
    found = first(Bounds.exactly(lower), Bounds.exactly(cells), True)
    x, y = (each.sum(axis=0) for each in scores([lower, cells]))
    assert found == pytest.approx(stats.ttest_rel(x, y).pvalue)
    assert found < 0.05
    assert least_rank_p(Bounds.exactly(lower), Bounds.exactly(cells), True)[0] == 0


@pytest.mark.parametrize(
    ("seeds", "least"), [(3, 2 / 2**3), (4, 2 / 70), (5, 2 / 252), (6, 2 / 2**6)]
)
def test_four_or_five_seeds_in_one_cell_are_not_taken_in_pairs(seeds, least):
    early = exactly(np.arange(seeds))
    late = early.later(100)
    assert first(early, late, True) == pytest.approx(least)
    assert least_rank_p(early, late, True) == (pytest.approx(least), (seeds, seeds))


@pytest.mark.parametrize("alike", [0.0, 0.5, 0.95])
def test_the_error_rate_of_four_and_five_seeds_of_one_cell(alike):
    random = np.random.default_rng(8)
    for seeds in (4, 5):
        wrong = 0
        for _ in range(1000):
            seed = alike**0.5 * random.normal(size=seeds)
            noise = (1 - alike) ** 0.5 * random.normal(size=(2, seeds))
            one, two = (exactly(seed + each) for each in noise)
            wrong += min(first(one, two, True), first(two, one, True)) < 0.05
        assert wrong <= 70


def test_runs_of_a_seed_that_are_alike_are_not_many_runs():
    # Three seeds, the same run in four cells: by permutation within cells, 2 in 20^4.
    one, two = (np.tile(row, (4, 1)) for row in ([1.0, 2.0, 3.5], [3.0, 5.0, 4.0]))
    x, y = (each.sum(axis=0) for each in scores([one, two]))
    t = stats.ttest_ind(x, y, equal_var=False).pvalue
    assert first(Bounds.exactly(one), Bounds.exactly(two), False) == pytest.approx(t)
    assert t > 0.05


def test_in_blocks_the_signs_of_seeds_are_permuted():
    lower = exactly([1.0, 12.0, 23.0, 34.0, 45.0, 56.0])
    assert first(lower, lower.later(0.5), True) == pytest.approx(2 / 2**6)
    assert first(lower, lower.later(0.5), False) > 0.3
    assert least_rank_p(lower, lower, True) == (pytest.approx(2 / 2**6), (6, 6))
    three = exactly([1.0, 2.0, 3.0])
    assert least_rank_p(three, three, False) == (pytest.approx(0.1), (3, 3))


def test_the_error_rate_holds_for_seeds_that_are_alike_in_all_cells():
    # Runs of a seed are the same in four cells: 4 vs 4 seeds, not 16 vs 16 runs.
    random = np.random.default_rng(0)
    found = []
    for _ in range(400):
        one, two = (np.tile(random.normal(size=4), (4, 1)) for _ in range(2))
        p = min(first(Bounds.exactly(one), Bounds.exactly(two), False),
                first(Bounds.exactly(two), Bounds.exactly(one), False))  # fmt: skip
        found.append(p <= 4 / 70 + 1e-9)  # the two greatest and the two least sums of 70
    assert np.mean(found) == pytest.approx(4 / 70, abs=0.03)


def test_an_order_within_cells():
    cells = [exactly([10.0, 11.0], [1000.0, 1001.0]).later(by) for by in (4.0, 2.0, 0.0)]
    # Scores are the same in both cells; of the 90 ways to put six runs into three pairs, only
    # this one has the greatest sum.
    assert in_order(cells, -1, False) == pytest.approx(2 / 90)
    assert in_order(cells, 1, False) == 1.0
    assert step_by_step(cells, -1) == [1, 1]
    assert step_by_step(cells, 1) == [-1, -1]
    assert step_by_step([cells[0], cells[0]], 1) == [0]


def arrivals(values, not_before, never=(), stopped=()):
    runs = range(len(values))
    return Arrivals(
        np.array([values], dtype=float), np.array([not_before], dtype=float),
        np.array([[run in never for run in runs]]), np.array([[run in stopped for run in runs]]),
    )  # fmt: skip


def test_runs_are_bounded_up_to_the_horizon():
    runs = arrivals([50, NAN, NAN, NAN, NAN], [NAN, 400, 300, 20, 90], never=[3], stopped=[4])
    assert runs.horizon == 300  # neither the one that diverged nor the one that was stopped counts
    made = runs.bounds(300)
    assert made.least.tolist() == [[50, 300, 300, 300, 90]]
    assert made.most.tolist() == [[50, 300, 300, 300, 300]]
    assert runs.bounds(300, later=100).least.tolist() == [[150, 300, 300, 300, 190]]
    assert not runs.complete
    assert arrivals([5, 7], [NAN, NAN]).complete


def test_a_sample_of_equal_scores_is_compared_without_a_warning():
    x, y = np.full(4, 1 / 3), np.array([0.1, 0.2, 0.25, 0.3])
    # Welch: t = (1/3 - 0.2125) / (s_y / 2) with 3 degrees of freedom.
    t = (1 / 3 - 0.2125) / (np.std(y, ddof=1) / 2)
    assert _t_test(x, y, blocks=False) == pytest.approx(2 * stats.t.sf(t, 3))
