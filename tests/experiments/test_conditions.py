"""Conditions on the outcome of a run."""

import pytest

from ablab.config import InputError
from ablab.experiments.conditions import parse_condition
from ablab.experiments.expectations import parse_expectation


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("leaves(log(10)) is reached", "leaves(log(10)) is reached"),
        ("steps_to(accuracy, 0.9) reached", "steps_to(accuracy, 0.9) is reached"),
        ("final(loss) is below 2", "final(loss) is below 2"),
        ("grad_norm at 20 > 0.5", "grad_norm at 20 is above 0.5"),
        ("accuracy < -1", "accuracy is below -1"),
    ],
)
def test_conditions(text, written):
    found = parse_condition(text)
    assert found.text == written and parse_condition(written) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("loss is reached", "loss is not a step that can be reached"),
        ("leaves(log(10))", "cannot be parsed at its end"),
        ("finl(loss) is below 2", r"there is no measure 'finl'.*did you mean final\?"),
        ("model.d_model=4", "the condition cannot be parsed at '=4'"),
    ],
)
def test_what_is_wrong_is_said(text, said):
    with pytest.raises(InputError, match=f"(?s){said}"):
        parse_condition(text)


@pytest.mark.parametrize(
    ("text", "value", "not_before", "holds"),
    [
        ("leaves(2) is reached", 7.0, None, True),
        ("leaves(2) is reached", None, 100, False),
        ("leaves(2) is reached", None, None, None),
        ("leaves(2) is below 50", 7.0, None, True),
        ("leaves(2) is below 50", None, 100, False),
        ("leaves(2) is below 500", None, 100, None),
        ("leaves(2) is above 50", None, 100, True),
        ("leaves(2) is above 500", None, 100, None),
        ("loss is below 2", 2.0, None, False),
        ("loss is above 2", 2.0, None, False),
    ],
)
def test_a_step_that_was_not_reached_is_later_than_the_last_one(text, value, not_before, holds):
    assert parse_condition(text).holds(value, not_before) is holds


def test_an_expectation_keeps_the_condition_as_text():
    text = "final(loss) is lower if leaves(log(10)) reached than otherwise where a=4 by 0.5"
    found = parse_expectation(text)
    assert found.lower_if == "leaves(log(10)) is reached"
    assert (found.where, found.by, found.relation) == ({"a": 4}, 0.5, "lower_if")
    with pytest.raises(InputError, match="not a step that can be reached"):
        parse_expectation("final(loss) is higher if loss is reached than otherwise")
