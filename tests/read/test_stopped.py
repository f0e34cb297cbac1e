"""What a stop rule decides of the values of runs."""

from types import SimpleNamespace

import pytest

from ablab.experiments.measures import parse_measure
from ablab.read.stopped import stop_caveat, stop_words

RULE = {"train": {"stop": {"measure": "train_loss", "below": 0.001}}}
RUNS = [SimpleNamespace(status=status) for status in ("stopped", "stopped", "finished")]


@pytest.mark.parametrize(
    ("measure", "ends"),
    [
        ("final(eval_loss)", "held-out loss ends"),
        ("best(loss)", "training loss ends"),
        (None, "values end"),
    ],
)
def test_where_values_end_is_decided_by_the_rule(measure, ends):
    asked = None if measure is None else parse_measure(measure)
    assert stop_caveat(SimpleNamespace(definition=RULE), RUNS, asked) == (
        "2 of 3 runs were stopped when the training loss was below 0.001, which decides where "
        f"their {ends}."
    )


@pytest.mark.parametrize("measure", ["steps_to(loss, 0.1)", "leaves(log(10))", "n_params"])
def test_steps_are_not_decided_by_it(measure):
    assert stop_caveat(SimpleNamespace(definition=RULE), RUNS, parse_measure(measure)) == ""


def test_without_a_rule_or_a_stopped_run_nothing_is_said():
    assert stop_words({}) == ""
    assert stop_caveat(SimpleNamespace(definition=RULE), RUNS[2:]) == ""
    patient = {"train": {"stop": {"measure": "eval_loss", "patience": 5}}}
    assert stop_words(patient) == "the held-out loss had not improved for 5 values"


def test_two_conditions_are_told_of_one_measure():
    both = {"train": {"stop": {"measure": "train_loss", "below": 0.1, "patience": 5}}}
    assert stop_words(both) == "the training loss was below 0.1 or had not improved for 5 values"


@pytest.mark.parametrize(
    ("runs", "told"),
    [
        (RUNS[:1], "The run was stopped when the training loss was below 0.001, which decides "
                   "where its values end."),
        (RUNS[:2], "All 2 runs were stopped when the training loss was below 0.001, which decides "
                   "where their values end."),
        (RUNS[1:], "1 of 2 runs was stopped when the training loss was below 0.001, which decides "
                   "where its values end."),
    ],
)  # fmt: skip
def test_how_many_runs_were_stopped_is_told_in_english(runs, told):
    assert stop_caveat(SimpleNamespace(definition=RULE), runs) == told


@pytest.mark.parametrize(
    "grid",
    [
        {"train.stop.below": [0.1, 0.2]},
        {"rule": {"early": {"train.stop": {"below": 0.1}}, "late": {"train.lr": 0.01}}},
        {"rule": {"early": {"train": {"stop": {"below": 0.1}}}, "late": {}}},
    ],
)
def test_a_rule_that_varies_is_not_told_as_that_of_the_base(grid):
    definition = RULE | {"grid": grid}
    assert stop_words(definition) == ""
    assert stop_caveat(SimpleNamespace(definition=definition), RUNS).startswith(
        "2 of 3 runs were stopped by a rule, which decides"
    )
    assert stop_words(RULE | {"grid": {"model.norm": {"a": {"model.norm": "rms"}}}}) != ""


def test_runs_that_halving_paused_are_told_apart_from_those_that_a_rule_ended():
    halving = {"halving": {"rungs": [100, 300], "keep": "1/2", "measure": "final(eval_loss)"}}
    steps = {100: "stopped", 250: "stopped", 1000: "finished"}
    runs = [SimpleNamespace(status=each, step=step, steps=1000) for step, each in steps.items()]
    told = stop_caveat(SimpleNamespace(definition=RULE | halving), runs)
    assert told == (
        "1 of 2 runs was stopped when the training loss was below 0.001, which decides where its "
        "values end. 1 of 3 runs was paused by halving at step 100: its values are of that step "
        "and cannot be compared with later ones."
    )
    assert "paused" not in stop_caveat(SimpleNamespace(definition=RULE), runs)
