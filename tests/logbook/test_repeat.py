"""What repeats an experiment: the same runs, and what was written down later."""

import numpy as np

import ablab
from ablab.experiments.expectations import parse_expectation
from ablab.logbook.repeat import repeat, whole_definition
from ablab.store.expected import stamp
from tests.read.filled import fill, grid


def flat(keys, seed, steps):
    return np.ones(len(steps))


def test_expectations_that_came_later_say_so(tmp_path):
    asked = grid(steps=20, seeds=2, expect=["final(loss) is below 5"])
    store, record = fill(tmp_path / "lab", asked, flat)
    stamp(store, record, [parse_expectation("final(loss) falls with model.d_model")])
    found = whole_definition(store, record)
    assert [each.get("after_results", False) for each in found["expect"]] == [False, True]
    path = tmp_path / "experiment.yaml"
    path.write_text(repeat(store, record).definition)
    again = ablab.experiment(path)
    assert [run.id for run in again.runs] == [run.id for run in ablab.experiment(asked).runs]
    assert [each.after_results for each in again.expectations] == [False, True]


def test_modules_that_the_file_does_not_hold_are_named(tmp_path):
    asked = grid(steps=20, seeds=1) | {"watch": {"statistics": ["grad/*/tests.mine:energy"]}}
    store, record = fill(tmp_path / "lab", grid(steps=20, seeds=1), flat)
    record.definition.update(asked | {"question": "Is it 1:2 or a:b?"})
    assert repeat(store, record).modules == ["grad/*/tests.mine:energy"]
    assert repeat(store, record).command is None  # it has no entry yet
