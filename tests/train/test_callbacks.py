"""Callbacks: what they see and record, in stacks, after a resume, and where one raises."""

import numpy as np
import pytest
import torch

import ablab
from ablab.config import InputError
from ablab.train.callbacks import CallbackObserver
from ablab.train.method import SOLO
from ablab.train.stack import Stack
from tests.train import my_callbacks

MINE = "tests.train.my_callbacks:"


def asked(call, steps=6, at=2, seeds=3, **settings):
    return ablab.experiment(
        {
            "name": "called",
            "task": {"kind": "addition", "n_digits": 1},
            "model": {"n_layers": 1, "d_model": 8, "n_heads": 2},
            "train": {
                "steps": steps, "batch_size": 8, "evaluate": {"samples": 8},
                "snapshots": {"every": 2}, "callbacks": [{"call": call, "steps": at}],
            } | settings,
            "watch": {"every": 2},
            "seeds": seeds,
        }
    )  # fmt: skip


def recorded(store, name, columns):
    columns = [f"callback/{name}/{each}" for each in columns]
    frame = ablab.open(store).metrics("called", columns).drop_nulls(columns)
    return frame.sort("seed", "step").select("seed", "step", *columns).rows()


def test_it_sees_each_run_after_its_step_and_changes_nothing(tmp_path):
    result = ablab.run(asked(MINE + "sees"), store=tmp_path)
    rows = recorded(tmp_path, MINE + "sees", ["norm", "loss", "draw"])
    assert [row[:2] for row in rows] == [(seed, step) for seed in range(3) for step in (0, 2, 4, 6)]
    metrics = result.metrics()
    for seed, step, norm, loss, _ in rows:
        (run,) = [each.run for each in result.runs if each.seed == seed]
        model = ablab.open(tmp_path).run(run).model(step)
        found = torch.cat([p.flatten() for p in model.parameters()]).norm().item()
        assert norm == pytest.approx(found, rel=1e-6)
        own = metrics.filter((metrics["run"] == run) & (metrics["step"] == step))
        assert loss == (-1.0 if step == 0 else own["train_loss"][0])
    plain = asked(MINE + "sees", callbacks=[])
    assert not {run.id for run in plain.runs} & {run.run for run in result.runs}
    expected = ablab.run(plain, store=tmp_path / "plain").metrics()
    np.testing.assert_array_equal(expected["train_loss"], metrics["train_loss"])


def test_a_resumed_run_records_the_same(tmp_path):
    ablab.run(asked(MINE + "sees", steps=4), store=tmp_path / "twice")
    ablab.run(asked(MINE + "sees", steps=6), store=tmp_path / "twice")
    ablab.run(asked(MINE + "sees", steps=6), store=tmp_path / "once")
    columns = ["norm", "loss", "draw"]
    twice, once = (recorded(tmp_path / x, MINE + "sees", columns) for x in ("twice", "once"))
    assert twice == once
    assert len(once) == 12


def test_steps_can_be_a_list_and_the_last_is_always_one(tmp_path):
    ablab.run(asked(MINE + "sees", at=[1, 3]), store=tmp_path)
    rows = recorded(tmp_path, MINE + "sees", ["norm"])
    assert [step for seed, step, _ in rows if seed == 0] == [1, 3, 6]


def test_it_is_called_after_the_last_step_of_a_run_that_a_rule_ends(tmp_path):
    stop = {"measure": "eval_loss", "patience": 1, "min_delta": 100.0}
    evaluate = {"every": 5, "samples": 8}
    runs = asked(MINE + "sees", steps=30, at=[1, 10], stop=stop, evaluate=evaluate)
    result = ablab.run(runs, store=tmp_path)
    assert {(run.status, run.step) for run in result.runs} == {("stopped", 10)}
    rows = recorded(tmp_path, MINE + "sees", ["loss"])
    assert [step for seed, step, _ in rows if seed == 0] == [1, 10]
    runs = asked(MINE + "sees", steps=30, at=[1], stop=stop, evaluate=evaluate)
    result = ablab.run(runs, store=tmp_path)
    rows = recorded(tmp_path, MINE + "sees", ["loss"])
    assert [step for seed, step, _ in rows if seed == 0] == [1, 10]


def test_a_call_before_training_says_so_and_is_made_for_runs_to_train_alone(tmp_path):
    experiment = asked(MINE + "counts", steps=2)
    ids = {run.id for run in experiment.runs}
    my_callbacks.calls.clear()
    ablab.plan(experiment, store=tmp_path)
    assert my_callbacks.calls == [("trial", True, 1)]
    ablab.run(experiment, store=tmp_path)
    assert my_callbacks.calls[1] == ("trial", True, 1)
    trained = my_callbacks.calls[2:]
    assert {(run, step) for run, _, step in trained} == {
        (run, step) for run in ids for step in (0, 2)
    }
    assert not any(trial for _, trial, _ in trained)
    my_callbacks.calls.clear()
    ablab.plan(experiment, store=tmp_path)
    ablab.run(experiment, store=tmp_path)
    assert my_callbacks.calls == []


def test_its_model_is_on_the_cpu_wherever_the_run_is(monkeypatch):
    (run,) = asked(MINE + "sees", seeds=[0]).runs
    stack = Stack([run], None, torch.device("cpu"), SOLO)
    stack.device = torch.device("meta")  # in place of a GPU
    devices = []
    observer = CallbackObserver(run.train.callbacks[0])
    monkeypatch.setattr(
        observer, "_function", lambda run: devices.extend(p.device for p in run.model.parameters())
    )
    observer.look(stack, None)
    assert set(devices) == {torch.device("cpu")}


def test_where_it_raises_its_run_alone_fails(tmp_path):
    result = ablab.run(asked(MINE + "fails_for_one"), store=tmp_path)
    status = {run.seed: run.status for run in result.runs}
    assert status == {0: "finished", 1: "failed", 2: "finished"}
    (failed,) = [run for run in result.runs if run.status == "failed"]
    assert "the callback tests.train.my_callbacks:fails_for_one raised after step 4" in failed.error
    assert "ValueError: seed 1 is not liked" in failed.error
    rows = recorded(tmp_path, MINE + "fails_for_one", ["step"])
    assert [row[1:] for row in rows if row[0] == 0] == [(0, 0.0), (2, 2.0), (4, 4.0), (6, 6.0)]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def mine(): ...", "cannot be called with run"),
        ("def mine(run): run.record('x', 'much')", r"record\('x', …\) got str; expected a number"),
        ("def mine(run): run.record('x', next(run.model.parameters()))", "an array of shape"),
        ("mine = 1", "not callable"),
    ],
)
def test_what_it_lacks(folder, source, message):
    folder.write(mine=source)
    with pytest.raises(InputError, match=message) as caught:
        ablab.run(asked("mine:mine"), store="lab")
    assert not (folder.path / "lab").exists()
    if "callable" not in message:
        assert "def my_callback(run):" in str(caught.value)


def test_edited_code_and_other_steps_give_another_id(folder):
    ids = set()
    source = "def mine(run): run.record('x', 1.0)\n"
    edited = source.replace("1.0", "2.0")
    for text, at in ((source, 2), (edited, 2), ("# a comment\n" + source, 2), (source, 4)):
        folder.write(mine=text)
        ids.add(asked("mine:mine", at=at).runs[0].id)
    assert len(ids) == 3
