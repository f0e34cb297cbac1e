"""What comes of runs: alone or stacked, in one process or several, whole or in pieces."""

import json
import sys
import threading

import numpy as np
import polars as pl
import pytest

import ablab
from ablab.config import InputError, Problem
from ablab.execute.executors.in_process import InProcess
from ablab.store.metrics import experiment_runs
from tests.store.makers import flip, train, train_and_write

LOSSES = ["run", "step", "train_loss"]


def losses(result):
    return result.metrics(["train_loss"]).select(LOSSES).drop_nulls()


def agree(one, other, tolerance=1e-4):
    joined = one.join(other, on=["run", "step"], validate="1:1")
    assert joined.height == one.height == other.height
    np.testing.assert_allclose(joined["train_loss"], joined["train_loss_right"], rtol=tolerance)


def test_engines_and_workers_give_the_same_runs(tmp_path, tiny):
    overrides = ("train.steps=100", "model.dropout=0.1", "watch.every=25")
    solo = train(tiny, tmp_path / "solo", *overrides, engine="solo")
    stack = train(tiny, tmp_path / "stack", *overrides, engine="stack")
    workers = train(tiny, tmp_path / "workers", *overrides, engine="stack", workers=2)
    agree(losses(solo), losses(stack))
    agree(losses(solo), losses(workers))
    ids = [run.run for run in solo.runs]
    assert ids == [run.run for run in stack.runs] == [run.run for run in workers.runs]
    segments = ablab.open(tmp_path / "workers").store.index.rows("SELECT segments FROM runs")
    assert all('"engine": "stack"' in row["segments"] for row in segments)


def test_nothing_is_trained_twice(tmp_path, tiny):
    first = train(tiny, tmp_path / "lab")
    again = train(tiny, tmp_path / "lab")
    wider = train(tiny, tmp_path / "lab", "model.d_model=8,16,32")
    assert (first.trained, again.trained, wider.trained) == (4, 0, 2)
    assert again.metrics().equals(first.metrics())


def test_a_longer_experiment_goes_on_where_a_shorter_one_ended(tmp_path, tiny):
    lab = tmp_path / "lab"
    short = train(tiny, lab)
    longer = train(tiny, lab, "train.steps=45")
    whole = train(tiny, tmp_path / "other", "train.steps=45")
    assert losses(longer).equals(losses(whole))
    store = ablab.open(lab).store
    pieces = [json.loads(store.run_row(run.run)["segments"]) for run in longer.runs]
    segments = [[(piece["from"], piece["to"]) for piece in each] for each in pieces]
    assert segments == [[(0, 20), (20, 45)]] * 4
    own = {run.run: run.seconds for run in experiment_runs(short.store, short.record)}
    assert own == pytest.approx({run.run: run.seconds * 20 / 45 for run in longer.runs})


def test_a_run_that_diverges_harms_no_other(tmp_path, tiny):
    result = train(tiny, tmp_path / "lab", "train.lr=1e-3,1e3", "model.d_model=8", "train.steps=40")
    alone = train(
        tiny,
        tmp_path / "alone",
        "train.lr=1e-3",
        "model.d_model=8",
        "train.steps=40",
        engine="solo",
    )
    statuses = {(run.variant["train.lr"], run.status) for run in result.runs}
    assert statuses == {(1e-3, "finished"), (1e3, "diverged")}
    agree(
        losses(alone), losses(result).filter(pl.col("run").is_in([run.run for run in alone.runs]))
    )
    for run in result.runs:
        if run.status == "diverged":
            frame = ablab.open(tmp_path / "lab").run(run.run).metrics()
            assert frame["step"].max() == run.step < 40
            curve = frame.sort("step")["train_loss"].to_list()
            assert np.isfinite(curve[1:-1]).all()
            assert not np.isfinite(curve[-1])
            assert run.train_loss is None
            assert f"at step {run.step}" in run.error
    again = train(tiny, tmp_path / "lab", "train.lr=1e-3,1e3", "model.d_model=8", "train.steps=40")
    assert again.trained == 0
    retried = train(
        tiny, tmp_path / "lab", "train.lr=1e-3,1e3", "model.d_model=8", "train.steps=40", retry=True
    )
    assert retried.trained == 2
    assert [run.step for run in retried.runs] == [run.step for run in result.runs]


