"""Where a store can be written and where it is only read."""

import shutil
from types import SimpleNamespace

import psutil
import pytest

from ablab.store import Store, StoreError
from ablab.store import file_system as places
from ablab.store.file_system import is_shared
from tests.cli.command import run_command
from tests.store.makers import train


@pytest.fixture
def mounts(monkeypatch, tmp_path):
    """Sets the type of the file system at the test's folder."""

    def mount(kind, point=tmp_path, opts="rw"):
        table = [("ext4", "/", "rw"), (kind, str(point), opts)]
        rows = [SimpleNamespace(fstype=k, mountpoint=p, opts=o) for k, p, o in table]
        monkeypatch.setattr(psutil, "disk_partitions", lambda all: rows)

    monkeypatch.delenv("ABLAB_NETWORK_STORE", raising=False)
    return mount


@pytest.mark.parametrize(
    ("kind", "shared"),
    [
        *((kind, True) for kind in ("nfs4", "cifs", "smb3", "fuse.sshfs", "lustre", "gpfs", "9p")),
        *((kind, True) for kind in ("virtiofs", "ceph", "fuse.s3fs")),
        *((kind, False) for kind in ("ext4", "xfs", "tmpfs", "overlay", "zfs", "fuseblk", "apfs")),
    ],
)
def test_file_systems(mounts, tmp_path, kind, shared):
    mounts(kind)
    assert is_shared(tmp_path / "lab" / "index.sqlite") == shared
    assert not is_shared(tmp_path.parent)


def test_the_nearest_mount_counts_and_the_root_of_a_virtual_machine_is_its_own(mounts, tmp_path):
    mounts("nfs4", tmp_path / "net")
    assert is_shared(tmp_path / "net") and not is_shared(tmp_path / "network")
    mounts("9p", "/")
    assert not is_shared(tmp_path)
    mounts("NTFS", opts="rw,remote")
    assert is_shared(tmp_path)


def test_nothing_is_written_on_a_network_file_system(mounts, tmp_path, tiny, monkeypatch):
    mounts("nfs4")
    asked = tmp_path / "tiny.yaml"
    asked.write_text("{task: addition, train: {steps: 2}}")
    code, _, err = run_command("run", str(asked), "--store", str(tmp_path / "lab"))
    assert (code, err.count("error:")) == (2, 1)
    assert f"network file system (nfs4 at {tmp_path})" in err and "ABLAB_NETWORK_STORE=1" in err
    assert not (tmp_path / "lab" / "index.sqlite").exists()
    monkeypatch.setenv("ABLAB_NETWORK_STORE", "1")
    train(tiny, tmp_path / "lab", "seeds=1", "train.steps=2")


def test_what_is_on_a_network_file_system_is_read(mounts, tmp_path, tiny):
    made = train(tiny, tmp_path / "lab", "seeds=1", "train.steps=2")
    mounts("cifs")
    assert (tmp_path / "lab" / "index.sqlite-wal").stat().st_size > 0  # `made` is open
    store = Store(tmp_path / "lab")
    assert {run.status for run in store.runs()} == {"finished"}
    assert store.experiment("tiny").question == tiny["question"]
    with pytest.raises(StoreError, match="network file system"):
        store.note(store.experiment("tiny").id, "no")
    for arguments in (["runs"], ["check"], ["read", "tiny"], ["metrics", "tiny"]):
        code, _, err = run_command(*arguments, "--store", str(tmp_path / "lab"))
        assert (code, err) == (0, "")
    for arguments in (["note", "tiny", "text"], ["replay", made.runs[0].run]):
        code, _, err = run_command(*arguments, "--store", str(tmp_path / "lab"), "--quiet")
        assert (code, "network file system" in err) == (2, True)
    store.close()
    made.store.close()
    assert Store(tmp_path / "lab").runs()[0].status == "finished"  # without a log


def test_a_log_that_nobody_can_share_is_read(tmp_path, tiny, monkeypatch):
    """As of a store that a killed process left, now on a read-only disk."""
    made = train(tiny, tmp_path / "lab", "seeds=1", "train.steps=2")
    shutil.copytree(tmp_path / "lab", tmp_path / "left")
    (tmp_path / "left" / "index.sqlite-shm").unlink()
    monkeypatch.setattr(places.os, "access", lambda path, mode: False)
    monkeypatch.setattr(places, "_reading", _unless_in(tmp_path / "left", places._reading))
    before = sorted(path.name for path in (tmp_path / "left").iterdir())
    left = Store(tmp_path / "left")
    assert [run.status for run in left.runs()] == ["finished", "finished"]
    with pytest.raises(StoreError, match="the store is read-only"):
        left.note(1, "no")
    assert sorted(path.name for path in (tmp_path / "left").iterdir()) == before
    made.store.close()


def _unless_in(folder, reading):
    """SQLite cannot make the log's shared memory in a folder."""

    def read(path):
        if path.parent == folder:
            raise places.sqlite3.OperationalError("unable to open database file")
        return reading(path)

    return read
