from types import SimpleNamespace

import polars as pl
import pytest

from ablab.config import InputError
from ablab.experiments.measures import parse_measure
from ablab.read.short_variants import (
    caveat,
    cell_key,
    comparable,
    is_affected,
    longer_words,
    only_words,
    short_runs,
    short_variants,
)


def run(steps, **variant):
    return SimpleNamespace(run=f"{steps}-{variant}", variant=variant, steps=steps)


def rows(runs, column):
    """A row for each run, as a table of measured values has it."""
    return pl.DataFrame({"run": [run.run for run in runs], "a": column, "value": range(len(runs))})


def test_a_quarter_of_the_usual_steps_is_far_fewer():
    runs = [run(1000, a=1), run(1000, a=2), run(250, a=3), run(249, a=4), run(9000, a=5)]
    assert short_variants(runs) == {cell_key({"a": 4}): 249}


def test_equal_budgets_are_never_short():
    assert short_variants([run(10, a=1), run(10, a=2)]) == {}
    assert short_variants([run(10)]) == {}
    assert short_variants([]) == {}


def test_what_is_compared_has_no_short_variant():
    runs = [run(900, a="x"), run(900, a="y"), run(10, a="z")]
    frame = rows(runs, ["x", "y", "z"])
    kept, left_out = comparable(frame, runs)
    assert kept["value"].to_list() == [0, 1]
    assert left_out == {"z": 10}
    assert caveat(left_out) == "Not compared, since trained for far fewer steps: z (10 steps)."
    with pytest.raises(InputError) as error:
        comparable(frame.tail(2), runs[1:])
    assert error.value.problems[0].message == (
        "there is nothing to compare: without the variants that were trained for far fewer steps "
        "than the others, z (10 steps), fewer than two are left"
    )


@pytest.mark.parametrize(
    ("values", "column"),
    [
        ([0, 0.1, 0.2], [0.0, 0.1, 0.2]),  # numbers of two types are one column of floats
        ([None, 1, 2], [None, 1, 2]),
        ([True, [1, 2], {"kind": "rms"}], ["true", "[1, 2]", '{"kind": "rms"}']),
    ],
)
def test_a_short_variant_is_left_out_whatever_the_column_calls_it(values, column):
    runs = [run(10, a=values[0]), run(900, a=values[1]), run(900, a=values[2])]
    kept, left_out = comparable(rows(runs, column), runs)
    assert kept["value"].to_list() == [1, 2]
    assert list(left_out.values()) == [10]
    assert short_runs(runs) == {runs[0].run: 10}


def test_a_variant_with_far_more_steps_has_a_caveat():
    runs = [run(15686, a="1 bigram"), *(run(981, a=f"{n} head") for n in range(3, 9))]
    assert longer_words(runs) == (
        "Compared, though trained for far more steps than the usual 981, which can be what makes a "
        "difference: 1 bigram (15,686 steps, 16 times as many)."
    )
    assert longer_words([run(400, a=1), run(100, a=2), run(100, a=3)]) == ""
    assert longer_words([]) == ""


@pytest.mark.parametrize(
    ("measure", "affected"),
    [("final(loss)", True), ("steps_to(loss, 0.1)", True), ("at(loss, 50)", False),
     ("mean(loss, 1, 5)", False), ("n_params", False), ("seconds", True)],
)  # fmt: skip
def test_measures_that_name_their_steps_need_no_caveat(measure, affected):
    assert is_affected(parse_measure(measure)) is affected


def test_the_caveat_is_a_few_words():
    assert only_words(50) == "after only 50 steps"
    assert only_words(1) == "after only 1 step"
