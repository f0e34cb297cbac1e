from types import SimpleNamespace

import pytest

from ablab.experiments.measures import parse_measure
from ablab.logbook.short_variants import (
    cell_key,
    is_affected,
    only_words,
    short_values,
    short_variants,
)


def run(steps, **variant):
    return SimpleNamespace(variant=variant, steps=steps)


def test_a_quarter_of_the_usual_steps_is_far_fewer():
    runs = [run(1000, a=1), run(1000, a=2), run(250, a=3), run(249, a=4), run(9000, a=5)]
    assert short_variants(runs) == {cell_key({"a": 4}): 249}


def test_equal_budgets_are_never_short():
    assert short_variants([run(10, a=1), run(10, a=2)]) == {}
    assert short_variants([run(10)]) == {}
    assert short_variants([]) == {}


def test_a_value_is_short_if_all_of_its_variants_are():
    runs = [run(10, a="x", b=1), run(10, a="x", b=2), run(10, a="y", b=1), run(900, a="y", b=2),
            run(900, a="z", b=1), run(900, a="z", b=2), run(900, a="w", b=2)]  # fmt: skip
    assert short_values(runs) == {("a", "x"): 10}


@pytest.mark.parametrize(
    ("measure", "affected"),
    [("final(loss)", True), ("steps_to(loss, 0.1)", True), ("at(loss, 50)", False),
     ("mean(loss, 1, 5)", False), ("n_params", False)],
)  # fmt: skip
def test_measures_that_name_their_steps_need_no_caveat(measure, affected):
    assert is_affected(parse_measure(measure)) is affected


def test_the_caveat_is_a_few_words():
    assert only_words(50) == "after only 50 steps"
    assert only_words(1) == "after only 1 step"
