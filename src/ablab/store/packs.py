"""Packs: one experiment with its runs as one file, to be sent to someone.

A pack is a ZIP file with a store of its own: index, metrics, snapshots and what else belongs to the
experiment, and its entry for people without ablab. Reading one extracts files with the names that
stores have, and nothing else; nothing of it is run.
"""

import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ablab.config import InputError, Problem
from ablab.config.files import PARTIAL, write_atomically
from ablab.store.index import StoreError
from ablab.store.paths import (
    ARTIFACTS,
    FINDINGS,
    LOGBOOK,
    METRICS,
    SNAPSHOTS,
    SOURCES,
    TOKENIZERS,
    entry_path,
)
from ablab.store.store import ExperimentRecord, Store
from ablab.store.transfer import Snapshots, Transferred, transfer

SUFFIX = ".ablab.zip"
_ATTEMPTS = 5  # at a store that is being written
_PACKED = (".parquet", ".safetensors", ".png", ".gz", ".zip")  # compressed or incompressible
_RUN_FILE = r"[0-9a-f]{12}/[0-9a-f-]{1,40}\.(safetensors|parquet)"
_NAMES = re.compile(
    rf"index\.sqlite|{METRICS}/[0-9a-f]{{32}}\.parquet|{TOKENIZERS}/[0-9a-f]{{64}}\.json"
    rf"|({'|'.join((SNAPSHOTS, FINDINGS, *ARTIFACTS.values()))})/{_RUN_FILE}"
    rf"|{SOURCES}/[0-9a-z]{{1,128}}\.json|{SOURCES}/[0-9a-z]{{1,128}}/(\w+/)*\w+\.py"
)
_ENTRY = re.compile(rf"{LOGBOOK}/.*")  # for people; made anew from what was read


def pack(store: Store, record: ExperimentRecord, to: Path, snapshots: Snapshots) -> int:
    """Writes an experiment with its runs as a pack; returns its size in bytes.

    Runs may be trained meanwhile: the pack has them as they were at one moment.

    Args:
        store: The store that has the experiment.
        record: The experiment.
        to: The file, which is replaced if it exists.
        snapshots: Which snapshots to include; see :func:`ablab.store.transfer.transfer`.

    Raises:
        StoreError: A file of the store is missing or damaged.
        WriteError: The file cannot be written.
    """
    with _folder_beside(to) as folder:
        for attempt in range(1, _ATTEMPTS + 1):
            root = folder / str(attempt)
            try:
                _copy(store, record, root, snapshots)
                break
            except FileNotFoundError as error:  # merged or superseded meanwhile
                shutil.rmtree(root)
                if attempt == _ATTEMPTS:
                    raise _missing(error) from error
        return write_atomically(to, lambda partial: _zip(root, partial))


def _copy(store: Store, record: ExperimentRecord, root: Path, snapshots: Snapshots) -> None:
    copied = Store(root, create=True)
    try:
        transfer(store, copied, [record], snapshots)
        with copied.index.transaction() as connection:  # one file, without a log beside it
            connection.execute("UPDATE experiments SET entry = ?", (record.entry,))
    finally:
        copied.close()
    if record.entry is not None:
        entry = entry_path(store.path, record.entry)
        if entry.is_dir():
            shutil.copytree(entry, entry_path(root, record.entry), symlinks=True)


def _zip(root: Path, to: Path) -> None:
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(each for each in root.rglob("*") if each.is_file()):
            how = zipfile.ZIP_STORED if path.suffix in _PACKED else zipfile.ZIP_DEFLATED
            file.write(path, path.relative_to(root).as_posix(), how)


def unpack(path: Path, store: Path) -> tuple[Transferred, list[ExperimentRecord]]:
    """Adds what a pack or another store has to a store, which is created if it does not exist.

    Args:
        path: A pack, or the folder of a store.
        store: The folder of the store that gets it.

    Returns:
        What was added, and the experiments as the store has them now.

    Raises:
        InputError: There is no such file, or it is no pack.
        StoreError: A file of it is missing or damaged, or the store cannot be written.
    """
    with _opened(path, store) as source:
        records = source.experiments()
        target = Store(store, create=True)
        try:
            done = transfer(source, target, records, "all")
        except FileNotFoundError as error:
            raise _missing(error) from error
        added = [each for each in target.experiments() if each.id in done.experiments]
        target.close()
        return done, added


@contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """A folder on the disk of a path, until the context ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=path.parent) as folder:
        yield Path(folder)


@contextmanager
def _opened(path: Path, beside: Path) -> Iterator[Store]:
    """A pack, extracted beside a store, or another store; opened for reading."""
    if path.is_dir():
        store = Store(path, write=False)
        try:
            yield store
        finally:
            store.close()
        return
    with _folder_beside(beside) as folder:
        _extract(path, folder)
        store = Store(folder, write=False)
        try:
            yield store
        finally:
            store.close()


def _extract(path: Path, to: Path) -> None:
    """Extracts the files of a pack that a store may have.

    Raises:
        InputError: The file is no pack: it is no ZIP file, or has other files or links.
    """
    try:
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
            names = [each.filename for each in members]
            strange = [each for each in members if not _is_expected(each)]
            if strange or len(set(names)) < len(names) or "index.sqlite" not in names:
                reason = f"it has {strange[0].filename!r:.80}" if strange else "it has no index"
                raise _no_pack(path, reason)
            needed = sum(each.file_size for each in members)
            free = shutil.disk_usage(to).free
            if needed > free:
                raise InputError(
                    Problem(
                        "there is not enough space to unpack it",
                        given=f"{needed / 1e9:.1f} GB in {path}, {free / 1e9:.1f} GB free in {to}",
                        expected="more space",
                    )
                )
            for each in members:
                if _NAMES.fullmatch(each.filename):
                    file.extract(each, to)  # reads no more than the size that it declares
    except FileNotFoundError as error:
        raise InputError(Problem("there is no such file", given=str(path))) from error
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, EOFError) as error:
        raise _no_pack(path, str(error)) from error


def _is_expected(member: zipfile.ZipInfo) -> bool:
    """Whether a member of a pack is an ordinary file with a name that a store's files have."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    name = member.filename
    known = _NAMES.fullmatch(name) or _ENTRY.fullmatch(name)
    return bool(known) and kind in (0, stat.S_IFREG) and ".." not in name.split("/")


def _no_pack(path: Path, reason: str) -> InputError:
    return InputError(
        Problem(
            f"this is no pack of ablab's ({reason})",
            given=str(path),
            expected="a file that ablab pack has written, or the folder of a store",
        )
    )


def _missing(error: FileNotFoundError) -> StoreError:
    return StoreError(
        Problem(
            "a file of the store is missing",
            given=str(error.filename),
            expected="a complete store; ablab check lists what is damaged",
        )
    )
