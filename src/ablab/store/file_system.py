"""How an index is opened where it lies: writable, read-only, or on a network file system.

The index is a SQLite file in WAL mode. Its readers and writers share memory, so they have to be on
one machine, and on a network file system it is only read, through a copy if it has a write-ahead
log (https://www.sqlite.org/wal.html). ``ABLAB_NETWORK_STORE=1`` allows writing there.
"""

import os
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

from ablab.config import Problem
from ablab.store.schema import StoreError

OVERRULE = "ABLAB_NETWORK_STORE"
_NETWORK = frozenset(
    {
        "9p",
        "acfs",
        "afpfs",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "cvmfs",
        "drvfs",
        "gfs",
        "gfs2",
    }
    | {"glusterfs", "gpfs", "lustre", "mmfs", "ncpfs", "nfs", "nfs3", "nfs4", "ocfs2", "orangefs"}
    | {"panfs", "prl_fs", "pvfs2", "smb", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs"}
    | {"webdav", "wekafs"}
)
# Of the file systems in user space, only these are known to be on one machine.
_LOCAL_FUSE = frozenset(
    {"fuseblk", "fuse.bindfs", "fuse.encfs", "fuse.exfat", "fuse.ext2", "fuse.fuse-overlayfs"}
    | {"fuse.fuse2fs", "fuse.gocryptfs", "fuse.mergerfs", "fuse.ntfs", "fuse.ntfs-3g"}
    | {"fuse.overlayfs", "fuse.squashfuse", "fuse.zfs"}
)
_VIRTUAL = frozenset({"9p", "virtiofs"})  # at "/", the disk of a virtual machine or a sandbox
_COPIES = 5  # attempts to copy an index that is being written


def file_system(path: Path) -> tuple[str, str]:
    """The type and the mount point of the file system that holds a path; empty if unknown."""
    place = os.path.realpath(path)
    found = ("", "")
    for mount in psutil.disk_partitions(all=True):
        point = mount.mountpoint
        inside = place == point or place.startswith(point.rstrip(os.sep) + os.sep)
        if inside and len(point) >= len(found[1]):  # a later mount hides an earlier one
            remote = "remote" in mount.opts.split(",")  # as psutil says of drives on Windows
            found = ("smb" if remote else mount.fstype, point)
    return found


def is_shared(path: Path) -> bool:
    """Whether processes on other machines may use the store at this path."""
    kind, point = file_system(path)
    kind = kind.lower()
    if kind in _VIRTUAL and point == os.sep:
        return False
    return kind in _NETWORK or (kind.startswith("fuse") and kind not in _LOCAL_FUSE)


def network_problem(path: Path) -> Problem | None:
    """Why an index at this path must not be written; None if it may be.

    Args:
        path: The index or its folder, which need not exist.
    """
    if os.environ.get(OVERRULE, "") not in ("", "0") or not is_shared(path):
        return None
    kind, point = file_system(path)
    return Problem(
        f"cannot write the store's index on a network file system ({kind} at {point}): SQLite's "
        "write-ahead log needs all processes on one machine",
        given=str(path),
        expected=f"a store on a disk of this machine; or {OVERRULE}=1, if no process on another "
        "machine opens the store meanwhile",
    )


@dataclass(frozen=True)
class Opened:
    """An open index.

    Attributes:
        connection: The connection.
        writable: Whether it may write.
        refusal: Why it may not, if the user asked for a connection that may.
    """

    connection: sqlite3.Connection
    writable: bool
    refusal: Problem | None


def connect(path: Path, write: bool) -> Opened:
    """Opens an index in the way in which it can be read, and written if that is wanted.

    Raises:
        StoreError: It can be neither read nor copied.
        sqlite3.DatabaseError: SQLite cannot open it.
    """
    network = network_problem(path)
    allowed = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    if allowed and network is None:
        return Opened(_connect(path, "" if write else "?mode=ro"), write, None)
    refusal = network or Problem(
        "cannot write the store's index (the store is read-only)",
        given=str(path),
        expected="write permission for the store's folder, on a disk that is not read-only",
    )
    if not _log(path).is_file():
        # Needs no lock files, which cannot be made here. Nobody is writing: there would be a log.
        return Opened(_connect(path, "?immutable=1"), False, refusal)
    if network is None:
        try:
            return Opened(_reading(path), False, refusal)
        except sqlite3.OperationalError:  # a log without its shared memory, which cannot be made
            pass
    return Opened(_copy(path), False, refusal)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    name = path.absolute().as_uri() + mode
    return sqlite3.connect(name, timeout=60, isolation_level=None, uri=True)


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _reading(path: Path) -> sqlite3.Connection:
    """A read-only connection that has read the index, log included."""
    connection = _connect(path, "?mode=ro")
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _copy(path: Path) -> sqlite3.Connection:
    """A read-only connection to a copy of an index with its log.

    Raises:
        StoreError: It cannot be copied.
    """
    folder = Path(tempfile.mkdtemp(prefix="ablab-"))
    try:
        for _ in range(_COPIES):
            before = _stamps(path)
            copy = folder / path.name
            shutil.copyfile(path, copy)
            if _log(path).is_file():
                shutil.copyfile(_log(path), _log(copy))
            if _stamps(path) == before:
                break
        return _reading(copy)
    except OSError as error:
        raise StoreError(
            Problem(f"cannot read the store's index ({error})", given=str(path))
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # an open file stays readable


def _stamps(path: Path) -> list[tuple[int, int] | None]:
    """The sizes and times of an index and its log."""
    return [
        (status.st_size, status.st_mtime_ns) if (status := _status(each)) else None
        for each in (path, _log(path))
    ]


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one at the same path; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
