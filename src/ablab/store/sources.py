"""Copies of users' modules, so that a run's model can be built from the code that trained it.

``sources/DIGEST/`` has the files as they were when a run with that digest was registered, under
the names of their modules, and ``sources/DIGEST.json`` lists them. The list is written last. The
code of installed packages is not copied; its digests are in the list.
"""

import hashlib
import json
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ablab.config import InputError, Problem, SourceDigest, component_source
from ablab.config.archived_modules import ArchivedFile, add_archived
from ablab.config.local_imports import find_module, is_installed, local_files
from ablab.config.source_digest import digest_of
from ablab.config.syntax import syntax_digest
from ablab.store.files import write_atomically, write_text_atomically
from ablab.store.index import StoreError

Source = Literal["stored", "current"]
"""``stored``: the code that trained a run; ``current``: the code that can be imported now."""

_FOLDER = "sources"
_NAMED_BY = ("kind", "call")  # the settings whose source is stored beside them as ``source``
_MAX_BYTES = 16 * 2**20  # of a file: more is no module


@dataclass(frozen=True)
class ArchivedSource:
    """What the store has of a component's source.

    Attributes:
        digest: Its digest.
        former: Its digest in earlier releases; None if that was one of another module.
        roots: The names of the modules from which its files were found.
        files: The digests of all its files, by the names of their modules.
        copies: The paths of the copies within the folder, by the names of their modules.
    """

    digest: str
    former: str | None
    roots: tuple[str, ...]
    files: dict[str, str]
    copies: dict[str, str]


def archive_sources(store: Path, digests: Iterable[SourceDigest]) -> None:
    """Keeps copies of components' sources, unless the store has them.

    Raises:
        StoreError: They cannot be written.
    """
    for digest in dict.fromkeys(digests):
        listed = store / _FOLDER / f"{digest}.json"
        if listed.is_file():
            continue
        copied = [
            file
            for file in digest.files
            if file.path.suffix == ".py"
            and (file.module.startswith("ablab.") or not is_installed(file.module, file.path))
        ]
        for file in copied:
            path = store / _FOLDER / digest / file.archived_as
            write_atomically(path, partial(_write, file.content))
        about = {
            "digest": digest,
            "former": digest.former,
            "roots": list(digest.roots),
            "files": {file.module: file.digest for file in digest.files},
            "copies": {file.module: file.archived_as for file in copied},
        }
        write_text_atomically(listed, json.dumps(about, indent=1))


