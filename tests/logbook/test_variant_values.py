"""Values by variant, on tables of made-up numbers."""

import polars as pl

from ablab.logbook.variant_values import variant_values
from ablab.read.measured import Measured, measured_columns
from tests.logbook.made_up import measured, record_of


def test_runs_that_did_not_reach_a_step_are_later_than_all_others():
    found = measured("leaves(log(10))", {"8": [100, 300, None], "16": [50, 60, 70]})
    wide, narrow = found.variants
    assert (wide.name, narrow.name) == ("d_model 8", "d_model 16")
    assert wide.count == (2, 3)
    assert wide.median == 300  # of 100, 300 and later than 500
    assert wide.missed == (500.0,)
    assert narrow.count is None
    assert narrow.median == 60
    assert found.said == "reached"
    assert found.best() is narrow


def test_most_runs_never_got_there():
    found = measured("leaves(log(10))", {"8": [100, None, None], "16": [400, 450, 480]})
    assert found.variants[0].median is None
    assert found.best() is found.variants[1]


def test_runs_that_learnt_are_counted_before_a_median():
    found = measured(
        "final(eval_accuracy)",
        {"8": [0.99, 0.10, 0.98, 0.11, 0.97], "16": [0.10, 0.11, 0.10, 0.12, 0.11]},
    )
    mixed, guessing = found.variants
    assert found.cut is not None
    assert 0.12 < found.cut < 0.97
    assert mixed.count == (3, 5)
    assert mixed.median == 0.98  # of those that learnt, not the 0.97 of all
    assert guessing.count == (0, 5)
    assert guessing.median == 0.11
    assert found.said == "learnt"


def test_one_group_has_no_counts():
    found = measured("final(eval_loss)", {"8": [1.0, 1.1, 1.2], "16": [0.9, 1.0, 1.1]})
    assert found.cut is None
    assert all(row.count is None for row in found.variants)
    assert found.best() is found.variants[1]


def test_equally_good_variants_have_no_best():
    found = measured("final(eval_loss)", {"8": [1.0, 1.0], "16": [1.0, 1.0]})
    assert found.best() is None


def test_runs_without_a_value_have_their_reason():
    values = [Measured(1.0), Measured(reason="diverged at step 10"), Measured(reason="no floor")]
    frame = pl.DataFrame(
        {"run": list("abc"), "model.d_model": [8, 8, 8], "seed": [0, 1, 2]}
        | measured_columns(values)
        | {"status": ["finished", "diverged", "finished"]}
    )
    (row,) = variant_values(record_of(["8"], 3), "floor(loss)", frame).variants
    assert row.values == (1.0,)
    assert row.lost == {"diverged": 1, "no floor": 1}
