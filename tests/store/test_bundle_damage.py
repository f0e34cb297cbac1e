"""Nothing is lost of bundled snapshots: by kills, by other processes, by damage."""

from dataclasses import replace

import pytest
import torch

import ablab
from ablab.store import Store, StoreError, bundles
from ablab.store.bundles import bundle_snapshots
from ablab.store.check import check_store, leftovers
from ablab.store.processes import this_host
from ablab.store.repair import repair_store
from ablab.store.snapshots import read_parameters, read_state, write_snapshot
from ablab.train.parameter_layout import ParameterLayout
from ablab.train.stack import initial_model
from tests.store.bundled import ASKED, bundle_of, extract_all, ids, own_files, spoil
from tests.store.makers import WILD, train
from tests.store.packing import metrics


def test_a_damaged_file_is_not_moved(wild, many):
    run = ids(wild)[0]
    path = wild.path / "snapshots" / run / "20.safetensors"
    path.write_bytes(path.read_bytes()[:-3] + b"abc")
    assert bundle_snapshots(wild) == 21
    assert list(own_files(wild)) == [f"{run}/20.safetensors"]
    (problem,) = check_store(wild).problems
    assert "20.safetensors: damaged snapshot" in problem


def test_killed_before_the_files_are_removed(wild, many, monkeypatch):
    monkeypatch.setattr(bundles, "remove", lambda path: None)
    before = own_files(wild)
    bundle_snapshots(wild)
    assert own_files(wild) == before
    assert check_store(wild).problems == []
    # The files go with the next ones that are moved.
    monkeypatch.undo()
    monkeypatch.setattr(bundles, "_MANY", 0)
    train(WILD, wild.path, "train.steps=60", "train.snapshots={every: 10}", engine="solo")
    assert own_files(wild) == {}
    assert check_store(wild).problems == []


