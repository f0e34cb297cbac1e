"""What tuning found, read from stores filled with planted curves: no training, nothing imported."""

import json
import sys

import numpy as np
import pytest

import ablab
from ablab.config import InputError
from ablab.experiments.trials import trial_experiment, tuned_experiment
from ablab.logbook.entry import entry_content
from ablab.read.tuning import trial_values, tuning_report
from ablab.store import Store
from tests.read.filled import fill_experiment

RATES = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
FINAL = {  # the planted loss of two heads at each rate; of one head, the best rate is the lowest
    1: {1e-4: 1.0, 3e-4: 1.1, 1e-3: 1.5, 3e-3: 2.0, 1e-2: None},
    2: {1e-4: 2.0, 3e-4: 1.5, 1e-3: 1.0, 3e-3: 1.0, 1e-2: None},
}
ASKED = {
    "name": "planted",
    "task": {"kind": "addition", "n_digits": 1},
    "train": {"steps": 50},
    "grid": {"model.n_heads": [1, 2]},
    "seeds": 3,
    "tune": {
        "over": {"train.lr": "loguniform(1e-4, 1e-2)"},
        "trials": 5,
        "seeds": 2,
        "measure": "at(train_loss, 50)",
        "search": "random",
    },
}
TRIAL_SEEDS = [1_000_000_000, 1_000_000_001]


def curve(keys, seed, steps):
    """The planted loss, with 0.001 for the second seed of a trial that depends on the rate."""
    loss = FINAL[keys["model.n_heads"]][keys["train.lr"]]
    if loss is None:
        return None
    return np.full(len(steps), loss + (seed - TRIAL_SEEDS[0]) * (0.01 + 0.5 * keys["train.lr"]))


def reported(keys, seed, steps):
    return np.full(len(steps), {1: 1.05, 2: 1.02}[keys["model.n_heads"]] + 0.01 * seed)


@pytest.fixture
def stored(tmp_path):
    """A store with the trials and the reported runs, and the tuned experiment."""
    asked = ablab.experiment(ASKED)
    trials = trial_experiment(asked, [[{"train.lr": rate} for rate in RATES]] * 2).experiment
    fill_experiment(tmp_path / "lab", trials, curve)
    made = tuned_experiment(asked, trials.digest, [{"train.lr": 1e-4}, {"train.lr": 1e-3}])
    return fill_experiment(tmp_path / "lab", made, reported)


def test_a_report_of_planted_values(stored):
    """By hand: means over two seeds are the loss plus half of what the second seed adds."""
    report = tuning_report(*stored)
    one, two = report.variants
    assert (one.keys, two.keys) == ({"model.n_heads": 1}, {"model.n_heads": 2})
    assert report.seeds == tuple(TRIAL_SEEDS)
    assert one.settings[0].value == 1e-4
    assert one.settings[0].end == "low"
    assert one.selected == pytest.approx(1.0 + (0.01 + 0.5e-4) / 2)
    assert one.reported == pytest.approx(1.06)  # the median of 1.05, 1.06 and 1.07
    assert (one.trials, one.without_value) == (5, 1)
    assert one.cost.run_steps == 4 * 2 * 50 + 2 * 10  # the trial that diverged has ten steps
    assert one.report_cost.run_steps == 3 * 50
    assert one.as_good == 1
    assert two.settings[0].value == 1e-3
    assert two.settings[0].end is None
    assert two.settings[0].as_good == (1e-3, 3e-3)  # equal up to what seeds do at each rate
    assert two.as_good == 2
    assert "the range may be too narrow" in " ".join(report.sentences)


def test_trials_that_diverged_or_did_not_get_there_have_no_value(stored):
    store, _ = stored
    record = store.experiment("planted.tuning")
    values = trial_values(store, record, "at(train_loss, 50)")
    lost = {run.run for run in store.runs(record) if run.variant["train.lr"] == 1e-2}
    assert {run for run, value in values.items() if value is None} == lost
    steps = trial_values(store, record, "steps_to(train_loss, 1.2, lower)")
    known = {run.run: FINAL[run.variant["model.n_heads"]] for run in store.runs(record)}
    rates = {run.run: run.variant["train.lr"] for run in store.runs(record)}
    for run, value in steps.items():
        loss = known[run][rates[run]]
        assert (value is None) == (loss is None or loss > 1.2)


def test_a_strangers_modules_are_not_imported(stored, tmp_path, monkeypatch):
    store, record = stored
    (tmp_path / "evil.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    parts = {"model": {"kind": "evil:Model", "n_heads": 2}, "task": {"kind": "evil:Task"}}
    with store.index.transaction() as connection:
        rows = connection.execute("SELECT id, definition FROM experiments").fetchall()
        for row in rows:
            definition = json.loads(row["definition"]) | parts
            definition |= (
                {"tune": definition["tune"] | {"search": "optuna"}}
                if "tune" in (definition)
                else {}
            )
            connection.execute(
                "UPDATE experiments SET definition = ? WHERE id = ?",
                (json.dumps(definition), row["id"]),
            )
    monkeypatch.setitem(sys.modules, "optuna", None)
    store.close()
    again = Store(tmp_path / "lab")
    record = again.experiment("planted")
    report = tuning_report(again, record)
    assert [each.settings[0].value for each in report.variants] == [1e-4, 1e-3]
    assert entry_content(again, record)["tuning"] == report
    assert "evil" not in sys.modules


@pytest.mark.parametrize("damage", [{"by": 3}, {"by": "x", "cells": [3]}, {"by": "x", "cells": 1}])
def test_a_damaged_definition_is_said(stored, damage):
    store, record = stored
    record.definition["tuned"] = damage
    with pytest.raises(InputError, match="tuned has a wrong value"):
        tuning_report(store, record)


def test_an_experiment_that_is_not_tuned_has_no_report(stored):
    store, _ = stored
    assert tuning_report(store, store.experiment("planted.tuning")) is None
