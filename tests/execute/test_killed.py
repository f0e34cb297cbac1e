"""Killed at any moment, nothing is lost and nothing is trained twice past a snapshot."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

import ablab

GRID = [
    "addition",
    "train.steps=120",
    "train.batch_size=64",
    "train.snapshots.every=20",
    "train.evaluate={every: 60, samples: 64}",
    "model.d_model=8,16",
    "model.n_heads=1",
    "seeds=2",
    "--engine",
    "stack",
    "--workers",
    "2",
    "--quiet",
]


def command(store):
    return [sys.executable, "-m", "ablab", "run", *GRID, "--store", str(store)]


def check(store):
    return subprocess.run(
        [sys.executable, "-m", "ablab", "check", "--store", str(store)],
        capture_output=True,
        text=True,
        check=False,
    )


def kill_after(seconds, store):
    """Starts the grid and kills the command alone: its workers must notice."""
    process = subprocess.Popen(command(store), stdout=subprocess.DEVNULL)
    time.sleep(seconds)
    process.kill()
    process.wait()
    return process.returncode == -signal.SIGKILL


def steps(store):
    rows = ablab.open(store).store.index.rows("SELECT id, step FROM runs")
    return {row["id"]: row["step"] for row in rows}


@pytest.mark.parametrize("times", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, times):
    subprocess.run(command(tmp_path / "whole"), check=True, stdout=subprocess.DEVNULL)
    random.seed(times)
    lab = tmp_path / "killed"
    before: dict[str, int] = {}
    for _ in range(times):
        kill_after(random.uniform(4.0, 9.0), lab)
        time.sleep(1.0)  # the workers end when their parent is gone
        if not (lab / "index.sqlite").is_file():
            continue
        found = check(lab)
        assert found.returncode == 0, found.stdout + found.stderr
        now = steps(lab)
        assert all(now[run] >= step for run, step in before.items())
        before = now
    subprocess.run(command(lab), check=True, stdout=subprocess.DEVNULL)
    assert check(lab).returncode == 0
    one, other = ablab.open(tmp_path / "whole"), ablab.open(lab)
    assert one.metrics("addition").equals(other.metrics("addition"))
    for row in other.store.index.rows("SELECT segments FROM runs"):
        pieces = [(each["from"], each["to"]) for each in json.loads(row["segments"])]
        assert pieces[0][0] == 0
        assert all(a[1] == b[0] for a, b in itertools.pairwise(pieces))


def started(lab, compiling, **environment):
    """The command with more steps than it will come to, as a process of its own."""
    asked = [part if part != "train.steps=120" else "train.steps=100000" for part in command(lab)]
    return subprocess.Popen(
        [*asked, "--compile", compiling],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def interrupt(process, lab):
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "the same command goes on from here" in err
    assert check(lab).returncode == 0
    assert {run.status for run in ablab.open(lab).runs()} <= {"interrupted", "planned"}


def test_ctrl_c_keeps_what_is_done(tmp_path):
    lab = tmp_path / "lab"
    # So many steps would be compiled first, and while it compiles it pauses before any step.
    process = started(lab, "off")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(0.5)
        if (lab / "index.sqlite").is_file() and any(steps(lab).values()):
            break
    interrupt(process, lab)
    assert max(steps(lab).values()) > 0
    assert (lab / "logbook" / "LOGBOOK.md").is_file()


def test_ctrl_c_does_not_wait_for_a_compiler(tmp_path):
    lab, cache = tmp_path / "lab", tmp_path / "cache"
    process = started(lab, "on", TORCHINDUCTOR_CACHE_DIR=str(cache))
    deadline = time.monotonic() + 60
    while not list(cache.glob("ablab/*.lock")):  # held while a program is compiled
        assert time.monotonic() < deadline
        time.sleep(0.1)
    interrupt(process, lab)
    assert set(steps(lab).values()) == {0}
