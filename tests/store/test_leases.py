"""Whose runs they are: across clock changes, restarts, containers and other machines."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from ablab.store import Store, leases
from ablab.store.index import Index
from ablab.store.leases import Owner, break_leases, holders, live_owners
from ablab.store.processes import this_host
from tests.store.makers import train

SLEEPER = """
import sys, time
from pathlib import Path
from ablab.store.index import Index
from ablab.store.leases import Owner
path = Path(sys.argv[1])
with Owner(path) as owner:
    print(owner.acquire(Index(path, create=False), sys.argv[2:]), flush=True)
    time.sleep(60)
"""
HERE = this_host()
NAME, BOOT, SPACE = HERE.split("/")
CONTAINER = f"box/{BOOT}/pid:[77]"  # of this machine
ELSEWHERE = f"far/0123/{SPACE}"


@pytest.fixture
def index(tmp_path, tiny):
    train(tiny, tmp_path / "lab", "seeds=1", "model.d_model=8", "train.steps=2")
    return Index(tmp_path / "lab" / "index.sqlite", create=False)


def only_run(index):
    return index.rows("SELECT id FROM runs")[0]["id"]


def lease(index, host, heartbeat, pid=1, started=1.0):
    """Writes the lease of a process that cannot be looked up from here."""
    with index.transaction() as connection:
        connection.execute("DELETE FROM owners")
        connection.execute(
            "INSERT INTO owners VALUES ('other', ?, ?, ?, ?)", (host, pid, started, heartbeat)
        )
        connection.execute("UPDATE runs SET owner = 'other'")


@pytest.fixture
def clock(monkeypatch):
    """Moves the clock that is never set."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(leases, "_watch", lambda: Clock.now, raising=False)
    return Clock


@pytest.mark.parametrize("step", [-3600, 3600])
def test_setting_the_clock_neither_takes_nor_blocks_runs(index, monkeypatch, step):
    run = only_run(index)
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER, str(index.path), run], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline().strip() == f"['{run}']"
    now, boot = time.time, psutil.boot_time()
    monkeypatch.setattr(time, "time", lambda: now() + step)
    monkeypatch.setattr(psutil, "boot_time", lambda: boot + step)  # which the clock defines
    created = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: created(self) + step)
    with Owner(index.path) as owner:
        assert owner.acquire(index, [run]) == []  # it lives
        process.kill()
        process.communicate()
        assert owner.acquire(index, [run]) == [run]  # at once


def test_a_heartbeat_in_the_future_ends_too(index, clock):
    run = only_run(index)
    lease(index, CONTAINER, time.time() + 10**6)
    with Owner(index.path) as owner:
        for clock.now in (0.0, 30.0, 59.0):
            assert owner.acquire(index, [run]) == []
        clock.now = 61.0
        assert owner.acquire(index, [run]) == [run]


def test_a_heartbeat_that_changes_is_alive_whatever_it_says(index, clock):
    run = only_run(index)
    with Owner(index.path) as owner:
        for clock.now in (0.0, 50.0, 100.0, 150.0):
            lease(index, CONTAINER, 1000.0 - clock.now)  # a clock that goes back
            assert owner.acquire(index, [run]) == []


def test_a_process_of_another_boot_is_dead_on_a_disk_of_this_machine(index, clock, monkeypatch):
    run = only_run(index)
    lease(index, ELSEWHERE, time.time() + 10**6)
    assert live_owners(index) == set()
    monkeypatch.setattr(leases, "is_shared", lambda path: True)
    with Owner(index.path) as owner:
        assert owner.acquire(index, [run]) == []  # it may be on another machine
        monkeypatch.setattr(leases, "is_shared", lambda path: False)
        assert owner.acquire(index, [run]) == [run]


def test_leases_of_an_earlier_release_count(index):
    run = only_run(index)
    began = psutil.Process().create_time()
    for started, taken in ((began, []), (began - 1000, [run])):
        lease(index, f"{NAME}/{psutil.boot_time():.0f}", time.time(), os.getpid(), started)
        with Owner(index.path) as owner:
            assert owner.acquire(index, [run]) == taken


def test_a_lease_that_was_not_released_ends_with_its_owner(index):
    run = only_run(index)
    one = Owner(index.path)
    with one:
        one.acquire(index, [run])
        with index.transaction() as connection:  # as it was left when the disk was full
            rows = [tuple(row) for row in connection.execute("SELECT * FROM owners")]
    with index.transaction() as connection:
        connection.executemany("INSERT INTO owners VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute("UPDATE runs SET owner = ?", (one.token,))
    with Owner(index.path) as two:
        assert two.acquire(index, [run]) == [run]


def test_a_broken_lease_says_whose_it_was(index):
    run = only_run(index)
    with Owner(index.path) as one, Owner(index.path) as two:
        one.acquire(index, [run])
        (holder,) = break_leases(index, [run])
        assert str(holder).startswith(f"process {os.getpid()} on {NAME} since 20")
        assert holders(index, [run]) == []
        assert two.acquire(index, [run]) == [run]


def test_the_thread_of_heartbeats_survives_a_disk_that_fails(index, monkeypatch):
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.01)
    beats = []
    transaction = Index.transaction

    def fail(self):
        if self.path == index.path and self is not index:
            beats.append(1)
            if len(beats) in (2, 3):
                raise leases.StoreError("a full disk")
        return transaction(self)

    monkeypatch.setattr(Index, "transaction", fail)
    with Owner(index.path):
        deadline = time.monotonic() + 10
        while len(beats) < 6 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(beats) >= 6


def test_a_store_can_be_read_while_nobody_owns_it(index):
    assert live_owners(index) == set()
    assert Store(index.path.parent).runs()[0].status == "finished"
