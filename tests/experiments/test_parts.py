"""Epochs and full batches: numbers that hang on the task."""

import pytest

from ablab.config import InputError
from ablab.experiments import experiment

FINITE = {
    "name": "finite",
    "task": {"kind": "tests.train.my_tasks:Finite", "n_digits": 2},  # 100 samples
    "model": {"kind": "bigram"},
}


def train(*overrides, **asked):
    return experiment(FINITE | asked, *overrides).variants[0].parts.train


@pytest.mark.parametrize(
    ("epochs", "batch_size", "steps"),
    [(1, 10, 10), (2.5, 100, 3), (1.1, 10, 11), (0.001, 64, 1), (3, "full", 3), (7, None, 11)],
)
def test_epochs_become_steps(epochs, batch_size, steps):
    sizes = [] if batch_size is None else [f"train.batch_size={batch_size}"]
    found = train(f"train.epochs={epochs}", *sizes)
    assert (found.steps, found.epochs) == (steps, None)
    assert found.batch_size == {"full": 100, None: 64}.get(batch_size, batch_size)


def test_ids_are_those_of_the_numbers():
    full = experiment(FINITE, "train.batch_size=full", "train.epochs=4").runs[0]
    number = experiment(FINITE, "train.batch_size=100", "train.steps=9").runs[0]
    assert (full.id, full.train.steps) == (number.id, 4)
    assert experiment(experiment(FINITE, "train.epochs=4").definition).runs[0].train.steps == 7


def test_a_schedule_ends_with_the_epochs():
    found = train("train.epochs=3", "train.batch_size=10", "train.schedule={kind: cosine}")
    assert found.schedule_total == 30


def test_epochs_take_the_place_of_steps_that_are_taken_away():
    assert train("train.steps=null", "train.epochs=2", train={"steps": 50}).steps == 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.epochs=2", "train.steps=5"], "train.epochs and train.steps cannot both be given"),
        (["train.epochs=0"], "greater than 0"),
        (["train.epochs=many"], "train.epochs has a wrong value"),
        (["train.epochs=2", "train.batch_size=0"], "train.batch_size has a wrong value"),
        (["train.epochs=2", "train.batch_size=0.5"], "train.batch_size has a wrong value"),
        (["train.batch_size=ful"], "train.batch_size has a wrong value"),
        (["train.epochs=2", "task.kind=addition"], "the task addition has no finite training set"),
        (["train.batch_size=full", "task.kind=addition"], "train.batch_size: the task addition"),
    ],
)
def test_what_does_not_fit_is_said(overrides, message):
    with pytest.raises(InputError, match=message):
        experiment(FINITE, *overrides)


def test_a_task_in_error_hides_no_other_problem():
    with pytest.raises(InputError) as caught:
        experiment(FINITE, "task.n_digits=0", "train.epochs=2", "train.lr=-1")
    assert sorted(p.key for p in caught.value.problems) == ["task.n_digits", "train.lr"]


FACTORS = {"name": "carries", "task": {"kind": "addition", "target": "all"}, "model": "bigram"}


@pytest.mark.parametrize("factors", ["none", "[cascade]", "cascade"])
def test_factors_are_not_part_of_an_id(factors):
    plain, chosen = (
        experiment(FACTORS, *overrides).runs[0]
        for overrides in ([], [f"train.evaluate.factors={factors}"])
    )
    assert plain.train.evaluate.factors == "all"
    assert chosen.train.evaluate.factors in ("none", ("cascade",))
    assert plain.id == chosen.id


def test_factors_of_the_task_are_named():
    with pytest.raises(InputError) as caught:
        experiment(FACTORS, "train.evaluate.factors=[cascde]").runs  # noqa: B018
    (problem,) = caught.value.problems
    assert problem.message == "train.evaluate.factors: the task addition has no factor cascde"
    assert problem.suggestion == "cascade"
    with pytest.raises(InputError, match="has no factor cascade"):
        experiment(FACTORS, "train.evaluate.factors=[cascade]", "task.target=last").runs  # noqa: B018


def test_names_of_a_users_factors_are_checked():
    own = FACTORS | {"task": {"kind": "tests.train.my_tasks:BadFactor"}}
    with pytest.raises(
        InputError, match="task: value '3\\+' of factor carries is not a valid name"
    ):
        experiment(own).runs  # noqa: B018


def test_a_setting_that_has_to_be_given_is_said_to_be_missing():
    with pytest.raises(InputError) as raised:
        experiment({"name": "x", "task": {"kind": "copy"}, "watch": {"captures": [{"steps": 5}]}})
    assert "watch.captures.0.what is missing" in str(raised.value)
