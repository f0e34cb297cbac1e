"""What travels between the stores of a command and of other machines."""

import shutil

import pytest

from ablab.store.homeward import homeward, receive, state_of
from ablab.store.index import StoreError
from ablab.store.leases import Owner
from ablab.store.outward import outward, unload
from ablab.store.store import Store
from tests.store.makers import train
from tests.store.packing import index, metrics, sound


@pytest.fixture
def trained(tiny, tmp_path):
    """A store of four trained runs."""
    train(tiny, tmp_path / "trained")
    return Store(tmp_path / "trained")


@pytest.fixture
def fresh(tiny, tmp_path):
    """A store with the same runs, of which none is trained."""
    train(tiny, tmp_path / "fresh", pause=lambda: True)
    return Store(tmp_path / "fresh")


def ids(store):
    return sorted(run.run for run in store.runs())


def from_outbox(outbox):
    def fetch(file, to):
        shutil.copyfile(file.path(outbox), to)

    return fetch


def shipped(source, runs, tmp_path, sent=()):
    outbox = tmp_path / "outbox"
    return homeward(source, runs, sent, outbox), from_outbox(outbox)


def test_a_machine_gets_its_runs_and_no_others(trained, tmp_path):
    runs = ids(trained)[:2]
    scratch = Store(tmp_path / "scratch", create=True)
    with outward(trained, 1, runs, runs, {}) as (shipment, folder):
        unload(scratch, shipment, folder)
    assert [row["run"] for row in scratch.members(1)] and ids(scratch) == runs
    mine, theirs = metrics(scratch.path), metrics(trained.path)
    assert mine.equals(theirs.filter(theirs["run"].is_in(runs)).select(mine.columns))
    rows = scratch.index.rows("SELECT run, step, has_optimizer FROM snapshots")
    assert sorted(map(tuple, rows)) == [(run, 20, 1) for run in runs]
    assert not sound(scratch.path).problems


def test_what_a_machine_has_trained_is_published_once(trained, fresh, tmp_path):
    runs = ids(trained)
    shipment, fetch = shipped(trained, runs, tmp_path)
    with Owner(fresh.index.path) as owner:
        assert owner.acquire(fresh.index, runs) == runs
        token = owner.lend(fresh.index, runs)
        assert receive(fresh, shipment, token, 1, fetch)
        once = index(fresh.path)
        assert receive(fresh, shipment, token, 1, fetch)  # the same message again
        assert index(fresh.path) == once
    assert metrics(fresh.path).equals(metrics(trained.path))
    assert sound(fresh.path).problems == []
    for table in ("snapshots", "kept", "initial"):
        assert index(fresh.path)[table] == index(trained.path)[table]


def test_only_new_files_are_sent(trained, tmp_path):
    runs = ids(trained)
    first, _ = shipped(trained, runs, tmp_path)
    assert {each.kind for each in first.files} == {"part", "snapshot"}
    before = state_of(trained)
    again = homeward(trained, runs, {each.key for each in first.files}, tmp_path / "again")
    assert (again.files, state_of(trained)) == ((), before)


def test_after_its_claim_has_ended_a_machine_publishes_nothing(trained, fresh, tmp_path):
    runs = ids(trained)
    shipment, fetch = shipped(trained, runs, tmp_path)
    with Owner(fresh.index.path) as owner:
        owner.acquire(fresh.index, runs)
        token = owner.lend(fresh.index, runs)
        owner.end(fresh.index, token)
        before = index(fresh.path)
        assert not receive(fresh, shipment, token, 1, fetch)
        assert owner.acquire(fresh.index, runs) == runs
        other = owner.lend(fresh.index, runs)  # the runs went to another machine
        assert not receive(fresh, shipment, token, 1, fetch)
        assert index(fresh.path)["parts"] == before["parts"] == []
        assert not list((fresh.path / "metrics").glob("*.parquet"))
        assert receive(fresh, shipment, other, 1, fetch)


def test_a_late_message_changes_nothing(tiny, trained, fresh, tmp_path):
    runs = ids(trained)
    train(tiny, tmp_path / "half", "train.steps=10")
    half = Store(tmp_path / "half")
    assert ids(half) == runs  # as steps are not part of what identifies a run
    early = homeward(half, runs, (), tmp_path / "early")
    late, fetch = shipped(trained, runs, tmp_path)
    with Owner(fresh.index.path) as owner:
        owner.acquire(fresh.index, runs)
        token = owner.lend(fresh.index, runs)
        assert receive(fresh, late, token, 1, fetch)
        once = index(fresh.path)
        assert not receive(fresh, early, token, 1, from_outbox(tmp_path / "early"))
        assert index(fresh.path) == once


def test_a_file_that_changed_on_its_way_is_refused(trained, fresh, tmp_path):
    runs = ids(trained)
    shipment, _ = shipped(trained, runs, tmp_path)

    def fetch(file, to):
        content = bytearray(file.path(tmp_path / "outbox").read_bytes())
        content[len(content) // 2] ^= 1
        to.write_bytes(content)

    with Owner(fresh.index.path) as owner:
        owner.acquire(fresh.index, runs)
        token = owner.lend(fresh.index, runs)
        with pytest.raises(StoreError, match="not what it sent"):
            receive(fresh, shipment, token, 1, fetch)
    assert index(fresh.path)["parts"] == []


def test_what_a_dead_command_has_lent_is_adopted(fresh):
    runs = ids(fresh)
    with Owner(fresh.index.path) as owner:
        owner.acquire(fresh.index, runs)
        token = owner.lend(fresh.index, runs[:2])
        assert owner.adopt(fresh.index, token) is None  # its process lives
        with fresh.index.transaction() as connection:
            connection.execute("UPDATE owners SET pid = 4194303, started = 1 WHERE token = ?",
                               (token,))  # fmt: skip
        from ablab.store import leases

        leases._active.discard(token)
        new, adopted = owner.adopt(fresh.index, token)
        assert sorted(adopted) == runs[:2] and new != token  # which fences the old command
        assert owner.acquire(fresh.index, runs) == runs[2:]  # lent runs are not free
    assert fresh.index.rows("SELECT 1 FROM runs WHERE owner IS NOT NULL") == []
    assert fresh.index.rows("SELECT 1 FROM owners") == []
