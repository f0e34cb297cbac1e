"""Layouts of tables, drawn by hand."""

import hypothesis.strategies as st
import pytest
from hypothesis import example, given
from rich.cells import cell_len

from ablab.config.table import cell_text, output_width, table_lines, wrapped

RUNS = [
    ("4e60361ef07e", "model.d_model=8, train.lr=0.01", 0, 0.5),
    ("2916d9438153", "model.d_model=8, train.lr=0.01", 1, 1.25),
    ("b7ff16ca1e49", "model.d_model=16, train.lr=0.01", 0, None),
]


def drawn(width, rows=RUNS, groups=("variant",)):
    header = ["run", "variant", "seed", "loss"]
    return [
        line.text for line in table_lines(header, rows, width, texts=["variant"], groups=groups)
    ]


def test_a_table_that_fits_is_one_line_for_each_row():
    assert drawn(80) == [
        "run           variant                          seed  loss",
        "4e60361ef07e  model.d_model=8, train.lr=0.01      0   0.5",
        "2916d9438153  model.d_model=8, train.lr=0.01      1  1.25",
        "b7ff16ca1e49  model.d_model=16, train.lr=0.01     0",
    ]


def test_texts_are_continued_between_words():
    assert drawn(46, RUNS[1:], groups=()) == [
        "run           variant               seed  loss",
        "2916d9438153  model.d_model=8,         1  1.25",
        "              train.lr=0.01",
        "b7ff16ca1e49  model.d_model=16,        0",
        "              train.lr=0.01",
    ]


def test_columns_that_repeat_become_headings():
    assert drawn(36) == [
        "  run           seed  loss",
        "variant: model.d_model=8,",
        "    train.lr=0.01",
        "  4e60361ef07e     0   0.5",
        "  2916d9438153     1  1.25",
        "variant: model.d_model=16,",
        "    train.lr=0.01",
        "  b7ff16ca1e49     0",
    ]


def test_records_are_below_each_other_where_nothing_else_fits():
    assert drawn(26, RUNS[1:], groups=()) == [
        "run      2916d9438153",
        "variant  model.d_model=8,",
        "         train.lr=0.01",
        "seed     1",
        "loss     1.25",
        "",
        "run      b7ff16ca1e49",
        "variant  model.d_model=16,",
        "         train.lr=0.01",
        "seed     0",
        "loss",
    ]


def test_wide_characters_take_two_columns():
    lines = table_lines(["name", "n"], [("規範化", 1), ("norm", 20)], 80)
    assert [line.text for line in lines] == ["name     n", "規範化   1", "norm    20"]


def test_headers_are_broken_where_that_makes_a_table_fit():
    lines = table_lines(["adjusted p", "seeds"], [("< 0.001", 3)], 15)
    assert [line.text for line in lines] == ["adjusted", "p         seeds", "< 0.001       3"]


def test_headings_are_marked():
    assert [line.is_heading for line in table_lines(["a"], [(1,)], 10)] == [True, False]


def test_a_table_without_rows_is_its_header():
    assert [line.text for line in table_lines(["run", "seed"], [], 80)] == ["run  seed"]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (0.000014207, "1.4207e-05"),
        (float("nan"), ""),
        (None, ""),
        (3, "3"),
        ("a\x1b[2J", "a\\x1b[2J"),
    ],
)
def test_cells(cell, text):
    assert cell_text(cell) == text


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two three", ["one two", "  three"]),
        ("", [""]),
        ("1234567890", ["12345678", "  90"]),
        ("a  b", ["a  b"]),
        ("日本語日本語", ["日本語日", "  本語"]),
    ],
)
def test_words_are_kept_whole_if_a_line_can_hold_them(text, lines):
    assert wrapped(text, 8, 2) == lines


WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=0x3FFF, categories=["L", "N"]))


@given(st.lists(st.tuples(WORDS, WORDS, st.floats()), min_size=1, max_size=4), st.integers(30, 90))
@example([("", "", float("nan"))], 30)
def test_nothing_is_lost_and_nothing_is_wider(rows, width):
    lines = [line.text for line in table_lines(["one", "two", "x"], rows, width, texts=["two"])]
    assert max(map(cell_len, lines)) <= width
    letters = "".join("".join(lines).split())
    for row in rows:
        for cell in map(cell_text, row):
            assert set(cell) <= set(letters)
            assert len(cell) > width - 10 or any(cell in line for line in lines)


def test_the_width_of_a_file_is_80_unless_it_is_given(monkeypatch, tmp_path):
    with (tmp_path / "out.txt").open("w") as file:
        monkeypatch.delenv("COLUMNS", raising=False)
        assert output_width(file) == 80
        monkeypatch.setenv("COLUMNS", "132")
        assert output_width(file) == 132
        monkeypatch.setenv("COLUMNS", "wide")
        assert output_width(file) == 80


def test_records_leave_out_columns_without_any_value():
    rows = [("final(loss) is lower", None, "held"), ("final(loss) is higher", None, "failed")]
    lines = table_lines(["expectation", "confidence", "verdict"], rows, 24)
    assert not any("confidence" in line.text for line in lines)
    assert sum(line.text.startswith("verdict") for line in lines) == 2
