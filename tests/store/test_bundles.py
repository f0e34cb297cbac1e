"""Many small snapshots are moved to few files; nothing is lost, and everything reads the same."""

import hashlib
import shutil
import threading
import zipfile
from dataclasses import replace

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
from ablab.store.processes import this_host
from ablab.store.repair import repair_store
from ablab.store.snapshots import read_parameters, read_state, write_snapshot
from ablab.train.parameter_layout import ParameterLayout
from ablab.train.stack import initial_model
from tests.store.makers import WILD, train
from tests.store.packing import metrics, packed

ASKED = ("train.steps=40", "train.snapshots={every: 10}")


@pytest.fixture
def many(monkeypatch):
    """Any number of snapshots is many."""
    monkeypatch.setattr(bundles, "_MANY", 0)


@pytest.fixture
def trained(tmp_path):
    """A store of two runs with snapshots of eleven steps each, in files of their own.

    They are 0, 1, 2, 4, 8, 10, 16, 20, 30, 32 and 40.
    """
    return train(WILD, tmp_path / "lab", *ASKED, engine="solo").store


def own_files(store):
    folder = store.path / "snapshots"
    found = sorted(folder.glob("*/*.safetensors"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def bundle_of(store):
    (path,) = (store.path / "snapshots").glob("*.zip")
    return path


def ids(store):
    return sorted(each.run for each in store.runs())


def spoil(store, run, step):
    """Changes a byte of a snapshot's share of its bundle."""
    path = bundle_of(store)
    (row,) = store.index.rows("SELECT offset FROM bundles WHERE run = ? AND step = ?", run, step)
    content = bytearray(path.read_bytes())
    content[row["offset"] + 900] ^= 4
    path.write_bytes(content)


def test_few_snapshots_stay_as_they_are(trained):
    before = own_files(trained)
    assert bundle_snapshots(trained) == 0
    assert own_files(trained) == before
    assert len(before) == 22


def test_a_bundle_has_the_files_as_they_were(trained, many):
    before = own_files(trained)
    assert bundle_snapshots(trained) == 22
    assert list((trained.path / "snapshots").iterdir()) == [bundle_of(trained)]
    with zipfile.ZipFile(bundle_of(trained)) as file:
        assert {each.compress_type for each in file.infolist()} == {zipfile.ZIP_STORED}
        assert {name: file.read(name) for name in file.namelist()} == before
    content = bundle_of(trained).read_bytes()
    for row in trained.index.rows(
        "SELECT b.*, s.bytes FROM bundles b JOIN snapshots s USING (run, step)"
    ):
        name = f"{row['run']}/{row['step']}.safetensors"
        assert content[row["offset"] : row["offset"] + row["bytes"]] == before[name]
    assert check_store(trained).problems == []
    assert leftovers(trained) == []
    assert bundle_snapshots(trained) == 0


def test_what_is_read_is_the_same_bit_for_bit(trained, many):
    opened = ablab.open(trained.path)
    layout = ParameterLayout.of(initial_model(opened.run(ids(trained)[0]).run))

    def everything():
        return [
            (
                read_parameters(trained, run, step),
                read_state(trained, run, step, layout, ["momentum_buffer"]),
            )
            for run in ids(trained)
            for step in (10, 40)
        ]

    before = everything()
    bundle_snapshots(trained)
    for (parameters, state), (own, other) in zip(before, everything(), strict=True):
        assert parameters.keys() == own.keys()
        assert all(torch.equal(parameters[name], own[name]) for name in own)
        assert torch.equal(state.theta, other.theta)
        assert torch.equal(
            state.optimizer_state["momentum_buffer"], other.optimizer_state["momentum_buffer"]
        )
        assert repr(state.recovery) == repr(other.recovery)


def test_runs_go_on_from_a_bundle(trained, many, tmp_path, monkeypatch):
    longer = ("train.steps=60", "train.snapshots={every: 10}")
    shutil.copytree(trained.path, tmp_path / "other")
    bundle_snapshots(trained)
    train(WILD, trained.path, *longer, engine="solo")
    with monkeypatch.context() as patched:
        patched.setattr(bundles, "_MANY", 10_000)
        other = train(WILD, tmp_path / "other", *longer, engine="solo").store
    assert len(own_files(other)) == 26
    assert metrics(trained.path).equals(metrics(other.path))
    assert check_store(trained).problems == []
    for run in ids(trained):
        mine, theirs = (read_parameters(store, run, 60) for store in (trained, other))
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_snapshots_of_a_run_that_is_trained_stay(trained, many):
    first, second = ids(trained)
    with Owner(trained.index.path) as owner:
        owner.acquire(trained.index, [first])
        assert bundle_snapshots(trained) == 11
    assert {name.partition("/")[0] for name in own_files(trained)} == {first}
    assert [row[0] for row in trained.index.rows("SELECT DISTINCT run FROM bundles")] == [second]


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


def test_large_snapshots_stay(trained, many, monkeypatch):
    sizes = sorted(len(content) for content in own_files(trained).values())
    monkeypatch.setattr(bundles, "_SMALL_BYTES", sizes[4])
    moved = bundle_snapshots(trained)
    assert moved == sum(size <= sizes[4] for size in sizes) < 22
    assert len(own_files(trained)) == 22 - moved


def test_a_bundle_has_a_largest_size(trained, many, monkeypatch):
    monkeypatch.setattr(bundles, "_BUNDLE_BYTES", 3 * max(map(len, own_files(trained).values())))
    assert bundle_snapshots(trained) == 22
    assert len(list((trained.path / "snapshots").glob("*.zip"))) > 2
    assert check_store(trained).problems == []


def test_a_damaged_file_is_not_moved(trained, many):
    run = ids(trained)[0]
    path = trained.path / "snapshots" / run / "20.safetensors"
    path.write_bytes(path.read_bytes()[:-3] + b"abc")
    assert bundle_snapshots(trained) == 21
    assert list(own_files(trained)) == [f"{run}/20.safetensors"]
    (problem,) = check_store(trained).problems
    assert "20.safetensors: damaged snapshot" in problem


def test_killed_before_the_files_are_removed(trained, many, monkeypatch):
    monkeypatch.setattr(bundles, "remove", lambda path: None)
    before = own_files(trained)
    bundle_snapshots(trained)
    assert own_files(trained) == before
    assert check_store(trained).problems == []
    # The files go with the next ones that are moved.
    monkeypatch.undo()
    monkeypatch.setattr(bundles, "_MANY", 0)
    train(WILD, trained.path, "train.steps=60", "train.snapshots={every: 10}", engine="solo")
    assert own_files(trained) == {}
    assert check_store(trained).problems == []


def test_killed_before_the_bundle_is_listed(trained, many, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    before = own_files(trained)
    with monkeypatch.context() as patched:
        patched.setattr(bundles, "write_atomically", killed)
        with pytest.raises(Killed):
            bundle_snapshots(trained)
    assert own_files(trained) == before
    (trained.path / "snapshots" / ("0" * 32 + ".zip")).write_bytes(b"x")
    assert check_store(trained).problems == []
    assert [path.name for path in leftovers(trained)] == ["0" * 32 + ".zip"]
    assert bundle_snapshots(trained) == 22


def test_where_the_index_cannot_be_written_no_bundle_is_left(trained, many, monkeypatch):
    before = own_files(trained)
    monkeypatch.setattr(trained.index, "check_in_place", lambda: None)
    execute = []

    def broken(*_):
        execute.append(1)
        raise StoreError("cannot write the store's index")

    acquire = bundles.Owner.acquire

    def acquired(self, index, runs):
        found = acquire(self, index, runs)
        monkeypatch.setattr(trained.index, "check_in_place", broken)
        return found

    monkeypatch.setattr(bundles.Owner, "acquire", acquired)
    with pytest.raises(StoreError, match="cannot write"):
        bundle_snapshots(trained)
    monkeypatch.undo()
    assert execute and own_files(trained) == before
    assert not list((trained.path / "snapshots").glob("*.zip"))
    assert check_store(trained).problems == []


def test_a_damaged_share_is_named_set_aside_and_trained_again(trained, many):
    run, other = ids(trained)
    last = read_parameters(trained, run, 40)
    before = metrics(trained.path)
    bundle_snapshots(trained)
    spoil(trained, run, 40)
    damaged = bytes(bundle_of(trained).read_bytes())
    (problem,) = check_store(trained).problems
    assert f"{run}/40.safetensors: damaged snapshot" in problem
    assert bundle_of(trained).name in problem
    with pytest.raises(StoreError, match=r"snapshot of run .* missing or damaged .*SHA-256"):
        read_parameters(trained, run, 40)
    assert read_parameters(trained, other, 40)
    _, actions = repair_store(trained)
    assert any("steps 31 to 40" in each.what for each in actions)
    (aside,) = (trained.path / "damaged").rglob("40.safetensors")
    assert aside.read_bytes() in damaged
    assert check_store(trained).problems == []
    train(WILD, trained.path, *ASKED, engine="solo")
    assert metrics(trained.path).equals(before)
    again = read_parameters(trained, run, 40)
    assert all(torch.equal(again[name], last[name]) for name in last)


def test_a_lost_bundle_is_named(trained, many):
    bundle_snapshots(trained)
    bundle_of(trained).unlink()
    problems = check_store(trained).problems
    assert len(problems) == 22
    assert all("its bundle is missing" in each for each in problems)
    with pytest.raises(StoreError, match="missing or damaged"):
        read_parameters(trained, ids(trained)[0], 40)
    repair_store(trained)
    assert check_store(trained).problems == []


def test_a_bundle_that_was_cut_short_is_named(trained, many):
    bundle_snapshots(trained)
    path = bundle_of(trained)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 7 <= len(check_store(trained).problems) <= 15


def test_a_repair_lists_bundled_snapshots_again(trained, many):
    bundle_snapshots(trained)
    with trained.index.transaction() as connection:
        connection.execute("DELETE FROM bundles")
    assert len(check_store(trained).problems) == 22
    _, actions = repair_store(trained)
    assert [each.what for each in actions] == ["listed 22 snapshots in bundles again"]
    assert check_store(trained).problems == []


def test_packs_have_snapshots_in_files_of_their_own(trained, many, tmp_path):
    before = own_files(trained)
    bundle_snapshots(trained)
    file = packed(trained.path, tmp_path / "wild.ablab.zip", "all", "wild")
    unpack(file, tmp_path / "new")
    assert own_files(Store(tmp_path / "new")) == before


def test_another_machine_gets_a_bundled_snapshot_and_it_stays_where_it_is(trained, many, tmp_path):
    bundle_snapshots(trained)
    runs = ids(trained)
    scratch = Store(tmp_path / "scratch", create=True)
    with outward(trained, 1, runs, runs, {}) as (shipment, folder):
        unload(scratch, shipment, folder)
    assert sorted(own_files(scratch)) == [f"{run}/40.safetensors" for run in runs]
    sent = {each.key for each in shipment.files}
    home = homeward(scratch, runs, sent, tmp_path / "outbox")
    places = [tuple(row) for row in trained.index.rows("SELECT * FROM bundles")]
    with Owner(trained.index.path) as owner:
        owner.acquire(trained.index, runs)
        token = owner.lend(trained.index, runs)
        assert receive(trained, home, token, 1, lambda *_: None)
    assert [tuple(row) for row in trained.index.rows("SELECT * FROM bundles")] == places
    assert check_store(trained).problems == []


def test_a_name_in_the_index_is_no_path(trained, many):
    bundle_snapshots(trained)
    trained.index._connection.execute("UPDATE bundles SET file = '../../secret.zip'")
    with pytest.raises(StoreError, match="damaged, or ablab did not write it"):
        read_parameters(trained, ids(trained)[0], 40)


def test_digests_are_those_of_the_files(trained, many):
    before = own_files(trained)
    bundle_snapshots(trained)
    rows = trained.index.rows("SELECT path, digest FROM digests WHERE path LIKE 'snapshots/%'")
    assert {row["path"]: row["digest"] for row in rows} == {
        f"snapshots/{name}": hashlib.sha256(content).hexdigest() for name, content in before.items()
    }


def test_two_processes_that_tidy_lose_nothing(trained, many, monkeypatch):
    """The other one has moved everything between the first one's look and its lease."""
    before = bundles.Owner.acquire
    others = []

    def acquire(self, index, runs):
        if not others:
            others.append(Store(trained.path))
            assert bundle_snapshots(others[0]) == 22
        return before(self, index, runs)

    monkeypatch.setattr(bundles.Owner, "acquire", acquire)
    assert bundle_snapshots(trained) == 0
    assert check_store(trained).problems == []
    assert leftovers(trained) == []
    assert own_files(trained) == {}


def test_a_run_that_was_taken_meanwhile_stays(trained, many, monkeypatch):
    """As by --break-leases, while the bundle is written; the other one writes a snapshot anew."""
    first, second = ids(trained)
    path = trained.path / "snapshots" / first / "20.safetensors"
    before = bundles.write_atomically

    def write(to, content, root):
        written = before(to, content, root)
        with trained.index.transaction() as connection:
            connection.execute("UPDATE runs SET owner = 'other' WHERE id = ?", (first,))
        return written

    monkeypatch.setattr(bundles, "write_atomically", write)
    assert bundle_snapshots(trained) == 11
    assert path.is_file()
    assert {name.partition("/")[0] for name in own_files(trained)} == {first}
    assert {row[0] for row in trained.index.rows("SELECT run FROM bundles")} == {second}
    assert check_store(trained).problems == []


def test_a_snapshot_that_was_written_again_meanwhile_stays(trained, many, monkeypatch):
    run = ids(trained)[0]
    path = trained.path / "snapshots" / run / "20.safetensors"
    before = bundles._state
    calls = []

    def state(each):
        calls.append(each)
        return (len(calls),) if each == path else before(each)

    monkeypatch.setattr(bundles, "_state", state)
    assert bundle_snapshots(trained) == 22
    assert list(own_files(trained)) == [f"{run}/20.safetensors"]
    assert check_store(trained).problems == []


def test_a_damaged_copy_does_not_count(trained, many):
    """As of an unzip that was cut short."""
    run = ids(trained)[0]
    last = read_parameters(trained, run, 40)
    bundle_snapshots(trained)
    with zipfile.ZipFile(bundle_of(trained)) as file:
        file.extractall(trained.path / "snapshots")
    path = trained.path / "snapshots" / run / "40.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    assert check_store(trained).problems == []
    again = read_parameters(trained, run, 40)
    assert all(torch.equal(again[name], last[name]) for name in last)
    _, actions = repair_store(trained)
    assert actions == []


def test_a_sound_copy_counts_where_the_bundle_is_damaged(trained, many):
    run = ids(trained)[0]
    last = read_parameters(trained, run, 40)
    bundle_snapshots(trained)
    with zipfile.ZipFile(bundle_of(trained)) as file:
        file.extractall(trained.path / "snapshots")
    spoil(trained, run, 40)
    assert check_store(trained).problems == []
    again = read_parameters(trained, run, 40)
    assert all(torch.equal(again[name], last[name]) for name in last)


def test_killed_while_a_bundled_snapshot_is_written_anew(trained, many):
    """After the new file is in place, and before the index lists it."""
    run = ids(trained)[0]
    bundle_snapshots(trained)
    layout = ParameterLayout.of(initial_model(ablab.open(trained.path).run(run).run))
    state = read_state(trained, run, 20, layout, ["momentum_buffer"])
    write_snapshot(trained, run, replace(state, theta=state.theta + 1), layout, True)
    assert check_store(trained).problems == []
    again = read_state(trained, run, 20, layout, ["momentum_buffer"])
    assert torch.equal(again.theta, state.theta)


def test_what_a_killed_process_had_leased_is_moved(trained, many):
    with trained.index.transaction() as connection:
        connection.execute(
            "INSERT INTO owners VALUES ('gone', ?, 99999999, 1.5, 0.0)", (this_host(),)
        )
        connection.execute("UPDATE runs SET owner = 'gone'")
    assert bundle_snapshots(trained) == 22


def test_snapshots_without_digests_stay_and_nothing_is_written(trained, many):
    with trained.index.transaction() as connection:
        connection.execute("DELETE FROM digests WHERE path LIKE 'snapshots/%'")
    before = own_files(trained)
    assert bundle_snapshots(trained) == 0
    assert own_files(trained) == before
    assert not list((trained.path / "snapshots").glob("*.zip"))


def test_deleted_snapshots_leave_nothing(trained, many):
    shutil.rmtree(trained.path / "snapshots")
    assert bundle_snapshots(trained) == 0
    assert not (trained.path / "snapshots").exists()


def test_snapshots_of_runs_that_have_not_ended_stay(trained, many):
    with trained.index.transaction() as connection:
        connection.execute("UPDATE members SET steps = 80")
    assert bundle_snapshots(trained) == 0


def test_while_a_command_trains(trained, many, monkeypatch):
    monkeypatch.setattr(tidying, "_EVERY_SECONDS", 0.0)
    own = tidying.Tidying(trained)
    thread = threading.Thread(target=own.from_time_to_time)
    thread.start()
    thread.join()
    assert len(own_files(trained)) == 22  # it uses the store in the thread that made it only
    own.from_time_to_time()
    assert own_files(trained) == {}


def test_training_goes_on_where_tidying_cannot_write(trained, many, monkeypatch):
    def full(*_):
        raise StoreError("no space left on device")

    monkeypatch.setattr(tidying, "_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(bundles, "write_atomically", full)
    tidying.Tidying(trained).from_time_to_time()
    with pytest.raises(StoreError, match="no space left"):
        tidying.Tidying(trained).now()
    assert check_store(trained).problems == []


@pytest.mark.parametrize(
    ("column", "value"), [("bytes", 2**62), ("bytes", -1), ("offset", 2**62), ("offset", -5)]
)
def test_a_strangers_numbers(trained, many, column, value):
    bundle_snapshots(trained)
    table = "snapshots" if column == "bytes" else "bundles"
    with trained.index.transaction() as connection:
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE step = 40", (value,))
    with pytest.raises(StoreError, match="missing or damaged"):
        read_parameters(trained, ids(trained)[0], 40)
    assert len(check_store(trained).problems) == 2
    repair_store(trained)
    assert check_store(trained).problems == []


def test_a_bundle_with_a_damaged_list(trained, many):
    bundle_snapshots(trained)
    path = bundle_of(trained)
    content = bytearray(path.read_bytes())
    for place in range(len(content) - 400, len(content)):
        content[place] ^= 0x55
    path.write_bytes(content)
    with trained.index.transaction() as connection:
        connection.execute("DELETE FROM bundles WHERE step = 40")
    assert len(check_store(trained).problems) == 2
    repair_store(trained)
    assert check_store(trained).problems == []
