"""Levels and bounds that depend on a setting."""

import math

import pytest

import ablab
from ablab.config import InputError
from ablab.experiments.expectations import Expectation, parse_expectation
from ablab.experiments.levels import Level
from ablab.experiments.measures import parse_measure

SETTINGS = {"task": {"kind": "modular", "p": 59}, "model": {"norm": "none", "d_model": 64}}


def test_a_level_is_a_setting_or_its_logarithm():
    found = parse_measure("leaves(log(task.p))")
    assert found.levels == (Level("task.p", logarithm=True),)
    assert math.isnan(found.numbers[0])
    assert found.resolved(SETTINGS).numbers == (math.log(59),)
    assert parse_measure("steps_to(accuracy, model.d_model)").resolved(SETTINGS).numbers == (64.0,)
    plain = parse_measure("leaves(log(10))")
    assert plain.levels == () and plain.resolved({}) is plain


@pytest.mark.parametrize(
    ("measure", "problem"),
    [
        ("leaves(log(task.q))", "task.q is not a setting of these runs"),
        ("leaves(model.norm)", "model.norm is 'none', which is not a number"),
        ("leaves(log(train.lr))", r"log\(train.lr\) has no value, since train.lr is 0"),
        ("leaves(train.lr)", "a level must be positive"),
    ],
)
def test_a_setting_that_is_no_number_is_a_clear_error(measure, problem):
    with pytest.raises(InputError, match=problem):
        parse_measure(measure).resolved(SETTINGS | {"train": {"lr": 0}})


@pytest.mark.parametrize("measure", ["at(eval_loss, model.d_model)", "leaves(log(train_loss))"])
def test_only_levels_can_be_settings(measure):
    with pytest.raises(InputError, match=r"cannot depend on a setting|is not a setting"):
        parse_measure(measure)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"above": "log(task.p)"}, "is above log(task.p)"),
        ({"below": "model.d_model"}, "is below model.d_model"),
        ({"within": ["1", "log( task.p )"]}, "is between 1 and log(task.p)"),
        ({"above": "4.73"}, "is above 4.73"),
        ({"above": "log(10)"}, f"is above {math.log(10)!r}"),
    ],
)
def test_a_bound_can_be_a_setting(given, sentence):
    made = Expectation(measure="final(loss)", **given)
    assert made.sentence == f"final(loss) {sentence}"
    assert parse_expectation(made.sentence).sentence == made.sentence
    assert Expectation.model_validate(made.as_data()) == made


def test_a_bound_has_the_number_of_the_runs():
    made = parse_expectation("final(loss) is above log(task.p) where model.n_heads=4")
    assert made.where == {"model.n_heads": 4}
    assert made.resolved([SETTINGS, SETTINGS]).above == math.log(59)
    with pytest.raises(InputError, match="differs between the runs"):
        made.resolved([SETTINGS, {"task": {"p": 113}}])


def test_bounds_that_are_settings_are_in_order():
    made = parse_expectation("final(loss) is between task.p and 60")
    assert made.resolved([SETTINGS]).within == (59.0, 60.0)
    made = parse_expectation("final(loss) is between task.p and 1")
    with pytest.raises(InputError, match=r"task\.p is above 1 in the runs") as caught:
        made.resolved([SETTINGS])
    assert caught.value.problems[0].given == "between task.p and 1, that is between 59 and 1"


def test_the_words_of_a_range_have_four_digits_of_each_number():
    made = parse_expectation("final(loss) is between log(9) and log(10)")
    assert made.range_words == "between 2.197 and 2.303"
    assert parse_expectation("loss is below log(10)").range_words == "below 2.303"
    assert parse_expectation("loss is above log(10)").range_words == "above 2.303"
    assert parse_expectation("loss falls with train.lr").range_words == ""
    steps = parse_expectation("steps_to(loss, 0.5) is between 12345 and 2e6")
    assert steps.range_words == "between 12345 and 2000000"
    assert parse_expectation("loss is above 12345.6").range_words == "above 12346"


def test_a_setting_that_does_not_affect_training_is_no_level():
    asked = {"name": "x", "task": {"kind": "modular", "p": 7}, "train": {"steps": 3}}
    with pytest.raises(InputError, match=r"train\.steps is not one of the settings that") as caught:
        ablab.experiment(asked, expect=["steps_to(loss, 0.5) is below train.steps"])
    assert caught.value.problems[0].suggestion is None
    assert "the number of steps does not" in caught.value.problems[0].expected


def test_a_setting_of_another_task_is_not_one_of_these_runs():
    asked = {"name": "x", "task": {"kind": "copy", "length": 3}, "train": {"steps": 3}}
    with pytest.raises(InputError, match=r"task\.p is not a setting of these runs") as caught:
        ablab.experiment(asked, expect=["final(loss) is below log(task.p)"])
    assert caught.value.problems[0].expected is not None
    assert "task.p" not in caught.value.problems[0].expected
    assert "task.length" in caught.value.problems[0].expected


@pytest.mark.parametrize("where", ["", " where model.d_model=8"])
def test_the_order_of_bounds_is_checked_beforehand(where):
    asked = {"name": "x", "task": {"kind": "modular", "p": 7}, "train": {"steps": 3}}
    asked |= {"grid": {"model.d_model": [8, 64], "task.p": [7, 11]}}
    with pytest.raises(InputError, match=r"model\.d_model is above task\.p in the runs") as caught:
        ablab.experiment(asked, expect=[f"final(loss) is between model.d_model and task.p{where}"])
    assert "between 8 and 7" in str(caught.value)
    found = "final(loss) is between model.d_model and task.p where model.d_model=8, task.p=11"
    ablab.experiment(asked, expect=[found])


@pytest.mark.parametrize("bound", ["high", "log(high)", "log(task.p", "task.p + 1"])
def test_other_text_is_no_bound(bound):
    with pytest.raises(ValueError, match="above"):
        Expectation(measure="final(loss)", above=bound)


@pytest.mark.parametrize(
    "more",
    [
        {"answer": "leaves(log(task.q))"},
        {"expect": ["final(loss) is above log(task.q)"]},
        {"expect": ["final(loss) is lower if leaves(log(task.q)) is reached than otherwise"]},
        {"expect": ["loss is higher if steps_to(loss, model.norm) is below 3 than otherwise"]},
        {"expect": [{"measure": "final(loss)", "above": "model.norm"}]},
    ],
)
def test_an_experiment_checks_them_beforehand(more):
    asked = {"name": "x", "task": {"kind": "modular", "p": 7}, "train": {"steps": 3}}
    ablab.experiment(asked | {"answer": "leaves(log(task.p))"})
    with pytest.raises(InputError, match=r"is not a setting of these runs|is not a number"):
        ablab.experiment(asked | more)