def test_killed_before_the_bundle_is_listed(wild, many, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    before = own_files(wild)
    with monkeypatch.context() as patched:
        patched.setattr(bundles, "write_atomically", killed)
        with pytest.raises(Killed):
            bundle_snapshots(wild)
    assert own_files(wild) == before
    (wild.path / "snapshots" / ("0" * 32 + ".zip")).write_bytes(b"x")
    assert check_store(wild).problems == []
    assert [path.name for path in leftovers(wild)] == ["0" * 32 + ".zip"]
    assert bundle_snapshots(wild) == 22


def test_where_the_index_cannot_be_written_no_bundle_is_left(wild, many, monkeypatch):
    before = own_files(wild)
    monkeypatch.setattr(wild.index, "check_in_place", lambda: None)
    execute = []

    def broken(*_):
        execute.append(1)
        raise StoreError("cannot write the store's index")

    acquire = bundles.Owner.acquire

    def acquired(self, index, runs):
        found = acquire(self, index, runs)
        monkeypatch.setattr(wild.index, "check_in_place", broken)
        return found

    monkeypatch.setattr(bundles.Owner, "acquire", acquired)
    with pytest.raises(StoreError, match="cannot write"):
        bundle_snapshots(wild)
    monkeypatch.undo()
    assert execute and own_files(wild) == before
    assert not list((wild.path / "snapshots").glob("*.zip"))
    assert check_store(wild).problems == []


def test_a_damaged_share_is_named_set_aside_and_trained_again(wild, many):
    run, other = ids(wild)
    last = read_parameters(wild, run, 40)
    before = metrics(wild.path)
    bundle_snapshots(wild)
    spoil(wild, run, 40)
    damaged = bytes(bundle_of(wild).read_bytes())
    (problem,) = check_store(wild).problems
    assert f"{run}/40.safetensors: damaged snapshot" in problem
    assert bundle_of(wild).name in problem
    with pytest.raises(StoreError, match=r"snapshot of run .* missing or damaged .*SHA-256"):
        read_parameters(wild, run, 40)
    assert read_parameters(wild, other, 40)
    _, actions = repair_store(wild)
    assert any("steps 31 to 40" in each.what for each in actions)
    (aside,) = (wild.path / "damaged").rglob("40.safetensors")
    assert aside.read_bytes() in damaged
    assert check_store(wild).problems == []
    train(WILD, wild.path, *ASKED, engine="solo")
    assert metrics(wild.path).equals(before)
    again = read_parameters(wild, run, 40)
    assert all(torch.equal(again[name], last[name]) for name in last)


def test_a_lost_bundle_is_named(wild, many):
    bundle_snapshots(wild)
    bundle_of(wild).unlink()
    problems = check_store(wild).problems
    assert len(problems) == 22
    assert all("its bundle is missing" in each for each in problems)
    with pytest.raises(StoreError, match="missing or damaged"):
        read_parameters(wild, ids(wild)[0], 40)
    repair_store(wild)
    assert check_store(wild).problems == []


def test_a_bundle_that_was_cut_short_is_named(wild, many):
    bundle_snapshots(wild)
    path = bundle_of(wild)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 7 <= len(check_store(wild).problems) <= 15


def test_a_repair_lists_bundled_snapshots_again(wild, many):
    bundle_snapshots(wild)
    with wild.index.transaction() as connection:
        connection.execute("DELETE FROM bundles")
    assert len(check_store(wild).problems) == 22
    _, actions = repair_store(wild)
    assert [each.what for each in actions] == ["listed 22 snapshots again"]
    assert check_store(wild).problems == []


def test_a_name_in_the_index_is_no_path(wild, many):
    bundle_snapshots(wild)
    wild.index._connection.execute("UPDATE bundles SET file = '../../secret.zip'")
    with pytest.raises(StoreError, match="damaged, or ablab did not write it"):
        read_parameters(wild, ids(wild)[0], 40)


def test_two_processes_that_tidy_lose_nothing(wild, many, monkeypatch):
    """The other one has moved everything between the first one's look and its lease."""
    before = bundles.Owner.acquire
    others = []

    def acquire(self, index, runs):
        if not others:
            others.append(Store(wild.path))
            assert bundle_snapshots(others[0]) == 22
        return before(self, index, runs)

    monkeypatch.setattr(bundles.Owner, "acquire", acquire)
    assert bundle_snapshots(wild) == 0
    assert check_store(wild).problems == []
    assert leftovers(wild) == []
    assert own_files(wild) == {}


def test_a_run_that_was_taken_meanwhile_stays(wild, many, monkeypatch):
    """As by --break-leases, while the bundle is written; the other one writes a snapshot anew."""
    first, second = ids(wild)
    path = wild.path / "snapshots" / first / "20.safetensors"
    before = bundles.write_atomically

    def write(to, content, root):
        written = before(to, content, root)
        with wild.index.transaction() as connection:
            connection.execute("UPDATE runs SET owner = 'other' WHERE id = ?", (first,))
        return written

    monkeypatch.setattr(bundles, "write_atomically", write)
    assert bundle_snapshots(wild) == 11
    assert path.is_file()
    assert {name.partition("/")[0] for name in own_files(wild)} == {first}
    assert {row[0] for row in wild.index.rows("SELECT run FROM bundles")} == {second}
    assert check_store(wild).problems == []


def test_a_snapshot_that_was_written_again_meanwhile_stays(wild, many, monkeypatch):
    run = ids(wild)[0]
    path = wild.path / "snapshots" / run / "20.safetensors"
    before = bundles._state
    calls = []

    def state(each):
        calls.append(each)
        return (len(calls),) if each == path else before(each)

    monkeypatch.setattr(bundles, "_state", state)
    assert bundle_snapshots(wild) == 22
    assert list(own_files(wild)) == [f"{run}/20.safetensors"]
    assert check_store(wild).problems == []


def test_a_damaged_copy_does_not_count(wild, many):
    """As of an unzip that was cut short."""
    run = ids(wild)[0]
    last = read_parameters(wild, run, 40)
    bundle_snapshots(wild)
    extract_all(wild)
    path = wild.path / "snapshots" / run / "40.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    assert check_store(wild).problems == []
    again = read_parameters(wild, run, 40)
    assert all(torch.equal(again[name], last[name]) for name in last)
    _, actions = repair_store(wild)
    assert actions == []


def test_a_sound_copy_counts_where_the_bundle_is_damaged(wild, many):
    run = ids(wild)[0]
    last = read_parameters(wild, run, 40)
    bundle_snapshots(wild)
    extract_all(wild)
    spoil(wild, run, 40)
    assert check_store(wild).problems == []
    again = read_parameters(wild, run, 40)
    assert all(torch.equal(again[name], last[name]) for name in last)


def test_killed_while_a_bundled_snapshot_is_written_anew(wild, many):
    """After the new file is in place, and before the index lists it."""
    run = ids(wild)[0]
    bundle_snapshots(wild)
    layout = ParameterLayout.of(initial_model(ablab.open(wild.path).run(run).run))
    state = read_state(wild, run, 20, layout, ["momentum_buffer"])
    write_snapshot(wild, run, replace(state, theta=state.theta + 1), layout, True)
    assert check_store(wild).problems == []
    again = read_state(wild, run, 20, layout, ["momentum_buffer"])
    assert torch.equal(again.theta, state.theta)


def test_what_a_killed_process_had_leased_is_moved(wild, many):
    with wild.index.transaction() as connection:
        connection.execute(
            "INSERT INTO owners VALUES ('gone', ?, 99999999, 1.5, 0.0)", (this_host(),)
        )
        connection.execute("UPDATE runs SET owner = 'gone'")
    assert bundle_snapshots(wild) == 22


@pytest.mark.parametrize(
    ("column", "value"), [("bytes", 2**62), ("bytes", -1), ("offset", 2**62), ("offset", -5)]
)
def test_a_strangers_numbers(wild, many, column, value):
    bundle_snapshots(wild)
    table = "snapshots" if column == "bytes" else "bundles"
    with wild.index.transaction() as connection:
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE step = 40", (value,))
    with pytest.raises(StoreError, match="missing or damaged"):
        read_parameters(wild, ids(wild)[0], 40)
    assert len(check_store(wild).problems) == 2
    repair_store(wild)
    assert check_store(wild).problems == []


def test_a_bundle_with_a_damaged_list(wild, many):
    bundle_snapshots(wild)
    path = bundle_of(wild)
    content = bytearray(path.read_bytes())
    for place in range(len(content) - 400, len(content)):
        content[place] ^= 0x55
    path.write_bytes(content)
    with wild.index.transaction() as connection:
        connection.execute("DELETE FROM bundles WHERE step = 40")
    assert len(check_store(wild).problems) == 2
    repair_store(wild)
    assert check_store(wild).problems == []
