"""Executors by name and by import path, and whose fault an error is."""

import threading

import psutil
import pytest

from ablab.config import InputError
from ablab.execute.executor import EXECUTORS
from ablab.execute.options import Options
from ablab.execute.queue import _allowed_width
from ablab.store.index import StoreError
from ablab.store.run_rows import count_deaths
from ablab.store.store import Store
from tests.store.makers import train

MINE = "tests.execute.my_parts"


def test_all_are_found_by_their_files():
    assert EXECUTORS.names() == ["in_process", "ray", "worker_processes"]


def test_an_executor_of_ones_own_trains_the_same(tmp_path, tiny, capsys):
    mine = train(tiny, tmp_path / "mine", executor=f"{MINE}:Announcing")
    shipped = train(tiny, tmp_path / "shipped", executor="in_process")
    assert "2 stacks announced" in capsys.readouterr().err
    assert mine.metrics(["train_loss"]).equals(shipped.metrics(["train_loss"]))


def test_worker_processes_may_be_one(tmp_path, tiny):
    found = train(tiny, tmp_path / "lab", "seeds=1", executor="worker_processes", workers=1)
    assert {run.status for run in found.runs} == {"finished"}


@pytest.mark.parametrize(("executor", "calls"), [("in_process", 0), ("worker_processes", 1)])
def test_what_comes_after_is_prepared_while_other_processes_train(tmp_path, tiny, executor, calls):
    threads = []

    def while_training():
        threads.append(threading.current_thread())

    train(
        tiny, tmp_path / "lab", executor=executor, workers=calls + 1, while_training=while_training
    )
    assert len(threads) == calls
    assert threading.main_thread() not in threads


def test_an_unknown_name_has_a_nearest_one():
    with pytest.raises(InputError, match="did you mean in_process"):
        Options(executor="in_proces")


def test_what_is_no_executor_is_refused_and_nothing_is_written(tmp_path, tiny):
    with pytest.raises(InputError, match="is not an executor"):
        train(tiny, tmp_path / "lab", executor=f"{MINE}:Easy")
    opened = Store(tmp_path / "lab")
    assert (opened.experiments(), opened.runs()) == ([], [])


@pytest.mark.parametrize("executor", ["in_process", "worker_processes"])
def test_a_store_that_cannot_be_written_is_no_runs_fault(tmp_path, tiny, monkeypatch, executor):
    monkeypatch.setenv("ABLAB_TEST_STORE", str(tmp_path / "lab"))
    asked = tiny | {"task": {"kind": f"{MINE}:LosesItsStore", "n_digits": 2}}
    with pytest.raises(StoreError):
        train(asked, tmp_path / "lab", "seeds=1", "model.d_model=8", executor=executor)
    runs = Store(tmp_path / "lab").runs()
    assert {run.status for run in runs} <= {"planned", "interrupted", "running"}
    assert not any(run.error for run in runs)


def test_what_a_users_code_prints_disturbs_no_worker(tmp_path, tiny, capfd):
    asked = tiny | {"model": {"kind": "tests.execute.my_parts:Chatty"}, "grid": {}}
    result = train(asked, tmp_path / "lab", engine="solo", executor="worker_processes")
    assert {run.status for run in result.runs} == {"finished"}
    assert "a word" in capfd.readouterr().err


def test_processes_that_die_train_narrower_stacks(tmp_path, tiny):
    result = train(tiny, tmp_path / "lab", "seeds=8", "model.d_model=8")
    runs = result.experiment.runs
    widths = []
    for _ in range(6):
        widths.append(_allowed_width(result.store, runs))
        count_deaths(result.store, [run.id for run in runs[:3]])
    assert widths == [8, 8, 4, 2, 1, 1]


def test_the_runs_of_a_killed_worker_go_on(tmp_path, tiny, capsys):
    lab, killed = tmp_path / "lab", []

    def pause():
        if not killed and len(list((lab / "metrics").glob("*.parquet"))) > 2:
            (victim, *_) = psutil.Process().children()
            victim.kill()
            killed.append(victim.pid)
        return False

    overrides = ("train.steps=300", "train.snapshots={every: 20, logarithmic: false}")
    found = train(tiny, lab, *overrides, workers=2, pause=pause, compile="off", engine="stack")
    assert killed
    assert "a worker process died (signal 9)" in capsys.readouterr().err
    assert {run.status for run in found.runs} == {"finished"}
    whole = train(tiny, tmp_path / "whole", *overrides, compile="off", engine="stack")
    assert found.metrics(["train_loss"]).equals(whole.metrics(["train_loss"]))
