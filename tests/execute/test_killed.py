"""Killed at any moment, nothing is lost and nothing is trained twice past a snapshot."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys

import pytest

import ablab
from ablab.store import Store
from ablab.store.leases import live_owners
from tests.cli.command import run_command
from tests.execute.stored_steps import steps, wait_until
from tests.store.makers import train

GRID = [
    "train.batch_size=64",
    "train.snapshots.every=20",
    "train.evaluate={every: 60, samples: 64}",
    "model.d_model=8,16",
    "model.n_heads=1",
    "seeds=2",
]
PLAIN = "watch.statistics=[]"
STEPS, RUNS = 240, 4


def command(store, *more, steps=STEPS, workers=2):
    """What follows ``ablab``: a grid of four runs in two stacks, by worker processes."""
    options = ["--engine", "stack", "--executor", "worker_processes", "--workers", str(workers)]
    options += ["--quiet", "--store", str(store)]
    return ["run", "addition", *GRID, f"train.steps={steps}", *options, *more]


def started(arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "ablab", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def check(lab):
    code, out, err = run_command("check", "--store", str(lab))
    assert code == 0, out + err


def kill_at(total, lab, length):
    """Starts the grid, and kills the command alone when all runs have so many steps together."""
    process = started(command(lab, "--compile", "off", steps=length))
    wait_until(lambda: sum(steps(lab).values()) >= total, process)
    process.kill()
    process.communicate()
    wait_until(lambda: not live_owners(Store(lab).index))  # the workers notice, and end
    assert process.returncode in (-signal.SIGKILL, 0)


@pytest.mark.parametrize("times", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, times):
    length = STEPS * times  # so that each kill comes before the end
    # The same method throughout: under auto, a busy machine may find another one faster.
    whole = train(
        "addition",
        tmp_path / "whole",
        *GRID,
        f"train.steps={length}",
        engine="stack",
        compiling="off",
    )
    rng, lab = random.Random(times), tmp_path / "killed"
    before: dict[str, int] = {}
    for _ in range(times):
        done = sum(before.values())
        kill_at(done + rng.randrange(1, (length * RUNS - done) // (2 * times)), lab, length)
        check(lab)
        now = steps(lab)
        assert all(now[run] >= step for run, step in before.items())
        before = now
    assert 0 < sum(before.values()) < length * RUNS, "it was killed while it trained"
    code, _, err = run_command(*command(lab, "--compile", "off", steps=length))
    assert code == 0, err
    check(lab)
    other = ablab.open(lab)
    assert whole.metrics().equals(other.metrics("addition"))
    for row in other.store.index.rows("SELECT segments FROM runs"):
        pieces = [(each["from"], each["to"]) for each in json.loads(row["segments"])]
        assert (pieces[0][0], pieces[-1][1]) == (0, length)
        assert all(a[1] == b[0] for a, b in itertools.pairwise(pieces))


def interrupt(process, lab):
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "run the same command again to continue" in err
    check(lab)
    assert {run.status for run in ablab.open(lab).runs()} <= {"interrupted", "planned"}


def test_ctrl_c_keeps_what_is_done(tmp_path):
    lab = tmp_path / "lab"
    # So many steps would be compiled first, and while it compiles it pauses before any step.
    process = started(command(lab, "--compile", "off", PLAIN, steps=100_000))
    wait_until(lambda: any(steps(lab).values()), process)
    interrupt(process, lab)
    assert max(steps(lab).values()) > 0
    assert (lab / "logbook" / "LOGBOOK.md").is_file()


def test_ctrl_c_does_not_wait_for_a_compiler(tmp_path):
    lab, cache, slow = tmp_path / "lab", tmp_path / "cache", tmp_path / "slow"
    # So that the program is not ready before the signal arrives, however busy the machine is.
    slow.write_text('#!/bin/sh\ncase "$*" in *-shared*) sleep 90;; esac\nexec g++ "$@"\n')
    slow.chmod(0o755)
    arguments = command(lab, "--compile", "on", PLAIN, steps=100_000, workers=1)
    process = started(arguments, TORCHINDUCTOR_CACHE_DIR=str(cache), CXX=str(slow))
    # A lock is held while a program is compiled.
    wait_until(lambda: list(cache.glob("ablab/*.lock")), process)
    interrupt(process, lab)
    assert set(steps(lab).values()) == {0}
