"""When each index was last verified, so that a large one is not verified by every command.

An index of 16 MiB or more (some thousand runs) is verified once for each state of its files (inode,
size and time of the file and of its log); the result is in the user's cache. What ablab itself
writes to a verified index leaves it verified: its rows get their digests in the same transaction.
Anything else that changes the files makes them another state. Bits that change on a disk without
that are found by ``ablab check``, which verifies every row whatever is known.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ablab.config.cache import cache_folder

LARGE_BYTES = 16 * 2**20  # a smaller index is verified by every command
QUICK_SECONDS = 0.1  # an index that takes longer is not verified after every change,
SHARE = 0.05  # but in at most this share of the time
FOLDER = "verified"  # in the user's cache


@dataclass(frozen=True)
class Verified:
    """The last verification of an index.

    Attributes:
        state: The state of its files, from :func:`files_state`.
        when: When it began, in seconds since 1970.
        took: Seconds.
    """

    state: tuple[int, ...]
    when: float
    took: float

    def rests(self) -> bool:
        """Whether so little time has passed that the index is not verified again."""
        return self.took > QUICK_SECONDS and 0 <= time.time() - self.when < self.took / SHARE


_known: dict[Path, Verified] = {}  # by this process


def files_state(path: Path) -> tuple[int, ...]:
    """The inode, size and time of an index and of its log."""
    found: list[int] = []
    for each in (path, path.with_name(path.name + "-wal")):
        try:
            about = each.stat()
        except FileNotFoundError:
            continue
        if about.st_size:  # an empty log is made anew by every reader
            found += [about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns]
    return tuple(found)


def last_verified(path: Path) -> Verified | None:
    """The last verification of an index, by this process or, of a large index, by any."""
    mine = _known.get(path)
    if not is_large(path) or (mine is not None and mine.state == files_state(path)):
        return mine
    return _read(path) or mine


def note_verified(path: Path, found: Verified) -> None:
    """Notes a verification; that of a large index is kept for other processes."""
    _known[path] = found
    if is_large(path):
        _write(path, found)


@contextmanager
def staying_verified(path: Path) -> Iterator[None]:
    """A context in which a large index is changed only in ways that leave a verified one so."""
    before = last_verified(path) if is_large(path) else None
    known = before is not None and before.state == files_state(path)
    yield
    if known:
        assert before is not None
        state = files_state(path)
        if state and state != before.state:
            note_verified(path, Verified(state, before.when, before.took))


def is_large(path: Path) -> bool:
    """Whether an index is too large to be verified by every command."""
    try:
        return path.stat().st_size >= LARGE_BYTES
    except OSError:
        return False


def _file(path: Path) -> Path:
    name = hashlib.sha256(str(path.absolute()).encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return cache_folder() / FOLDER / f"{name}.json"


def _read(path: Path) -> Verified | None:
    """What the cache has of an index; None if that is nothing, or is damaged."""
    try:
        found = json.loads(_file(path).read_text(encoding="utf-8"))
        return Verified(tuple(map(int, found["state"])), float(found["when"]), float(found["took"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, found: Verified) -> None:
    """Replaces what the cache has; without a cache, the next command verifies again."""
    file = _file(path)
    text = json.dumps({"state": found.state, "when": found.when, "took": found.took})
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{time.monotonic_ns()}")
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)
