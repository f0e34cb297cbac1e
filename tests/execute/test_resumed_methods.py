"""Runs that go on keep the method that they began with, or say that it has changed."""

import pytest

import ablab
from ablab.execute.options import Options
from ablab.execute.orchestrate import methods_before, steps_to_train
from ablab.execute.plan import make_plan
from ablab.execute.speeds import Speeds
from ablab.experiments import experiment
from ablab.train.method import SOLO, STACK
from tests.store.makers import train

MORE = "train.steps=20"


@pytest.fixture
def begun(tiny, tmp_path):
    """Two runs that were trained alone for ten steps, and the same with twenty."""
    tiny |= {"grid": {}, "watch": {"statistics": []}}
    train(tiny, tmp_path / "lab", "train.steps=10", engine="solo", compile="off").store.close()
    return experiment(tiny, MORE), tmp_path / "lab"


def methods_of(store):
    return [
        [each["method"] for each in ablab.open(store).run(run.run).segments]
        for run in ablab.open(store).runs()
    ]


def planned(asked, store, **options):
    left, before = steps_to_train(asked, store, False), methods_before(asked, store)
    (stack, *_) = make_plan(
        asked.runs, Options(device="cpu", workers=1, **options), left, Speeds(), before
    ).stacks
    return stack


def test_a_new_run_would_train_by_another_method(begun, tmp_path):
    assert planned(begun[0], tmp_path / "none").method == STACK


def test_runs_that_go_on_keep_their_method(begun, tiny, capfd):
    asked, store = begun
    stack = planned(asked, store)
    assert (stack.method, stack.why) == (SOLO, "continues as it began")
    train(tiny, store, MORE, quiet=False).store.close()
    assert methods_of(store) == [["solo", "solo"]] * 2
    assert "by another method" not in capfd.readouterr().err


def test_a_change_of_method_is_said_once(begun, tiny, capfd):
    asked, store = begun
    assert planned(asked, store, engine="stack").method == STACK
    train(tiny, store, MORE, quiet=False, engine="stack", compile="off").store.close()
    assert methods_of(store) == [["solo", "stack"]] * 2
    err = capfd.readouterr().err
    assert err.count("go on by another method: from step 10 on by stack, before by solo") == 1


def test_a_far_faster_method_is_taken(begun, tmp_path):
    asked, store = begun
    left = dict.fromkeys((run.id for run in asked.runs), 10_000_000)
    speeds = Speeds(tmp_path / "speeds.json")  # without what other tests have measured
    before = methods_before(asked, store)
    options = Options(device="cpu", workers=1)
    (stack, *_) = make_plan(asked.runs, options, left, speeds, before).stacks
    assert stack.method != SOLO
