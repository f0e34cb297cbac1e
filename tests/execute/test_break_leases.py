"""Runs are taken from a process that has leased them; what that one goes on to do is discarded."""

import contextlib
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from ablab.store import Store
from ablab.store.leases import holders
from tests.cli.command import run_command
from tests.execute.disks import statuses
from tests.store.makers import train

OVERRIDES = ("seeds=1", "model.d_model=8", "train.snapshots={every: 50, logarithmic: false}")
STEPS = 1000


@pytest.fixture
def stopped(tmp_path, tiny):
    """A process that was stopped while it trains; it has no lock of the index."""
    lab, asked = tmp_path / "lab", tmp_path / "tiny.yaml"
    asked.write_text(json.dumps(tiny | {"name": "tiny"}))
    command = [sys.executable, "-m", "ablab", "run", str(asked), *OVERRIDES, f"train.steps={STEPS}",
               "--store", str(lab), "--workers", "1", "--compile", "off", "--quiet"]  # fmt: skip
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    deadline = time.monotonic() + 60
    while len(list((lab / "metrics").glob("*.parquet"))) < 2:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    for _ in range(100):
        process.send_signal(signal.SIGSTOP)
        with contextlib.closing(sqlite3.connect(lab / "index.sqlite", timeout=0)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                break
            except sqlite3.OperationalError:  # in the middle of a checkpoint
                process.send_signal(signal.SIGCONT)
                time.sleep(0.01)
    yield process, lab, asked
    process.kill()
    process.communicate()


def test_a_process_that_was_stopped_and_goes_on_writes_nothing_twice(stopped, tmp_path, tiny):
    process, lab, asked = stopped
    before = Store(lab).runs()[0].step
    assert 0 < before < STEPS
    code, _, err = run_command("replay", Store(lab).runs()[0].run, "--store", str(lab), "--quiet")
    assert code == 2 and f"process {process.pid} on " in err and "which is stopped" in err
    steps = f"train.steps={STEPS}"
    code, _, err = run_command(
        "run", str(asked), *OVERRIDES, steps, "--store", str(lab), "--workers", "1",
        "--compile", "off", "--break-leases",
    )  # fmt: skip
    assert code == 0, err
    assert f"taken over from process {process.pid} on " in err
    store = Store(lab)
    rows = store.index.rows("SELECT segments FROM runs")
    parts = [tuple(row) for row in store.index.rows("SELECT file, rows FROM parts ORDER BY id")]
    assert holders(store.index, [store.runs()[0].run]) == []
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "another process took over run" in said
    again = Store(lab)
    assert again.index.rows("SELECT segments FROM runs") == rows
    assert [tuple(row) for row in again.index.rows("SELECT file, rows FROM parts ORDER BY id")] == (
        parts
    )
    (segments,) = [json.loads(row["segments"]) for row in rows]
    pieces = [(each["from"], each["to"]) for each in segments]
    assert pieces[0][0] == 0 and pieces[-1][1] == STEPS
    assert all(one[1] == two[0] for one, two in itertools.pairwise(pieces))
    assert statuses(lab) == {"finished"}
    whole = train(tiny, tmp_path / "whole", *OVERRIDES, steps, compile="off")
    mine = train(tiny, lab, *OVERRIDES, steps, compile="off")
    assert mine.trained == 0
    assert mine.metrics(["train_loss"]).equals(whole.metrics(["train_loss"]))


def test_a_worker_whose_parent_is_gone_blames_no_run(tmp_path, tiny):
    """Its standard output breaks before it notices the end of standard input."""
    from ablab.execute.options import Options
    from ablab.execute.plan import make_plan
    from ablab.execute.speeds import Speeds
    from ablab.execute.worker import plan_as_data
    from tests.store.makers import ablab

    asked = ablab.experiment(tiny, *OVERRIDES, "train.steps=100000")
    store = Store(tmp_path / "lab", create=True)
    record = store.register(asked, "test", {})
    plan = make_plan(asked.runs, Options(workers=1, compiling="off"), {}, Speeds())
    spec = {"store": str(store.path), "experiment": record.id, "definition": asked.definition,
            "plan": plan_as_data(plan), "path": sys.path}  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "ablab.execute.worker"], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    process.stdin.write(json.dumps(spec) + "\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["event"] == "claimed"
    process.stdout.close()
    assert process.wait(60) == 1
    process.stdin.close()
    assert statuses(store.path) <= {"planned", "interrupted"}


def test_workers_that_end_at_once_are_an_error(tmp_path, tiny, monkeypatch):
    from ablab.execute.errors import ProcessError

    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ProcessError, match="die before they train"):
        train(tiny, tmp_path / "lab", workers=2, compile="off")
    assert statuses(tmp_path / "lab") == {"planned"}
