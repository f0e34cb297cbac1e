"""What travels between a command's store and the stores in which other machines train for it.

A machine trains claimed runs in a store of its own. It starts with what
:func:`ablab.store.outward.outward` takes from the command's store: the experiment, its claimed
runs, and what their training continues from. What it makes goes back in shipments:
:func:`ablab.store.homeward.homeward` collects the files that were not sent yet, with the rows of
the runs as they are now, and :func:`ablab.store.homeward.receive` publishes both in the command's
store.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ablab.config import Problem
from ablab.store.digests import Written, file_digest, write_digested
from ablab.store.index import StoreError
from ablab.store.paths import metrics_path, run_artifact_path, run_snapshot_path
from ablab.store.shares import Share
from ablab.store.store import Store

Kind = Literal["part", "snapshot", "capture", "flight"]
Key = tuple[str, str, str, int, str]
Fetch = Callable[["SentFile", Path], None]


class AlteredError(StoreError):
    """A file from another machine is not what it sent."""


@dataclass(frozen=True)
class SentFile:
    """A file of a shipment.

    Attributes:
        kind: What it is: a metrics part, a snapshot, or a file of a capture or a flight record.
        name: The name of a part; empty for other files, which are known by the following.
        run: The run's id; empty for a part.
        step: The step.
        suffix: The suffix of a file of an artifact.
        bytes: Its size.
        digest: Its SHA-256, hexadecimal.
        shares: The rows by run of a metrics part.
        version: Tells contents of the same name apart: steps that are trained again may write an
            artifact again.
    """

    kind: Kind
    name: str
    run: str
    step: int
    suffix: str
    bytes: int
    digest: str
    shares: tuple[Share, ...] = ()
    version: str = ""

    @property
    def key(self) -> Key:
        """What identifies it and its content."""
        return self.kind, self.name, self.run, self.step, f"{self.suffix} {self.version}"

    def path(self, root: Path) -> Path:
        """Its path in a store's folder."""
        match self.kind:
            case "part":
                return metrics_path(root, self.name)
            case "snapshot":
                return run_snapshot_path(root, self.run, self.step)
            case _:
                return run_artifact_path(root, self.kind, self.run, self.step, self.suffix)


@dataclass(frozen=True)
class Shipment:
    """Rows and files of some runs.

    Attributes:
        runs: The ids of the runs.
        tables: Rows of the index by table, each as a mapping of its columns.
        files: The files, in the order in which they are to be fetched.
        texts: Tokenizers, by their digests.
    """

    runs: tuple[str, ...]
    tables: dict[str, list[dict[str, Any]]]
    files: tuple[SentFile, ...] = ()
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """The size of its files."""
        return sum(each.bytes for each in self.files)


def place_file(store: Store, each: SentFile, fetch: Fetch) -> Written:
    """Writes a file of a shipment, unless the store has it.

    Args:
        store: The store.
        each: The file.
        fetch: Writes its content to a path.

    Raises:
        StoreError: The store cannot be written, or the content is not what was sent.
    """
    path = each.path(store.path)
    if path.is_file() and path.stat().st_size == each.bytes and file_digest(path) == each.digest:
        return Written(path, each.bytes, each.digest)
    return write_digested(store, path, partial(_checked, each, fetch))


def _checked(each: SentFile, fetch: Fetch, to: Path) -> None:
    fetch(each, to)
    if file_digest(to) != each.digest:
        raise AlteredError(
            Problem(
                "a file from another machine is not what it sent (SHA-256)",
                given=f"{each.kind} {each.name or f'{each.run}, step {each.step}'}",
            )
        )


def plain_rows(rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Rows of the index as mappings of their columns."""
    return [dict(row) for row in rows]


def as_json(runs: Sequence[str]) -> str:
    """Ids of runs as SQLite's json_each takes them."""
    return json.dumps(list(runs))
