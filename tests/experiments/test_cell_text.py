"""Cells as text, and which labels of an axis a written value is."""

import pytest

from ablab.experiments.cell_text import parse_cell, same_label


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("k=0", [0.0, 0]),
        ("k=0.0", [0.0, 0]),
        ("k=1e-3", [0.001]),
        ("k=3", [3, 3.0, "3"]),
        ("k=true", [True, "true"]),
        ("k=null", [None]),
        ("k=narrow", ["narrow"]),
    ],
)
def test_numbers_are_compared_by_value_and_the_rest_as_text(text, labels):
    every = [0.0, 0, 0.001, 3, 3.0, "3", 1, True, False, "true", None, "narrow", "wide"]
    value = parse_cell(text)["k"]
    found = [(type(each), each) for each in every if same_label(each, value)]
    assert found == [(type(each), each) for each in labels]
