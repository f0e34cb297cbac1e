"""Packs: one experiment with its runs as one file, to be sent to someone.

A pack is a ZIP file with a store of its own: index, metrics, snapshots and what else belongs to the
experiment, and its entry for people without ablab. Reading one extracts files with the names that
stores have, and nothing else; nothing of it is run.
"""

import re
import stat
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ablab.config import InputError, Problem, check_path
from ablab.config.files import PARTIAL, write_atomically
from ablab.experiments.tuned_cells import digest_of_trials
from ablab.store.artifacts import check_space
from ablab.store.file_system import network_problem
from ablab.store.files import ZIP_DAMAGE
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
from ablab.store.transfer import Snapshots, transfer
from ablab.store.transferred import Transferred

SUFFIX = ".ablab.zip"
_INCOMPRESSIBLE = (".parquet", ".safetensors", ".png")
_RUN_FILE = r"[0-9a-f]{12}/[0-9a-f-]{1,40}\.(safetensors|parquet)"
_NAMES = re.compile(
    rf"index\.sqlite|{METRICS}/[0-9a-f]{{32}}\.parquet|{TOKENIZERS}/[0-9a-f]{{64}}\.json"
    rf"|({'|'.join((SNAPSHOTS, FINDINGS, *ARTIFACTS.values()))})/{_RUN_FILE}"
    rf"|{SOURCES}/[0-9a-z]{{1,128}}\.json|{SOURCES}/[0-9a-z]{{1,128}}/(\w+/)*\w+\.py"
)
_ENTRY = re.compile(rf"{LOGBOOK}/.*")  # for people; made anew from what was read


def pack(
    store: Store, record: ExperimentRecord, to: Path, snapshots: Snapshots
) -> tuple[int, Transferred]:
    """Writes an experiment with its runs as a pack; returns its size in bytes and what is in it.

    The trials by which it was tuned are in it, too.

    Runs may be trained meanwhile: the data are those of one moment. A run whose metrics or last
    snapshot are lost is in it as a planned one.

    Args:
        store: The store that has the experiment.
        record: The experiment.
        to: The file, which is replaced if it exists.
        snapshots: Which snapshots to include; see :func:`ablab.store.transfer.transfer`.

    Raises:
        InputError: The file cannot be written.
        StoreError: A file of the store is missing or damaged.
    """
    with _temporary_folder(to) as root:
        copied = Store(root, create=True)
        try:
            done = transfer(store, copied, [*_trials(store, record), record], snapshots)
            with copied.index.transaction() as connection:
                connection.execute(
                    "UPDATE experiments SET entry = ? WHERE name = ?", (record.entry, record.name)
                )
        finally:
            copied.close()
        entry = [] if record.entry is None else _entry_files(store.path, record.entry)
        size = write_atomically(to, lambda partial: _zip(root, store.path, entry, partial))
        return size, done


def _trials(store: Store, record: ExperimentRecord) -> list[ExperimentRecord]:
    """The experiment by which an experiment was tuned, if it was and the store has it."""
    digest = digest_of_trials(record.definition)
    found = None if digest is None else store.experiment_of_digest(digest)
    return [] if found is None else [found]


def _entry_files(store: Path, entry: str) -> list[Path]:
    """The ordinary files of an entry; links are left out."""
    folder = entry_path(store, entry)
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not path.name.startswith(PARTIAL)
        and not any(each.is_symlink() for each in (path, *path.parents) if each != store)
    )


def _zip(root: Path, store: Path, entry: Iterable[Path], to: Path) -> None:
    files = {path.relative_to(root): path for path in sorted(root.rglob("*")) if path.is_file()}
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as file:
        for name, path in files.items():
            how = zipfile.ZIP_STORED if name.suffix in _INCOMPRESSIBLE else zipfile.ZIP_DEFLATED
            file.write(path, name.as_posix(), how)
        for path in entry:
            with suppress(FileNotFoundError):  # written anew just now
                file.write(path, path.relative_to(store).as_posix())