def test_runs_of_a_stack_stop_each_by_itself(tmp_path, tiny):
    rule = "train.stop={below: 2.32}"
    overrides = ("model.d_model=8", "train.steps=80", "train.lr=0.02", "seeds=3", rule)
    stack = train(tiny, tmp_path / "stack", *overrides, engine="stack")
    solo = train(tiny, tmp_path / "solo", *overrides, engine="solo")
    found = [(run.run, run.status, run.step) for run in stack.runs]
    assert found == [(run.run, run.status, run.step) for run in solo.runs]
    assert {status for _, status, _ in found} == {"stopped"}
    assert len({step for _, _, step in found}) > 1
    for run, _, step in found:
        frame = ablab.open(tmp_path / "stack").run(run).metrics()
        last = frame.filter(pl.col("step") > step - 5)["train_loss"].mean()
        assert last < 2.32
        assert frame["step"].max() == step
        assert frame.filter(pl.col("step") == step)["eval_loss"].is_not_null().all()


def test_stop_rules_look_at_what_others_stored(tmp_path, tiny):
    overrides = ("model.d_model=8", "train.steps=80", "train.lr=0.02", "seeds=3")
    rule = ("train.stop={below: 2.32}", "name=ruled")
    # A stack narrows as its runs stop, and more steps are worth compiling; by one method alone each
    # run is the same to the last bit.
    alone = {"engine": "solo", "compile": "off", "workers": 1}
    train(tiny, tmp_path / "lab", *overrides, **alone)
    ruled = train(tiny, tmp_path / "lab", *overrides, *rule, **alone)
    fresh = train(tiny, tmp_path / "new", *overrides, *rule, **alone)
    assert ruled.trained == 0
    assert [(r.status, r.step) for r in ruled.runs] == [(r.status, r.step) for r in fresh.runs]
    assert losses(ruled).equals(losses(fresh))
    whole = ablab.open(tmp_path / "lab").runs("tiny")
    assert {(run.status, run.step) for run in whole} == {("finished", 80)}


def test_a_paused_experiment_keeps_what_is_done_and_goes_on(tmp_path, tiny):
    overrides = ("train.steps=60", "train.stop={below: 0.001}")
    calls = 0

    def pause() -> bool:
        nonlocal calls
        calls += 1
        return calls > 9

    result = train(tiny, tmp_path / "lab", *overrides, pause=pause)
    assert not result.complete
    assert any(0 < run.step < 60 for run in result.runs)
    assert {run.status for run in result.runs} <= {"interrupted", "finished", "planned"}
    second = train(tiny, tmp_path / "lab", *overrides)
    whole = train(tiny, tmp_path / "other", *overrides)
    assert second.complete
    assert second.metrics().equals(whole.metrics())


