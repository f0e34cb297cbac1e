"""Directions are declared: by the task, by a statistic, or in the measure itself."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest

from ablab.config import InputError
from ablab.experiments.measures import parse_measure
from ablab.experiments.registration import Registration, TaskRecord
from ablab.read.directions import column_direction, measure_range
from ablab.read.measures import measure_table
from ablab.read.verdicts import verdicts
from tests.read.filled import fill, grid

OWN = "activation/logits/my_reducers:sureness"


def curve(keys, seed, steps):
    rising = np.where(steps % 10 == 0, steps / 100, np.nan)
    return {
        "train_loss": 1 / steps,
        "eval_accuracy/digit_0": rising,
        "eval_inaccuracy": rising,
        OWN: rising,
    }


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    asked = grid(seeds=1, expect=["best(eval_inaccuracy) is below 1"])
    return fill(tmp_path_factory.mktemp("store") / "lab", asked, curve)


def first(stored, text):
    return measure_table(*stored, text)["value"][0]


def test_the_task_declares_it_for_parts_of_a_measure_too(stored):
    assert first(stored, "best(eval_accuracy/digit_0)") == 4
    assert first(stored, "steps_to(eval_accuracy/digit_0, 0.5)") == 50
    assert first(stored, "best(train_loss)") == pytest.approx(1 / 400, rel=0.05)


def test_what_is_not_declared_is_asked_for_and_not_guessed(stored):
    for text in ("best(eval_inaccuracy)", "steps_to(eval_inaccuracy, 1)", f"lag({OWN}, 1)"):
        with pytest.raises(InputError, match=r"higher or lower values of .* was not declared"):
            measure_table(*stored, text)
    assert first(stored, "best(eval_inaccuracy, lower)") == 0.1
    assert first(stored, "best(eval_inaccuracy, higher)") == 4
    assert first(stored, "steps_to(eval_inaccuracy, 2, higher)") == 200
    (found,) = verdicts(*stored)
    assert found.outcome == "undecided"
    assert found.evidence.startswith("whether higher or lower values of eval_inaccuracy are better")


def test_a_statistic_declares_its_own(stored):
    store, record = stored
    known = record.registration.model_copy(update={"statistics": {"my_reducers:sureness": "lower"}})
    declared = store, replace(record, registration=known)
    assert first(declared, f"best({OWN})") == 0.1
    assert column_direction(declared[1], OWN) == "lower"


def test_tasks_of_variants_can_differ():
    tasks = (
        TaskRecord(levels={}, directions={"score": "higher"}),
        TaskRecord(levels={}, directions={"score": "lower", "score/rare": "higher"}),
    )
    known = Registration(tasks=tasks, task_of_variant=(0, 1))
    assert [known.direction_of("eval_score/odd", place) for place in (0, 1)] == ["higher", "lower"]
    assert known.direction_of("eval_score/rare", 1) == "higher"
    assert known.direction_of("eval_loss/odd", 1) == "lower"
    assert known.direction_of("grad_norm", 1) is None
    assert known.direction_of("eval_scores") is None


def test_of_an_earlier_release_those_of_shipped_tasks_are_known(stored):
    _, record = stored
    for earlier in (None, Registration(), Registration(tasks=(TaskRecord(levels={}),))):
        old = replace(record, registration=earlier)
        assert column_direction(old, "eval_accuracy/digit_0") == "higher"
        assert column_direction(old, "eval_inaccuracy") is None
    mine = record.definition | {"task": {"kind": "mine:Task"}}
    old = replace(record, registration=None, definition=mine)
    assert column_direction(old, "eval_accuracy") is None
    assert column_direction(old, "eval_loss") == "lower"


def test_ranges_are_declared_too(stored):
    _, record = stored
    expected = {
        "final(eval_accuracy)": (0, 1), "best(eval_accuracy/digit_0)": (0, 1),
        "best(loss)": (0, inf), "mean(eval_loss, 1, 5)": (0, inf), "final(eval_inaccuracy)": None,
        "steps_to(loss, 1)": (0, inf), "spikes(loss)": (0, inf), "noise(loss)": (0, inf),
        "lag(eval_loss, 0.1)": None, "seconds": (0, inf), "diverged": (0, 1),
    }  # fmt: skip
    for registered in (record.registration, None):  # None: by an earlier release
        old = replace(record, registration=registered)
        found = {text: measure_range(old, parse_measure(text)) for text in expected}
        assert found == expected
