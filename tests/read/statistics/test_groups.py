import numpy as np
import pytest

from ablab.read.statistics import groups
from ablab.read.statistics.groups import guessing_cut, notice_cut


def test_one_cell_with_both_groups_is_enough():
    values = np.array([[0.95, 0.94, 0.96, 0.95], [0.11, 0.95, 0.10, 0.96]])
    assert notice_cut(values) == pytest.approx((0.11 + 0.94) / 2)


def test_cells_that_differ_are_not_two_groups():
    assert np.isnan(notice_cut(np.array([[0.95, 0.94, 0.96], [0.11, 0.12, 0.10]])))


def test_missing_runs_are_skipped():
    values = np.array([[0.95, 0.94, np.nan, 0.95], [0.11, 0.95, 0.10, 0.96]])
    assert 0.11 < notice_cut(values) < 0.94


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_noise_is_hardly_ever_two_groups(seeds):
    random = np.random.default_rng(0)
    assert np.isfinite(notice_cut(random.normal(size=(500, 4, seeds)))).mean() < 0.01
    assert np.isfinite(notice_cut(random.standard_t(3, size=(500, 4, seeds)))).mean() < 0.02


def test_runs_at_the_loss_of_guessing_did_not_learn():
    losses = np.array([[0.119, 2.299, 2.303], [0.029, 0.269, 2.31], [0.0013, 0.0014, np.nan]])
    assert np.isnan(notice_cut(np.log(losses)))  # their spread alone does not show two groups
    assert 2.0 < guessing_cut(losses, np.log(10)) < 2.25


@pytest.mark.parametrize(
    "losses",
    [
        [[2.30, 2.31], [0.1, 0.2]],  # each cell has runs of one kind
        [[2.30, 2.15], [0.1, 0.2]],  # a run is on its way
        [[2.30, 2.31], [2.29, np.nan]],
    ],
)
def test_otherwise_the_loss_of_guessing_shows_no_two_groups(losses):
    assert np.isnan(guessing_cut(np.array(losses), np.log(10)))


def test_values_near_the_end_of_their_range_are_not_two_groups():
    errors = np.array([[0.001, 0.0012, 0.0009, 0.05], [0.001, 0.0011, 0.001, 0.0012]])
    assert np.isfinite(notice_cut(1 - errors))
    assert np.isnan(notice_cut(1 - errors, least_gap=0.2))
    errors[0, 3] = 0.8
    assert notice_cut(1 - errors, least_gap=0.2) == pytest.approx(1 - (0.8 + 0.0012) / 2)


def drawn_groups(random, number):
    """Cells with missing runs, equal values, and one or two groups, (2, cells, seeds)."""
    values = 0.05 * random.normal(size=(2, random.integers(1, 7), random.integers(1, 9)))
    if number % 3:
        values += np.where(random.random(values.shape) < 0.4, random.choice([1.0, 3.0, 1e4]), 0)
    if number % 4 == 0:
        values = np.round(values, 1)
    if number % 2:
        values[random.random(values.shape) < 0.3] = np.nan
    return values


def test_the_quick_bound_passes_over_no_cut(monkeypatch):
    random, found = np.random.default_rng(0), 0
    for number in range(300):
        values = drawn_groups(random, number)
        quick = notice_cut(values)
        with monkeypatch.context() as patched:
            patched.setattr(groups, "_promising", lambda v: np.ones((2, v[0].size - 1), bool))
            np.testing.assert_array_equal(quick, notice_cut(values))
        found += int(np.isfinite(quick).sum())
    assert found > 50


def test_the_quick_bound_leaves_few_places():
    values = np.random.default_rng(0).normal(size=(1, 200, 10))
    assert groups._promising(values).mean() < 0.01