def test_two_commands_on_one_store_share_the_work(tmp_path, tiny):
    overrides = ("train.steps=40", "seeds=2", "model.d_model=8,16,24")

    def command() -> None:
        train(tiny, tmp_path / "lab", *overrides).store.close()

    threads = [threading.Thread(target=command) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lab = ablab.open(tmp_path / "lab")
    assert {run.status for run in lab.runs()} == {"finished"}
    whole = train(tiny, tmp_path / "other", *overrides)
    assert lab.metrics("tiny").equals(whole.metrics())
    rows = lab.store.index.rows("SELECT json_array_length(segments) AS n FROM runs")
    assert [row["n"] for row in rows] == [1] * 6


def test_an_exception_is_kept_and_the_rest_goes_on(tmp_path, tiny, monkeypatch):
    asked = tiny | {
        "grid": {"model.kind": ["bigram", "tests.execute.my_parts:Breaking"]},
        "model": {},
    }
    result = train(asked, tmp_path / "lab", engine="stack")
    by_kind = {run.variant["model.kind"]: run for run in result.runs}
    assert by_kind["bigram"].status == "finished"
    broken = by_kind["tests.execute.my_parts:Breaking"]
    assert broken.status == "failed"
    assert "RuntimeError: out of order" in broken.error
    assert train(asked, tmp_path / "lab", engine="stack").trained == 0
    monkeypatch.setenv("MY_PARTS_ARE_MENDED", "yes")
    retried = train(asked, tmp_path / "lab", engine="stack", retry=True)
    assert {run.status for run in retried.runs} == {"finished"}


def test_a_stack_that_does_not_fit_is_split(tmp_path, tiny, monkeypatch):
    from ablab.execute import setup

    widths = []
    original = setup.Stack

    def limited(runs, *arguments, **settings):
        widths.append(len(runs))
        if len(runs) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return original(runs, *arguments, **settings)

    monkeypatch.setattr(setup, "Stack", limited)
    result = train(tiny, tmp_path / "lab", "seeds=7", "model.d_model=8", engine="stack")
    monkeypatch.undo()
    assert widths == [7, 4, 2, 2, 3, 2, 1]
    assert {run.status for run in result.runs} == {"finished"}
    agree(losses(result), losses(train(tiny, tmp_path / "o", "seeds=7", "model.d_model=8")))


def test_a_users_own_task_is_named_by_import_path(tmp_path, tiny):
    asked = tiny | {"task": {"kind": "tests.execute.my_parts:Easy", "n_digits": 2}}
    mine = train(asked, tmp_path / "mine", "seeds=1")
    shipped = train(tiny, tmp_path / "shipped", "seeds=1")
    assert [run.status for run in mine.runs] == ["finished"] * 2
    assert {run.run for run in mine.runs}.isdisjoint(run.run for run in shipped.runs)
    assert mine.metrics()["train_loss"].equals(shipped.metrics()["train_loss"])


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_every_optimizers_state_is_resumed(tmp_path, tiny, optimizer):
    settings = ("seeds=2", "model.d_model=8", f"train.optimizer={optimizer}")
    settings += ("train.momentum=0.9",) if optimizer == "sgd" else ()
    train(tiny, tmp_path / "lab", *settings)
    longer = train(tiny, tmp_path / "lab", *settings, "train.steps=40")
    whole = train(tiny, tmp_path / "other", *settings, "train.steps=40")
    assert losses(longer).equals(losses(whole))


def test_frozen_parameters_are_refused(tmp_path, tiny):
    asked = tiny | {"model": {"kind": "tests.execute.my_parts:Frozen"}, "grid": {}}
    (run, _) = train(asked, tmp_path / "lab").runs
    assert run.status == "failed"
    assert "embedding.weight is frozen" in run.error


def test_a_users_module_that_changes_makes_other_runs(tmp_path, tiny, monkeypatch):
    source = """
from typing import Literal
from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig

class MyConfig(AdditionConfig):
    kind: Literal["changing_task:Mine"] = "changing_task:Mine"

class Mine(Addition):
    Config = MyConfig
"""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "changing_task.py").write_text(source)
    asked = tiny | {"task": {"kind": "changing_task:Mine"}, "grid": {}}
    first = train(asked, tmp_path / "lab")
    (tmp_path / "changing_task.py").write_text(source + "# a comment\n")
    assert train(asked, tmp_path / "lab").trained == 0
    (tmp_path / "changing_task.py").write_text(source + "    version = 2\n")
    with pytest.raises(InputError, match="has changed since it was imported"):
        train(asked, tmp_path / "lab")
    del sys.modules["changing_task"]
    second = train(asked, tmp_path / "lab")
    assert second.trained == 2
    assert len(second.runs) == len(first.runs) == 2
    assert {run.run for run in first.runs}.isdisjoint(run.run for run in second.runs)
    old = ablab.open(tmp_path / "lab").run(first.runs[0].run)
    assert old.model().embedding.weight.shape == (12, 8)


def test_a_result_stays_its_own_when_the_name_is_used_again(tmp_path, tiny):
    tiny |= {"watch": {"statistics": []}}
    first = train_and_write(tiny, tmp_path / "lab", "seeds=1")
    text = first.entry.read_text()
    second = train_and_write(tiny, tmp_path / "lab", "seeds=2")
    assert len(first.runs) == 2
    assert first.metrics()["run"].n_unique() == 2
    assert second.entry != first.entry
    assert first.entry.read_text() == text


