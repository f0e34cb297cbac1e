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
    words = ("after", "not left")
    assert spread_words([100], show, 1, 150, words) == "after 150 [100, not left]"


def test_nothing_is_said_of_the_order_of_runs_that_were_not_looked_at_for_long():
    """A run that was seen up to step 50 may be before or after one that got there at 100."""
    words = ("after", "not left")
    assert spread_words([100], show, 1, 50, words) == "after 50"
    assert spread_words([100, 200, 900], show, 2, 50) == "not before 50"
    assert spread_words([30, 200, 900], show, 2, 50) == "not before 50 [30, not reached]"
