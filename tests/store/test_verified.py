"""A large index is verified once for each state of its files, and other changes are noticed."""

import shutil
import sqlite3

import pytest

import ablab
from ablab.store import Store, StoreError, verified
from ablab.store.check import check_store
from tests.read.filled import grid


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A store that counts as large, and was verified by another process."""
    monkeypatch.setattr(verified, "LARGE_BYTES", 0)
    monkeypatch.setattr(verified, "QUICK_SECONDS", -1.0)
    monkeypatch.setenv("ABLAB_CACHE", str(tmp_path / "cache"))
    store = Store(tmp_path / "lab", create=True)
    store.register(ablab.experiment(grid(steps=20, seeds=4)), "ablab run x", {})
    store.close()
    Store(tmp_path / "lab").close()
    verified._known.clear()
    return tmp_path / "lab"


@pytest.fixture
def verifications(monkeypatch):
    """The verifications from here on."""
    found = []

    def count(connection, with_digests):
        found.append(True)
        return iter(())

    monkeypatch.setattr("ablab.store.row_digests.damaged_rows", count)
    return found


def elapse(monkeypatch):
    """From now on, enough time has passed to verify a changed index again."""
    monkeypatch.setattr(verified, "SHARE", 1e9)


def write_with_another_tool(path):
    connection = sqlite3.connect(path / "index.sqlite")
    with connection:
        connection.execute("UPDATE runs SET seed = seed + 1 WHERE rowid = 1")
    connection.close()


def test_an_unchanged_index_is_not_verified_by_every_process(lab, verifications, monkeypatch):
    elapse(monkeypatch)
    for _ in range(3):
        Store(lab).close()
        verified._known.clear()
    assert verifications == []


def test_what_ablab_writes_leaves_it_verified(lab, verifications, monkeypatch):
    elapse(monkeypatch)
    store = Store(lab)
    store.note(1, "a note")
    verified._known.clear()
    other = Store(lab)
    other.note(1, "another")
    store.note(1, "a third")
    other.close()
    store.close()  # moves the log into the file
    verified._known.clear()
    Store(lab, write=False).close()
    assert verifications == []
    assert len(Store(lab).notes(1)) == 3


def test_a_transaction_that_fails_leaves_it_verified(lab, verifications, monkeypatch):
    elapse(monkeypatch)
    store = Store(lab)
    with pytest.raises(RuntimeError), store.index.transaction() as connection:
        connection.execute("UPDATE runs SET step = 1")
        raise RuntimeError
    store.close()
    verified._known.clear()
    Store(lab).close()
    assert verifications == []


def test_what_another_tool_changes_is_noticed(lab, monkeypatch):
    elapse(monkeypatch)
    write_with_another_tool(lab)
    with pytest.raises(StoreError, match="differs from what was written"):
        Store(lab)


def test_a_transaction_does_not_hide_what_another_tool_changed(lab, monkeypatch):
    store = Store(lab)
    write_with_another_tool(lab)
    store.note(1, "a note")
    store.close()
    verified._known.clear()
    elapse(monkeypatch)
    with pytest.raises(StoreError, match="differs from what was written"):
        Store(lab)


def test_a_changed_index_rests_for_a_while(lab, verifications, monkeypatch):
    monkeypatch.setattr(verified, "SHARE", 1e-9)
    write_with_another_tool(lab)
    Store(lab).close()
    assert verifications == []
    elapse(monkeypatch)
    Store(lab).close()
    assert verifications == [True]


def test_a_copy_or_another_file_is_verified(lab, verifications, tmp_path, monkeypatch):
    elapse(monkeypatch)
    shutil.copytree(lab, tmp_path / "copy")
    Store(tmp_path / "copy").close()
    assert verifications == [True]
    verified._known.clear()
    shutil.copy2(lab / "index.sqlite", lab / "other")
    (lab / "other").replace(lab / "index.sqlite")
    Store(lab).close()
    assert verifications == [True, True]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": "x", "when": 1, "took": 2}', "{}"])
def test_without_a_note_in_the_cache_it_is_verified(lab, verifications, monkeypatch, text):
    elapse(monkeypatch)
    (file,) = (lab.parent / "cache" / verified.FOLDER).iterdir()
    file.write_text(text)
    Store(lab).close()
    assert verifications == [True]


def test_a_check_verifies_every_row_whatever_is_known(lab, monkeypatch):
    store = Store(lab, verify=False)
    assert check_store(store).problems == []
    write_with_another_tool(lab)
    state = verified.files_state(lab / "index.sqlite")
    verified.note_verified(lab / "index.sqlite", verified.Verified(state, 0.0, 1.0))
    Store(lab).close()  # which is why it is only a note
    assert "differs from what was written" in check_store(store).problems[0]


def test_a_small_index_is_verified_by_every_process(lab, verifications, monkeypatch):
    monkeypatch.setattr(verified, "LARGE_BYTES", 2**30)
    shutil.rmtree(lab.parent / "cache")
    Store(lab).close()
    verified._known.clear()
    Store(lab).close()
    assert verifications == [True, True]
    assert not (lab.parent / "cache").exists()
