"""Tidying at the end of a command never costs what was trained."""

import pytest

from ablab.store import Store, StoreError, tidying
from ablab.store.index_repair import _keep_copy
from tests.store.makers import train


def test_a_disk_that_is_too_full_to_tidy_is_said(tmp_path, tiny, monkeypatch, capsys):
    def full(store):
        raise StoreError("not enough disk space")

    monkeypatch.setattr(tidying, "compact", full)
    made = train(tiny, tmp_path / "lab", compile="off")
    assert made.complete and {each.status for each in made.runs} == {"finished"}
    assert "the store was not tidied: not enough disk space" in capsys.readouterr().err
    with pytest.raises(StoreError):
        tidying.Tidying(made.store).now()


def test_a_copy_of_an_index_never_replaces_an_earlier_one(tmp_path):
    lab = tmp_path / "lab"
    store = Store(lab, create=True)
    store.close()
    _keep_copy(lab / "index.sqlite", lab / "damaged")
    _keep_copy(lab / "index.sqlite", lab / "damaged")
    (lab / "damaged" / "index-1.sqlite").unlink()
    (lab / "damaged" / "index-2.sqlite").write_bytes(b"mine")
    for _ in range(2):
        _keep_copy(lab / "index.sqlite", lab / "damaged")
    names = sorted(path.name for path in (lab / "damaged").glob("*.sqlite"))
    assert names == ["index-1.sqlite", "index-2.sqlite", "index-3.sqlite"]
    assert (lab / "damaged" / "index-2.sqlite").read_bytes() == b"mine"


def test_a_copy_is_not_written_through_a_link(tmp_path):
    lab, outside = tmp_path / "lab", tmp_path / "outside"
    Store(lab, create=True).close()
    outside.mkdir()
    (lab / "damaged").symlink_to(outside)
    with pytest.raises(StoreError, match="is a link"):
        _keep_copy(lab / "index.sqlite", lab / "damaged")
    assert list(outside.iterdir()) == []
