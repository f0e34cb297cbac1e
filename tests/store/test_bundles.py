"""Many small snapshots are moved to few files, and everything reads the same."""

import hashlib
import shutil
import threading
import zipfile

import pytest
import torch

import ablab
from ablab.store import Store, StoreError, bundles, tidying
from ablab.store.bundles import bundle_snapshots
from ablab.store.check import check_store, leftovers
from ablab.store.homeward import homeward, receive
from ablab.store.leases import Owner
from ablab.store.outward import outward, unload
from ablab.store.packs import unpack
from ablab.store.snapshots import read_parameters, read_state
from ablab.train.parameter_layout import ParameterLayout
from ablab.train.stack import initial_model
from tests.store.bundled import bundle_of, ids, own_files
from tests.store.makers import WILD, train
from tests.store.packing import metrics, packed


def test_few_snapshots_stay_as_they_are(wild):
    before = own_files(wild)
    assert bundle_snapshots(wild) == 0
    assert own_files(wild) == before
    assert len(before) == 22


def test_a_bundle_has_the_files_as_they_were(wild, many):
    before = own_files(wild)
    assert bundle_snapshots(wild) == 22
    assert list((wild.path / "snapshots").iterdir()) == [bundle_of(wild)]
    with zipfile.ZipFile(bundle_of(wild)) as file:
        assert {each.compress_type for each in file.infolist()} == {zipfile.ZIP_STORED}
        assert {name: file.read(name) for name in file.namelist()} == before
    content = bundle_of(wild).read_bytes()
    for row in wild.index.rows(
        "SELECT b.*, s.bytes FROM bundles b JOIN snapshots s USING (run, step)"
    ):
        name = f"{row['run']}/{row['step']}.safetensors"
        assert content[row["offset"] : row["offset"] + row["bytes"]] == before[name]
    assert check_store(wild).problems == []
    assert leftovers(wild) == []
    assert bundle_snapshots(wild) == 0


def test_what_is_read_is_the_same_bit_for_bit(wild, many):
    opened = ablab.open(wild.path)
    layout = ParameterLayout.of(initial_model(opened.run(ids(wild)[0]).run))

    def everything():
        return [
            (
                read_parameters(wild, run, step),
                read_state(wild, run, step, layout, ["momentum_buffer"]),
            )
            for run in ids(wild)
            for step in (10, 40)
        ]

    before = everything()
    bundle_snapshots(wild)
    for (parameters, state), (own, other) in zip(before, everything(), strict=True):
        assert parameters.keys() == own.keys()
        assert all(torch.equal(parameters[name], own[name]) for name in own)
        assert torch.equal(state.theta, other.theta)
        assert torch.equal(
            state.optimizer_state["momentum_buffer"], other.optimizer_state["momentum_buffer"]
        )
        assert repr(state.recovery) == repr(other.recovery)


def test_runs_go_on_from_a_bundle(wild, many, tmp_path, monkeypatch):
    longer = ("train.steps=60", "train.snapshots={every: 10}")
    shutil.copytree(wild.path, tmp_path / "other")
    bundle_snapshots(wild)
    train(WILD, wild.path, *longer, engine="solo")
    with monkeypatch.context() as patched:
        patched.setattr(bundles, "_MANY", 10_000)
        other = train(WILD, tmp_path / "other", *longer, engine="solo").store
    assert len(own_files(other)) == 26
    assert metrics(wild.path).equals(metrics(other.path))
    assert check_store(wild).problems == []
    for run in ids(wild):
        mine, theirs = (read_parameters(store, run, 60) for store in (wild, other))
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_snapshots_of_a_run_that_is_trained_stay(wild, many):
    first, second = ids(wild)
    with Owner(wild.index.path) as owner:
        owner.acquire(wild.index, [first])
        assert bundle_snapshots(wild) == 11
    assert {name.partition("/")[0] for name in own_files(wild)} == {first}
    assert [row[0] for row in wild.index.rows("SELECT DISTINCT run FROM bundles")] == [second]


def test_a_snapshot_that_the_next_one_replaces_stays(tiny, tmp_path, many):
    store = train(tiny, tmp_path / "lab", "seeds=1", "model.d_model=8").store
    run = ids(store)[0]
    with store.index.transaction() as connection:
        connection.execute("DELETE FROM bundles")
        connection.execute("UPDATE snapshots SET passing = 1 WHERE step = 20")
    with zipfile.ZipFile(bundle_of(store)) as file:
        file.extractall(store.path / "snapshots")
    bundle_of(store).unlink()
    assert bundle_snapshots(store) == 7
    assert list(own_files(store)) == [f"{run}/20.safetensors"]


