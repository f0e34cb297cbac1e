"""Medians over runs of which some did not get there, worked by hand."""

import pytest

from ablab.read.medians import median_of, spread_words


@pytest.mark.parametrize(
    ("values", "later", "median"),
    [
        ([1, 2, 9], 0, 2),
        ([1, 2], 0, 1.5),
        ([1, 2, 9], 2, 9),  # 1, 2, 9, later, later
        ([1, 2], 1, 2),
        ([1, 2], 2, None),  # between 2 and a step that was not reached
        ([1], 1, None),
        ([1], 2, None),
        ([], 3, None),
        ([], 0, None),
    ],
)
def test_runs_that_did_not_get_there_are_later_than_all_others(values, later, median):
    assert median_of(values, later) == median


def show(value):
    return f"{value:,.0f}"


def test_the_words_have_the_range_and_who_did_not_get_there():
    assert spread_words([100, 200, 900], show) == "200 [100, 900]"
    assert spread_words([200, 200], show) == "200"
    assert spread_words([100, 200, 900], show, 2, 3000) == "900 [100, not reached]"
    assert spread_words([100, 200], show, 2, 3000) == "not before 3,000 [100, not reached]"
    assert spread_words([100], show, 1) == "not reached [100, not reached]"
    assert spread_words([], show, 3, 3000) == "not before 3,000"
    assert spread_words([100], show, 1, 50, ("after", "not left")) == "after 50 [100, not left]"