def _write(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def source_files(store: Path) -> list[Path]:
    """All files of archived sources: the lists, and the copies that they name."""
    files = []
    for listed in sorted((store / _FOLDER).glob("*.json")):
        files.append(listed)
        try:
            archived = _read(store, listed.stem)
        except StoreError:  # a check of the list itself says so
            continue
        if archived is not None:
            files += [listed.with_suffix("") / each for each in archived.copies.values()]
    return files


def archived_source(store: Path, digest: str) -> ArchivedSource | None:
    """What the store has of a source, by its digest in this or in earlier releases.

    Raises:
        StoreError: The list of its files is damaged.
    """
    found = _read(store, digest)
    if found is not None:
        return found
    for listed in sorted((store / _FOLDER).glob("*.json")):
        other = _read(store, listed.stem)
        if other is not None and other.former == digest:
            return other
    return None


def copy_source(store: Path, to: Path, digest: str) -> None:
    """Copies what one store has of a source to another store; nothing of it is run.

    Raises:
        StoreError: A file is damaged, or cannot be written.
    """
    archived = archived_source(store, digest)
    if archived is None or (to / _FOLDER / f"{archived.digest}.json").is_file():
        return
    for module, file in _copies(store, archived).items():
        path = to / _FOLDER / archived.digest / archived.copies[module]
        write_atomically(path, partial(_write, file.content))
    listed = f"{archived.digest}.json"
    about = json.loads(_content(store, listed))
    root = archived.copies.get(archived.roots[0]) if archived.roots else None
    own = None if root is None else _content(store, f"{archived.digest}/{root}")
    if own is None or hashlib.sha256(own).hexdigest() != archived.former:
        about["former"] = None  # else the copy could stand for another module of earlier releases
    write_text_atomically(to / _FOLDER / listed, json.dumps(about, indent=1))


def sources_in(data: Any) -> dict[str, str]:
    """The digests of users' components in a stored trajectory, by their import paths."""
    found: dict[str, str] = {}
    if isinstance(data, list):
        for value in data:
            found |= sources_in(value)
    if not isinstance(data, dict):
        return found
    for key, value in data.items():
        found |= sources_in(value)
        names = _NAMED_BY if key == "source" else (key.removesuffix("_source"),)
        named = next((data[name] for name in names if name in data and name != key), None)
        path = named.get("kind") if isinstance(named, dict) else named
        if isinstance(path, str) and ":" in path and isinstance(value, str):
            found[path] = value
    return found


def archived_texts(store: Path, trajectories: Iterable[Any]) -> dict[str, str]:
    """The copied source files of the components of runs, as text, by their paths below a folder.

    Sources of which the store has no copy, and damaged ones, are left out.

    Args:
        store: The folder of the store.
        trajectories: The runs' stored trajectories.
    """
    digests = dict.fromkeys(d for each in trajectories for d in sources_in(each).values())
    found: dict[str, str] = {}
    for digest in digests:
        try:
            archived = archived_source(store, digest)
            if archived is not None:
                for module, file in _copies(store, archived).items():
                    found[archived.copies[module]] = file.content.decode()
        except (StoreError, UnicodeDecodeError):
            continue
    return found


def archived_packages(store: Path, run: str, trajectory: Any, source: Source) -> dict[str, str]:
    """Decides from where to import the components of a run.

    Nothing is imported unless its source has the run's digest.

    Args:
        store: The folder of the store.
        run: The run's id, for errors.
        trajectory: The run's stored trajectory.
        source: Whether to use the code that trained the run, or the code that is there now.

    Returns:
        The package of the archived copy for each import path that is not to be imported as usual.

    Raises:
        InputError: A source that trained the run is neither importable nor in the store.
    """
    if source not in ("stored", "current"):
        raise InputError(
            Problem("source has a wrong value", "source", given=source, expected="stored, current")
        )
    packages: dict[str, str] = {}
    for path, digest in sources_in(trajectory).items():
        if source == "current":
            continue
        archived = archived_source(store, digest)
        if _is_current(path, digest, archived):
            continue
        if archived is None or not _is_complete(archived):
            raise InputError(_lacking(run, path, digest, archived))
        packages[path] = add_archived(archived.digest, _copies(store, archived))
    return packages


def _is_current(path: str, digest: str, archived: ArchivedSource | None) -> bool:
    """Whether the code that importing a path would run, or has run, has a digest."""
    module = path.partition(":")[0]
    roots = (module,) if archived is None else archived.roots
    files: dict[str, str] = {}
    for root in roots:
        place = find_module(root)
        if place is None:
            return False
        files |= {file.module: file.digest for file in local_files(root, place)}
    if archived is not None:  # its digest in this release, whatever the run was trained with
        digest = archived.digest
    place = find_module(module)
    formerly = archived is None and place is not None and _hash(place) == digest
    if digest_of(files) != digest and not formerly:
        return False
    imported = component_source(path, path)  # earlier in this process, perhaps from elsewhere
    return digest in (imported, imported.former if formerly else imported)


def _hash(path: Path) -> str:
    """By this, earlier releases knew a module."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _is_complete(archived: ArchivedSource) -> bool:
    """Whether the copies, together with installed packages as they are now, are all its files."""
    for module, digest in archived.files.items():
        if module not in archived.copies:
            place = find_module(module)
            if place is None or syntax_digest(place.read_bytes()) != digest:
                return False
    return bool(archived.copies)


def _lacking(run: str, path: str, digest: str, archived: ArchivedSource | None) -> Problem:
    place = find_module(path.partition(":")[0])
    where = f"in {Path.cwd()} or among the installed packages"
    lacks = "no copy of it" if archived is None else "only a part of it"
    return Problem(
        f"the code of {path} is not the code that trained run {run}",
        path,
        given=f"no module {path.partition(':')[0]} {where}" if place is None else str(place),
        expected=f"the source with the digest {digest[:12]}…, of which the store has {lacks}; "
        "to use the code as it is now: --source current (in Python, source='current')",
    )


def _copies(store: Path, archived: ArchivedSource) -> Mapping[str, ArchivedFile]:
    """The copies of a source, verified.

    Raises:
        StoreError: A copy is missing or damaged.
    """
    found = {}
    for module, name in archived.copies.items():
        content = _content(store, f"{archived.digest}/{name}")
        if syntax_digest(content) != archived.files.get(module):
            raise _damaged(store / _FOLDER / archived.digest / name, "not the source of the run")
        path = store / _FOLDER / archived.digest / name
        found[module] = ArchivedFile(path, content, path.stem == "__init__")
    return found


def _read(store: Path, digest: str) -> ArchivedSource | None:
    """The list of a source's files; None if there is none.

    Raises:
        StoreError: It is damaged.
    """
    plain = digest.isalnum() and digest.isascii()
    path = store / _FOLDER / f"{digest}.json"
    if not plain or not path.exists():
        return None
    try:
        about = json.loads(_content(store, f"{digest}.json"))
        archived = ArchivedSource(
            str(about["digest"]),
            about["former"],
            tuple(map(str, about["roots"])),
            {str(module): str(each) for module, each in about["files"].items()},
            {str(module): str(name) for module, name in about["copies"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, StoreError):
            raise
        raise _damaged(path, "not a list of sources") from error
    named_well = all(_is_name(module, name) for module, name in archived.copies.items())
    if archived.digest != digest or digest_of(archived.files) != digest or not named_well:
        raise _damaged(path, "not the list of this source")
    return archived


def _is_name(module: str, name: str) -> bool:
    """Whether a copy's name is that of its module, which cannot lead out of the folder."""
    parts = module.split(".")
    inside = "/".join(parts)
    return all(part.isidentifier() for part in parts) and name in (
        f"{inside}.py",
        f"{inside}/__init__.py",
    )


def _content(store: Path, name: str) -> bytes:
    """The content of a file of the folder of sources.

    Raises:
        StoreError: It is missing, a link or in a linked folder, not a plain file, or too large.
    """
    path = store / _FOLDER / name
    places = [path, *path.parents][: len(Path(name).parts) + 1]
    try:
        about = path.lstat()
        if any(place.is_symlink() for place in places):
            raise _damaged(path, "it is a link, or in a linked folder")
        if not stat.S_ISREG(about.st_mode) or about.st_size > _MAX_BYTES:
            raise _damaged(path, "it is not a source file")
        return path.read_bytes()
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error


def _damaged(path: Path, reason: str) -> StoreError:
    return StoreError(
        Problem(
            f"an archived source is missing or damaged ({reason})",
            given=str(path),
            expected="the file as ablab wrote it; or --source current (in Python, "
            "source='current'), which uses the code as it is now",
        )
    )