def unpack(path: Path, store: Path) -> tuple[Transferred, list[ExperimentRecord]]:
    """Adds what a pack or another store has to a store, which is created if it does not exist.

    Args:
        path: A pack, or the folder of a store.
        store: The folder of the store that gets it.

    Returns:
        What was added, and the experiments as the store has them now.

    Raises:
        InputError: There is no such file, it is not a pack, or there is not enough space.
        StoreError: A file of it is missing or damaged, or the store cannot be written.
    """
    with _opened(path, store) as source:
        target = Store(store, create=True)
        try:
            done = transfer(source, target, source.experiments(), "all")
            added = [each for each in target.experiments() if each.id in done.experiments]
        finally:
            target.close()
        return done, added


@contextmanager
def _temporary_folder(path: Path) -> Iterator[Path]:
    """A folder beside a path, or elsewhere if that is on another machine's disk.

    Raises:
        InputError: It cannot be made.
    """
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        beside = None if network_problem(path.absolute().parent) else path.absolute().parent
        temporary = tempfile.TemporaryDirectory(prefix=PARTIAL, dir=beside)
    except OSError as error:
        raise InputError(
            Problem(f"cannot write here ({error.strerror})", given=str(path.parent))
        ) from error
    with temporary as folder:
        yield Path(folder)


@contextmanager
def _opened(path: Path, beside: Path) -> Iterator[Store]:
    """A pack, extracted beside a store, or another store; opened for reading."""
    check_path(path)
    if path.is_dir():
        store = Store(path, write=False)
        try:
            yield store
        finally:
            store.close()
        return
    _check_members(path, beside)
    with _temporary_folder(beside) as folder:
        _extract(path, folder)
        store = Store(folder, write=False)
        try:
            yield store
        finally:
            store.close()


def _check_members(path: Path, beside: Path) -> None:
    """Checks that a file is a pack and that there is space for its content, twice.

    Raises:
        InputError: It is not a pack: no ZIP file, or with other files or links; or no space.
        StoreError: There is not enough space.
    """
    try:
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
    except FileNotFoundError as error:
        raise InputError(Problem("there is no such file", given=str(path))) from error
    except PermissionError as error:
        raise InputError(Problem("the file cannot be read", given=str(path))) from error
    except ZIP_DAMAGE as error:
        raise _not_a_pack(path, str(error)) from error
    names = [each.filename for each in members]
    strange = [each for each in members if not _is_expected(each)]
    if strange or len(set(names)) < len(names) or "index.sqlite" not in names:
        reason = f"it has {strange[0].filename!r:.80}" if strange else "it has no index"
        raise _not_a_pack(path, reason)
    check_space(beside, 2 * sum(each.file_size for each in members), "content of the pack")


def _extract(path: Path, to: Path) -> None:
    """Extracts the files that a store has, no more of each than the size that it declares.

    Raises:
        InputError: The file is damaged.
        StoreError: They cannot be written.
    """
    try:
        with zipfile.ZipFile(path) as file:
            for each in file.infolist():
                if _NAMES.fullmatch(each.filename):
                    file.extract(each, to)
    except ZIP_DAMAGE as error:
        raise _not_a_pack(path, str(error)) from error
    except OSError as error:
        raise StoreError(Problem(f"cannot unpack ({error.strerror})", given=str(to))) from error


def _is_expected(member: zipfile.ZipInfo) -> bool:
    """Whether a member of a pack is an ordinary file with a name that a store's files have."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    name = member.filename
    known = _NAMES.fullmatch(name) or _ENTRY.fullmatch(name)
    compressed = member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    return bool(known) and compressed and kind in (0, stat.S_IFREG) and ".." not in name.split("/")


def _not_a_pack(path: Path, reason: str) -> InputError:
    return InputError(
        Problem(
            f"this is not an ablab pack ({reason})",
            given=str(path),
            expected="a file that ablab pack has written, or the folder of a store",
        )
    )
