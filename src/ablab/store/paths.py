"""Paths of a store's files, made from checked names.

An index may be damaged or a stranger's, so a name in it is not a path: each kind of name has a
form of its own, no file of a store lies outside of its folder, and none is a link.
"""

import re
import stat
from pathlib import Path
from typing import Any

from ablab.config import Problem
from ablab.store.index import StoreError

METRICS, SNAPSHOTS, TOKENIZERS = "metrics", "snapshots", "tokenizers"
LOGBOOK, DAMAGED, SOURCES, FINDINGS = "logbook", "damaged", "sources", "findings"
DEFINITION = "experiment.yaml"  # in the folder of an entry
ARTIFACTS = {"capture": "captures", "flight": "flights"}  # folders by kind
SUFFIXES = {"capture": ("safetensors",), "flight": ("safetensors", "parquet")}

_RUN = re.compile(r"[0-9a-f]{12}")
_PART = re.compile(r"[0-9a-f]{32}\.parquet")
_BUNDLE = re.compile(r"[0-9a-f]{32}\.zip")
_TOKENIZER = re.compile(r"[0-9a-f]{64}\.json")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,200}")  # an experiment's name may be in it
_LARGEST_STEP = 2**63


def metrics_path(root: Path, file: Any) -> Path:
    """The path of a metrics part in a store's folder."""
    return inside(root, METRICS, _checked(root, file, _PART, "a metrics part"))


def run_snapshot_path(root: Path, run: Any, step: Any) -> Path:
    """The path of a run's snapshot of a step."""
    return inside(root, SNAPSHOTS, _run(root, run), f"{_step(root, step)}.safetensors")


def bundle_path(root: Path, file: Any) -> Path:
    """The path of a bundle of snapshots."""
    return inside(root, SNAPSHOTS, _checked(root, file, _BUNDLE, "a bundle of snapshots"))


def run_artifact_path(root: Path, kind: Any, run: Any, step: Any, suffix: str) -> Path:
    """The path of a file of a capture or a flight record."""
    if not isinstance(kind, str) or kind not in ARTIFACTS:
        raise _invalid(root, kind, "a kind of artifact")
    return inside(root, ARTIFACTS[kind], _run(root, run), f"{_step(root, step)}.{suffix}")


def finding_path(root: Path, run: Any, step: Any, key: Any) -> Path:
    """The path of the tables and arrays of a finding."""
    name = f"{_step(root, step)}-{_checked(root, key, _RUN, 'a finding')}.safetensors"
    return inside(root, FINDINGS, _run(root, run), name)


def tokenizer_path(root: Path, digest: Any) -> Path:
    """The path of a tokenizer, by its digest."""
    name = _checked(root, f"{digest}.json", _TOKENIZER, "a tokenizer")
    return inside(root, TOKENIZERS, name)


def entry_path(root: Path, entry: Any, *names: str) -> Path:
    """The path of an entry's folder, or of a file in it."""
    folder = _checked(root, entry, _NAME, "an entry")
    return inside(root, LOGBOOK, folder, *names)


def repeating(root: Path, entry: str) -> tuple[str, str]:
    """The definition in the folder of an entry, and the store's folder.

    Both are paths from the folder that contains the store.
    """
    folder = root.resolve().name
    return f"{folder}/{LOGBOOK}/{entry}/{DEFINITION}", folder


def plain_name(root: Path, name: Any) -> str:
    """A stored experiment's name, which can name a file in any folder.

    Raises:
        StoreError: It cannot: the index is damaged or was written by something else.
    """
    return _checked(root, name, _NAME, "an experiment")


def relative(root: Path, path: Path) -> str:
    """A path as the index knows it: relative to the store, with forward slashes."""
    return path.relative_to(root).as_posix()


def inside(root: Path, *names: str) -> Path:
    """A path below a store's folder.

    Args:
        root: The store's folder, which may itself be reached by a link.
        names: The names of the folders on the way, and of the file or folder.

    Raises:
        StoreError: A name is not a plain name, or something on the way is a link, or is neither a
            folder nor an ordinary file.
    """
    path = root
    for place, name in enumerate(names):
        if name in ("", ".", "..") or any(each in name for each in "/\\\0"):
            raise _invalid(root, name, "a file")
        path = path / name
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(
                Problem(f"a file of the store cannot be used ({error.strerror})", given=str(path))
            ) from error
        last = place == len(names) - 1
        if not stat.S_ISDIR(mode) and not (last and stat.S_ISREG(mode)):
            raise StoreError(
                Problem(
                    "a file of the store is a link"
                    if stat.S_ISLNK(mode)
                    else "a file of the store is not an ordinary file",
                    given=str(path),
                    expected="files and folders of its own, so that nothing outside of the store "
                    "is read or written; the store's folder itself may be a link",
                )
            )
    return path


def _run(root: Path, run: Any) -> str:
    return _checked(root, run, _RUN, "a run")


def _step(root: Path, step: Any) -> int:
    if isinstance(step, bool) or not isinstance(step, int) or not 0 <= step < _LARGEST_STEP:
        raise _invalid(root, step, "a step")
    return step


def _checked(root: Path, name: Any, form: re.Pattern[str], what: str) -> str:
    if not isinstance(name, str) or not form.fullmatch(name):
        raise _invalid(root, name, what)
    return name


def _invalid(root: Path, name: Any, what: str) -> StoreError:
    return StoreError(
        Problem(
            f"the index of {root} is damaged, or ablab did not write it: no name of {what}",
            given=repr(name),
            expected="an index written by ablab; ablab check lists what is damaged",
        )
    )