def test_large_snapshots_stay(wild, many, monkeypatch):
    sizes = sorted(len(content) for content in own_files(wild).values())
    monkeypatch.setattr(bundles, "_SMALL_BYTES", sizes[4])
    moved = bundle_snapshots(wild)
    assert moved == sum(size <= sizes[4] for size in sizes) < 22
    assert len(own_files(wild)) == 22 - moved


def test_a_bundle_has_a_largest_size(wild, many, monkeypatch):
    monkeypatch.setattr(bundles, "_BUNDLE_BYTES", 3 * max(map(len, own_files(wild).values())))
    assert bundle_snapshots(wild) == 22
    assert len(list((wild.path / "snapshots").glob("*.zip"))) > 2
    assert check_store(wild).problems == []


def test_packs_have_snapshots_in_files_of_their_own(wild, many, tmp_path):
    before = own_files(wild)
    bundle_snapshots(wild)
    file = packed(wild.path, tmp_path / "wild.ablab.zip", "all", "wild")
    unpack(file, tmp_path / "new")
    assert own_files(Store(tmp_path / "new")) == before


def test_another_machine_gets_a_bundled_snapshot_and_it_stays_where_it_is(wild, many, tmp_path):
    bundle_snapshots(wild)
    runs = ids(wild)
    scratch = Store(tmp_path / "scratch", create=True)
    with outward(wild, 1, runs, runs, {}) as (shipment, folder):
        unload(scratch, shipment, folder)
    assert sorted(own_files(scratch)) == [f"{run}/40.safetensors" for run in runs]
    sent = {each.key for each in shipment.files}
    home = homeward(scratch, runs, sent, tmp_path / "outbox")
    places = [tuple(row) for row in wild.index.rows("SELECT * FROM bundles")]
    with Owner(wild.index.path) as owner:
        owner.acquire(wild.index, runs)
        token = owner.lend(wild.index, runs)
        assert receive(wild, home, token, 1, lambda *_: None)
    assert [tuple(row) for row in wild.index.rows("SELECT * FROM bundles")] == places
    assert check_store(wild).problems == []


def test_digests_are_those_of_the_files(wild, many):
    before = own_files(wild)
    bundle_snapshots(wild)
    rows = wild.index.rows("SELECT path, digest FROM digests WHERE path LIKE 'snapshots/%'")
    assert {row["path"]: row["digest"] for row in rows} == {
        f"snapshots/{name}": hashlib.sha256(content).hexdigest() for name, content in before.items()
    }


def test_snapshots_without_digests_stay_and_nothing_is_written(wild, many):
    with wild.index.transaction() as connection:
        connection.execute("DELETE FROM digests WHERE path LIKE 'snapshots/%'")
    before = own_files(wild)
    assert bundle_snapshots(wild) == 0
    assert own_files(wild) == before
    assert not list((wild.path / "snapshots").glob("*.zip"))


def test_deleted_snapshots_leave_nothing(wild, many):
    shutil.rmtree(wild.path / "snapshots")
    assert bundle_snapshots(wild) == 0
    assert not (wild.path / "snapshots").exists()


def test_snapshots_of_runs_that_have_not_ended_stay(wild, many):
    with wild.index.transaction() as connection:
        connection.execute("UPDATE members SET steps = 80")
    assert bundle_snapshots(wild) == 0


def test_while_a_command_trains(wild, many, monkeypatch):
    monkeypatch.setattr(tidying, "_EVERY_SECONDS", 0.0)
    own = tidying.Tidying(wild)
    thread = threading.Thread(target=own.from_time_to_time)
    thread.start()
    thread.join()
    assert len(own_files(wild)) == 22  # it uses the store in the thread that made it only
    own.from_time_to_time()
    assert own_files(wild) == {}


def test_training_goes_on_where_tidying_cannot_write(wild, many, monkeypatch):
    def full(*_):
        raise StoreError("no space left on device")

    monkeypatch.setattr(tidying, "_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(bundles, "write_atomically", full)
    tidying.Tidying(wild).from_time_to_time()
    with pytest.raises(StoreError, match="no space left"):
        tidying.Tidying(wild).now()
    assert check_store(wild).problems == []
