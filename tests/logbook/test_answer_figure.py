"""The key figure, on made-up values whose picture is known."""

import re
from dataclasses import replace

import pytest

from ablab.logbook.answer_figure import MOST_ROWS, answer_figure, count_words, shown_rows
from ablab.logbook.numeric_setting import is_geometric, numeric_setting
from tests.logbook.made_up import measured

CUBES = {"8": [300, 310, None], "16": [150, 160, 170], "32": [80, 90, 100]}


def texts(drawing):
    return re.findall(r"<text[^>]*>([^<]*)</text>", drawing)


def test_a_numeric_setting_has_its_values_as_ticks_and_the_best_is_marked():
    found = answer_figure(measured("leaves(log(10))", CUBES))
    said = texts(found.drawing)
    assert [each for each in said if each in ("8", "16", "32")] == ["8", "16", "32"]
    assert "d_model" in said
    assert "earliest" in said
    assert "Circled: d_model 32, the earliest median of the variants in which most" in found.caption
    assert "Open arrows: not reached" in found.caption


def test_nothing_is_the_best_while_runs_are_missing():
    found = answer_figure(measured("leaves(log(10))", CUBES), concluded=False)
    assert "earliest" not in texts(found.drawing)
    assert "Circled" not in found.caption


def test_two_values_are_rows_with_their_counts():
    cells = {"8": [300, None, None], "16": [150, 160, 170]}
    found = answer_figure(measured("leaves(log(10))", cells))
    said = texts(found.drawing)
    assert said.index("d_model 8") < said.index("d_model 16")
    assert "1 of 3 reached" in said
    assert "3 of 3 reached" in said


def test_rows_are_ordered_by_number():
    found = measured("final(eval_loss)", {"32": [1.0], "8": [2.0], "16": [1.5]})
    assert [row.name for row in shown_rows(found)] == ["d_model 8", "d_model 16", "d_model 32"]
    setting = numeric_setting(found.variants)
    assert setting.values == [8.0, 16.0, 32.0]
    assert [row.name for _, row in setting.lines[0].points] == [
        "d_model 8", "d_model 16", "d_model 32",
    ]  # fmt: skip


def test_of_many_variants_the_best_and_the_worst_are_shown():
    widths = [str(4 * (place + 1)) for place in range(MOST_ROWS + 5)]
    found = measured("final(eval_loss)", {name: [float(name)] for name in reversed(widths)})
    rows = [row.name for row in shown_rows(found)]
    assert rows[0] == "d_model 4"
    assert rows[14:16] == ["d_model 60", "d_model 124"]
    assert rows[-1] == "d_model 180"
    assert len(rows) == 30


def test_groups_are_told_apart():
    cells = {"8": [0.99, 0.10, 0.98, 0.11], "16": [0.10, 0.11, 0.10, 0.12]}
    found = measured("final(eval_accuracy)", cells)
    assert [count_words(found, row) for row in found.variants] == ["2 of 4 learnt", "0 of 4 learnt"]
    figure = answer_figure(found)
    assert "open dots are those that did not learn" in figure.caption
    assert figure.drawing == answer_figure(found).drawing  # the same bytes


def test_without_values_there_is_no_figure():
    found = measured("final(eval_loss)", {"8": [1.0], "16": [1.0]})
    assert answer_figure(replace(found, variants=[])) is None


@pytest.mark.parametrize(
    ("values", "geometric"),
    [
        ([8.0, 16.0, 32.0], True),
        ([1.0, 2.0, 3.0], False),
        ([0.0, 0.1, 1.0], False),
        ([0.001, 0.01, 0.3], True),
        ([100.0, 110.0, 121.0], False),
    ],
)
def test_values_that_grow_by_factors_need_a_logarithmic_axis(values, geometric):
    assert is_geometric(values) is geometric
