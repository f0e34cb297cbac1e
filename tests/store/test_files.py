import errno

import pytest

from ablab.config.files import WriteError
from ablab.store import StoreError
from ablab.store.files import write_atomically, write_text_atomically


def test_a_failed_write_is_the_stores_error(tmp_path):
    def fail(partial):
        partial.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreError, match=r"cannot write .*a\.bin \(.*No space left") as caught:
        write_atomically(tmp_path / "a.bin", fail)
    assert isinstance(caught.value.__cause__, WriteError)
    assert list(tmp_path.iterdir()) == []


def test_files_of_the_store_are_written(tmp_path):
    assert write_atomically(tmp_path / "b" / "a.bin", lambda to: to.write_bytes(b"123")) == 3
    write_text_atomically(tmp_path / "b" / "a.txt", "é")
    assert (tmp_path / "b" / "a.txt").read_bytes() == "é".encode()
