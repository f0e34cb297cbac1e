import numpy as np
import pytest

from ablab.read.statistics.groups import notice_cut


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