def test_a_stop_rule_does_not_look_at_others_evaluations(tmp_path, tiny):
    settings = (
        "model.d_model=8",
        "seeds=1",
        "train.lr=0.3",
        "train.stop={measure: eval_loss, patience: 3}",
    )
    alone = train(tiny, tmp_path / "alone", *settings, "train.steps=80")
    train(tiny, tmp_path / "lab", *settings, "train.steps=15", "name=short")
    after = train(tiny, tmp_path / "lab", *settings, "train.steps=80")
    assert [(r.status, r.step) for r in after.runs] == [(r.status, r.step) for r in alone.runs]


def test_only_what_failed_here_is_retried(tmp_path, tiny):
    bad = ("model.d_model=8", "seeds=1", "train.lr=1e4")
    whole = train(tiny, tmp_path / "lab", *bad, "train.steps=40")
    assert whole.runs[0].status == "diverged"
    short = train(tiny, tmp_path / "lab", *bad, "train.steps=2", "name=short")
    assert (short.runs[0].status, short.runs[0].error) == ("finished", None)
    assert (
        train(tiny, tmp_path / "lab", *bad, "train.steps=2", "name=short", retry=True).trained == 0
    )


def test_plans_know_what_is_left(tmp_path, tiny):
    from ablab.execute.orchestrate import steps_to_train

    lab = tmp_path / "lab"
    asked = ablab.experiment(tiny, "model.d_model=8", "train.lr=1e-3,1e4", "train.steps=40")
    assert set(steps_to_train(asked, lab, False).values()) == {40}
    train(asked.definition, lab)
    assert steps_to_train(asked, lab, False) == {}
    assert len(steps_to_train(asked, lab, True)) == 2
    longer = ablab.experiment(tiny, "model.d_model=8", "train.lr=1e-3", "train.steps=50")
    assert set(steps_to_train(longer, lab, False).values()) == {10}


def test_only_runs_of_the_asked_cells_are_retried(tmp_path, tiny):
    asked = (tiny, tmp_path / "lab", "train.lr=1e3", "model.d_model=8,16", "train.steps=40")
    first = train(*asked, engine="stack")
    assert {run.status for run in first.runs} == {"diverged"}
    again = train(*asked, engine="stack", retry=True, where=("model.d_model=8",))
    assert again.trained == sum(run.variant["model.d_model"] == 8 for run in first.runs)
    errors = {run.run: run.error for run in first.runs if run.variant["model.d_model"] == 16}
    assert {run.run: run.error for run in again.runs if run.run in errors} == errors
    assert {run.status for run in again.runs} == {"diverged"}


class Unreachable(InProcess):
    """An executor whose machines cannot be reached."""

    @classmethod
    def capacity(cls, options):
        raise InputError(Problem("nobody answers", "address"))


def test_machines_that_cannot_be_reached_are_said_before_anything_is_written(tmp_path, tiny):
    with pytest.raises(InputError, match="nobody answers"):
        train(tiny, tmp_path / "lab", executor=f"{__name__}:Unreachable")
    assert ablab.open(tmp_path / "lab").experiments == []


def test_steps_that_are_trained_again_belong_to_the_segment_that_trained_them(tmp_path, tiny):
    """A damaged snapshot is skipped, and the run goes on from the one before it."""
    overrides = ("seeds=1", "model.d_model=8", "train.snapshots={every: 10}")
    alone = {"engine": "solo", "compile": "off"}
    first = train(tiny, tmp_path / "lab", *overrides, "train.steps=30", **alone)
    run = first.runs[0].run
    first.store.close()
    flip(tmp_path / "lab" / "snapshots" / run / "30.safetensors", 0.7)
    longer = train(tiny, tmp_path / "lab", *overrides, "train.steps=50", **alone)
    found = json.loads(longer.store.run_row(run)["segments"])
    assert [(each["from"], each["to"]) for each in found] == [(0, 20), (20, 50)]
