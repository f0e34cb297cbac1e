import math

import polars as pl
import pytest

from ablab.read.measured import COLUMNS, Measured, measured_columns

KINDS = [
    (Measured(20.0), "number", "20"),
    (Measured(0.5, reason="at step 3"), "number", "0.5"),
    (Measured(not_before=4000, reason="not reached by step 4000"), "not before",
     "not before step 4,000"),
    (Measured(reason="diverged at step 10"), "none", "none (diverged at step 10)"),
]  # fmt: skip


@pytest.mark.parametrize(("measured", "kind", "text"), KINDS)
def test_a_measured_value_is_of_one_kind(measured, kind, text):
    assert (measured.kind, str(measured)) == (kind, text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"value": 1.0, "not_before": 1},
        {"value": math.nan},
        {"value": math.inf},
        {},
    ],
)
def test_what_is_no_measured_value(wrong):
    with pytest.raises(ValueError, match="measured value"):
        Measured(**wrong)


def test_a_table_keeps_the_kinds():
    values = [measured for measured, _, _ in KINDS]
    frame = pl.DataFrame(measured_columns(values))
    assert frame["value"].to_list() == [20.0, 0.5, None, None]
    assert frame["not_before"].to_list() == [None, None, 4000, None]
    assert [Measured(*row) for row in frame.select(COLUMNS).iter_rows()] == values
    assert [Measured(**each.as_data()) for each in values] == values
    nothing = pl.DataFrame(measured_columns([]))
    assert nothing.schema == frame.schema
