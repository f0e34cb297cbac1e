import errno
import os

import pytest

from ablab.config import InputError
from ablab.config.files import (
    PARTIAL,
    WriteError,
    create_atomically,
    write_atomically,
    write_text_atomically,
)


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"

    def write(partial):
        partial.write_bytes(b"half")
        assert not path.exists()
        assert partial.parent == path.parent and partial.name.startswith(PARTIAL)
        with partial.open("ab") as file:
            file.write(b" and half")

    assert write_atomically(path, write) == len(b"half and half")
    assert path.read_bytes() == b"half and half"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.txt"
    write_text_atomically(path, "before")

    def fail(partial):
        partial.write_text("aft")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(WriteError, match=r"cannot write .*a\.txt \(.*No space left"):
        write_atomically(path, fail)
    assert path.read_text() == "before"
    write_text_atomically(path, "äfter")
    assert path.read_text(encoding="utf-8") == "äfter"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_on_disk_before_the_name_is(tmp_path, monkeypatch):
    order = []
    sync, replace = os.fsync, type(tmp_path).replace
    monkeypatch.setattr(
        os, "fsync", lambda file: (order.append(os.fstat(file).st_size), sync(file))
    )
    monkeypatch.setattr(
        type(tmp_path), "replace", lambda *pair: (order.append("renamed"), replace(*pair))
    )
    write_text_atomically(tmp_path / "a.txt", "12345")
    assert order[:2] == [5, "renamed"]
    assert len(order) == 3  # and the folder after it


def test_what_cannot_be_written_is_the_users_to_mend(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot write"):
        write_text_atomically(tmp_path / "file" / "a.txt", "x")
    assert issubclass(WriteError, InputError)


def test_a_writers_own_message_is_kept(tmp_path):
    def fail(partial):
        raise InputError("the moon is too far")

    with pytest.raises(InputError, match=r"^the moon is too far$"):
        write_atomically(tmp_path / "a.txt", fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("links", [True, False])
def test_what_is_there_is_not_replaced(tmp_path, monkeypatch, links):
    if not links:  # as on some network and memory cards' file systems

        def refuse(*pair):
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "a.txt"
    assert create_atomically(path, lambda partial: partial.write_text("first"))
    assert not create_atomically(path, lambda partial: partial.write_text("second"))
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]
