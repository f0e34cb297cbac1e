"""Counts and their nouns."""

import pytest

from ablab.config import counted


@pytest.mark.parametrize(
    ("number", "expected"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs"), (1200, "1,200 runs")]
)
def test_one_is_singular(number, expected):
    assert counted(number, "run") == expected


def test_an_irregular_plural_is_given():
    assert counted(1, "is a copy", "are copies") == "1 is a copy"
    assert counted(3, "is a copy", "are copies") == "3 are copies"
