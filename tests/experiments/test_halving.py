"""Halving in the definition of an experiment: what is read, and what is refused."""

import pytest

from ablab.config import InputError
from ablab.experiments import experiment
from ablab.experiments.halving import Halving, halving_of

TREE = {
    "name": "halved",
    "task": {"kind": "addition"},
    "model": {"d_model": 8, "n_heads": 1},
    "train": {"steps": 3000},
    "grid": {"train.lr": [1e-3, 3e-3, 1e-2]},
    "seeds": 2,
}


def made(halving, **more):
    return experiment(TREE | {"halving": halving} | more)


def test_rungs_and_a_share():
    found = halving_of(made({"rungs": [100, 1000], "keep": "1/3"}).definition)
    assert found == Halving("1/3", "final(eval_loss)", (100, 1000))
    assert found.steps(3000) == (100, 1000)
    assert found.steps(500) == (100,)


def test_a_first_rung_and_a_factor():
    found = halving_of(made({"first": 300, "factor": 3}).definition)
    assert found.steps(3000) == (300, 900, 2700)
    assert found.keep == "1/3"  # what a factor of three stands for
    assert halving_of(made({"first": 300, "factor": 3, "keep": 0.5}).definition).keep == "0.5"


@pytest.mark.parametrize(
    ("keep", "variants", "count"),
    [("1/3", 9, 3), ("1/3", 10, 3), ("1/3", 2, 1), ("0.5", 5, 2), ("1/3", 1, 1), ("0.1", 30, 3)],
)
def test_a_share_is_rounded_down_but_one_goes_on(keep, variants, count):
    assert Halving(keep).going_on(variants) == count


def test_what_it_takes_at_least_and_at_most():
    # 9 variants to 100, 3 of them to 300, 1 of them to 1000; each with two seeds.
    found = Halving("1/3", rungs=(100, 300))
    assert found.run_steps(1000, 9, 2) == (2 * (900 + 3 * 200 + 700), 2 * 9 * 1000)


GRID = {"model.d_model": [8, 16], "train.lr": [1e-3, 3e-3, 1e-2]}


def test_groups_have_the_same_values_of_some_keys():
    asked = made({"rungs": [100], "within": ["model.d_model"]}, grid=GRID)
    found = halving_of(asked.definition)
    assert found.within == ("model.d_model",)
    assert found.groups([each.keys for each in asked.variants]) == [[0, 1, 2], [3, 4, 5]]
    assert halving_of(made({"rungs": [100]}).definition).groups([{}] * 3) == [[0, 1, 2]]
    assert experiment(asked.definition) == asked
    assert "within" not in made({"rungs": [100]}, grid=GRID).definition["halving"]


@pytest.mark.parametrize(
    ("within", "message"),
    [
        ("model.d_model", "not a list"),
        ([1], "not a list"),
        (["model.width"], "no key of the grid"),
        (["train.steps"], "no key of the grid"),
    ],
)
def test_groups_of_what_is_not_varied(within, message):
    with pytest.raises(InputError, match=message) as raised:
        made({"rungs": [100], "within": within}, grid=GRID).resolve()
    assert raised.value.problems[0].key == "halving.within"


def test_runs_are_those_of_the_experiment_without_it():
    with_it, without = made({"rungs": [100]}), experiment(TREE)
    assert [run.id for run in with_it.runs] == [run.id for run in without.runs]
    assert with_it.digest != without.digest  # it decides where runs end, as a stop rule does
    gone = experiment(TREE | {"halving": {"rungs": [100]}}, "halving=null")
    assert gone.definition == without.definition
    assert gone.digest == without.digest
    assert experiment(TREE, halving=None).digest == without.digest


def test_it_survives_its_definition():
    asked = made({"first": 300, "factor": 3, "measure": "best(eval_accuracy)"})
    again = experiment(asked.definition)
    assert again == asked
    assert again.digest == asked.digest


def test_overrides_and_sizes():
    tree = TREE | {"halving": {"rungs": [100]}}
    tree |= {"sizes": {"full": {"set": {"train.steps": 6000, "halving": {"rungs": [500]}}}}}
    assert halving_of(experiment(tree, "halving.keep=1/2").definition).keep == "1/2"
    assert halving_of(experiment(tree, "size=full").definition).rungs == (500,)
    assert halving_of(experiment(TREE, "halving={rungs:[7],keep:1/2}").definition).rungs == (7,)


@pytest.mark.parametrize(
    ("halving", "key", "message"),
    [
        ([100], "halving", "not a mapping"),
        ({"rung": [100]}, "halving.rung", "not a setting"),
        ({}, "halving.rungs", "wrong value"),
        ({"rungs": []}, "halving.rungs", "wrong value"),
        ({"rungs": [300, 100]}, "halving.rungs", "wrong value"),
        ({"rungs": [100, 100]}, "halving.rungs", "wrong value"),
        ({"rungs": [0]}, "halving.rungs", "wrong value"),
        ({"rungs": [1.5]}, "halving.rungs", "wrong value"),
        ({"rungs": [100], "first": 10}, "halving", "both"),
        ({"first": 0}, "halving.first", "wrong value"),
        ({"factor": 3}, "halving.first", "wrong value"),
        ({"first": 10, "factor": 1}, "halving.factor", "wrong value"),
        ({"rungs": [100], "keep": 1}, "halving.keep", "wrong value"),
        ({"rungs": [100], "keep": 0}, "halving.keep", "wrong value"),
        ({"rungs": [100], "keep": "1/0"}, "halving.keep", "wrong value"),
        ({"rungs": [100], "keep": "most"}, "halving.keep", "wrong value"),
        ({"rungs": [100], "measure": 3}, "halving.measure", "not a measure"),
        ({"rungs": [100], "measure": "leaves(log(10))"}, "halving.measure", "every rung"),
        ({"rungs": [3000]}, "halving.rungs", "not before the last step"),
        ({"first": 3000}, "halving.first", "not before the last step"),
        ({"rungs": [100], "measure": "final(grad_norm)"}, "halving.measure", "not declared"),
    ],
)
def test_what_is_refused(halving, key, message):
    with pytest.raises(InputError, match=message) as caught:
        made(halving)
    assert caught.value.problems[0].key == key


def test_a_name_that_is_nearly_right_is_suggested():
    with pytest.raises(InputError) as caught:
        made({"rungs": [100], "meassure": "final(eval_loss)"})
    assert caught.value.problems[0].suggestion == "measure"


def test_it_needs_variants_and_fixed_seeds():
    with pytest.raises(InputError, match="at least two variants"):
        made({"rungs": [100]}, grid={})
    with pytest.raises(InputError, match="cannot be combined with seeds"):
        made({"rungs": [100]}, seeds={"from": 2, "to": 4})
