"""Leases: one process at a time owns a run, and a dead process loses its runs."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

from ablab.config import Problem
from ablab.store.file_system import is_shared
from ablab.store.index import Index, StoreError
from ablab.store.processes import (
    boot_of,
    is_by_clock,
    is_running,
    is_stopped,
    name_of,
    start_by_clock,
    start_time,
    this_host,
)

HEARTBEAT_SECONDS = 10.0
SILENT_SECONDS = 60.0  # where a process cannot be looked up, it is dead if silent for this long
_active: set[str] = set()  # the owners in this process; others of its id were not released


@dataclass(frozen=True)
class Holder:
    """A process that owns runs.

    Attributes:
        token: Its name as an owner.
        host: Where its id is valid; see :func:`ablab.store.processes.this_host`.
        pid: Its id.
        started: Its start time; see :func:`ablab.store.processes.start_time`.
        heartbeat: The last sign of life, by its own clock.
    """

    token: str
    host: str
    pid: int
    started: float
    heartbeat: float

    def is_alive(self, shared: Callable[[], bool]) -> bool | None:
        """Whether the process is alive; None if that cannot be known from here.

        Args:
            shared: Whether processes on other machines may use the store.
        """
        if self.host == this_host():
            ended = self.pid == os.getpid() and self.token not in _active
            return is_running(self.pid, self.started) and not ended
        if is_by_clock(self.host):
            own = name_of(self.host) == name_of(this_host())
            return is_running(self.pid, self.started, by_clock=True) if own else None
        if boot_of(self.host) != boot_of(this_host()) and not shared():
            return False  # a local disk belongs to one machine, which was restarted since
        return None  # on another machine, or in another container of this one

    def __str__(self) -> str:
        here = self.host == this_host()
        began = start_by_clock(self.pid) if here else None
        since = f" since {_clock(began)}" if began is not None else ""
        seen = f", last heard of at {_clock(self.heartbeat)}" if not here else ""
        stopped = ", which is stopped (kill -CONT continues it)" if here and self.stopped else ""
        return f"process {self.pid} on {name_of(self.host)}{since}{seen}{stopped}"

    @property
    def stopped(self) -> bool:
        """Whether the process, which is on this machine, is stopped."""
        return is_stopped(self.pid)


class Owner:
    """This process as an owner of runs; a context manager that releases its runs on exit.

    A thread with its own connection renews the heartbeat, by which processes that cannot look this
    one up see that it is alive. They compare heartbeats with each other, never with a clock.

    Where other machines train for this process, it leases each claim's runs by a token of the
    claim's own (:meth:`lend`). What such a machine sends is published only while its claim's token
    has the runs, so that a machine which was given up publishes nothing.

    Args:
        path: The store's index.
    """

    def __init__(self, path: Path) -> None:
        self.token = uuid4().hex
        self._tokens = {self.token}
        self._path = path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._heard: dict[str, tuple[float, float]] = {}  # heartbeat and when it was first seen

    def __enter__(self) -> "Owner":
        self._index = Index(self._path, create=False, verify=False)
        self._add(self._index, self.token)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        # Where the store is gone or the disk is full, that is already known. The leases end with
        # this process.
        for token in list(self._tokens):
            with suppress(StoreError):
                self.end(self._index, token)
        self._index.close()

    def acquire(self, index: Index, runs: Sequence[str]) -> list[str]:
        """Takes the runs that no live process owns, and returns them.

        A process that cannot be looked up counts as alive until its heartbeat has not changed for
        60 seconds in which this process was watching it.
        """
        with index.transaction() as connection:
            owners = _owners_of(index, runs)
            living = {each.token for each in holders(index) if self._is_alive(index, each)}
            taken = [
                run
                for run in runs
                if owners[run] in (None, self.token) or owners[run] not in living
            ]
            connection.executemany(
                "UPDATE runs SET owner = ? WHERE id = ?", [(self.token, run) for run in taken]
            )
        return taken

    def release(self, index: Index, runs: Sequence[str]) -> None:
        """Releases runs."""
        with index.transaction() as connection:
            connection.executemany(
                "UPDATE runs SET owner = NULL WHERE id = ? AND owner = ?",
                [(run, self.token) for run in runs],
            )

    def lend(self, index: Index, runs: Sequence[str]) -> str:
        """Passes runs that this process owns to a new token, which is returned.

        Raises:
            StoreError: Another process has taken a run meanwhile.
        """
        token = uuid4().hex
        self._add(index, token)
        with index.transaction() as connection:
            for run in runs:
                cursor = connection.execute(
                    "UPDATE runs SET owner = ? WHERE id = ? AND owner = ?", (token, run, self.token)
                )
                if not cursor.rowcount:
                    raise StoreError(Problem(f"another process took over run {run}", given=run))
        return token

    def adopt(self, index: Index, token: str) -> tuple[str, list[str]] | None:
        """Takes over the runs of a token whose process has died, under a new token.

        Returns:
            The new token and the runs; None if there is no such token, or if its process lives.
        """
        new = uuid4().hex
        with index.transaction() as connection:
            found = [each for each in holders(index) if each.token == token]
            if not found or self._is_alive(index, found[0]):
                return None
            connection.execute("INSERT INTO owners VALUES (?, ?, ?, ?, ?)", (new, *_this_process()))
            rows = connection.execute("SELECT id FROM runs WHERE owner = ?", (token,)).fetchall()
            connection.execute("UPDATE runs SET owner = ? WHERE owner = ?", (new, token))
            connection.execute("DELETE FROM owners WHERE token = ?", (token,))
        self._tokens.add(new)
        _active.add(new)
        return new, [row["id"] for row in rows]

    def leave(self, token: str) -> None:
        """Leaves a token to another command, as if this process had died."""
        self._tokens.discard(token)
        _active.discard(token)

    def end(self, index: Index, token: str) -> None:
        """Ends a token, and releases the runs that it owns."""
        self._tokens.discard(token)
        _active.discard(token)
        with index.transaction() as connection:
            connection.execute("UPDATE runs SET owner = NULL WHERE owner = ?", (token,))
            connection.execute("DELETE FROM owners WHERE token = ?", (token,))

    def _add(self, index: Index, token: str) -> None:
        with index.transaction() as connection:
            connection.execute(
                "INSERT INTO owners VALUES (?, ?, ?, ?, ?)", (token, *_this_process())
            )
        self._tokens.add(token)
        _active.add(token)

    def _is_alive(self, index: Index, holder: Holder) -> bool:
        alive = holder.is_alive(lambda: is_shared(index.path))
        if alive is not None:
            return alive
        heard, since = self._heard.get(holder.token, (None, 0.0))
        if heard != holder.heartbeat:
            self._heard[holder.token] = (holder.heartbeat, _watch())
            return True
        return _watch() - since < SILENT_SECONDS

    def _beat(self) -> None:
        index: Index | None = None
        while not self._stop.wait(HEARTBEAT_SECONDS):
            with suppress(StoreError):  # what trains meets the same error at its next checkpoint
                index = index or Index(self._path, create=False, verify=False)
                with index.transaction() as connection:
                    connection.executemany(
                        "UPDATE owners SET heartbeat = ? WHERE token = ?",
                        [(time.time(), token) for token in list(self._tokens)],
                    )
        if index is not None:
            index.close()


def holders(index: Index, runs: Sequence[str] | None = None) -> list[Holder]:
    """The processes that are registered as owners, or those that own any of some runs."""
    found = [
        Holder(*row)
        for row in index.rows("SELECT token, host, pid, started, heartbeat FROM owners")
    ]
    if runs is None:
        return found
    tokens = set(_owners_of(index, runs).values())
    return [each for each in found if each.token in tokens]


def live_owners(index: Index) -> set[str]:
    """The tokens of owners whose process is alive, as far as one look can tell.

    This is for display. Whether a run may be taken is up to :meth:`Owner.acquire`.
    """
    living = set()
    for each in holders(index):
        alive = each.is_alive(lambda: is_shared(index.path))
        if alive is None:
            alive = abs(time.time() - each.heartbeat) < SILENT_SECONDS
        if alive:
            living.add(each.token)
    return living


def break_leases(index: Index, runs: Sequence[str]) -> list[Holder]:
    """Releases runs whoever owns them, and returns the processes that owned them.

    Such a process discards the steps that it trained since its last checkpoint.
    """
    with index.transaction() as connection:
        found = holders(index, runs)
        connection.executemany("UPDATE runs SET owner = NULL WHERE id = ?", [(r,) for r in runs])
    return found


def _owners_of(index: Index, runs: Sequence[str]) -> dict[str, str | None]:
    owners: dict[str, str | None] = dict.fromkeys(runs)
    rows: list[Any] = index.rows("SELECT id, owner FROM runs WHERE owner IS NOT NULL")
    return owners | {row["id"]: row["owner"] for row in rows if row["id"] in owners}


def _this_process() -> tuple[str, int, float | None, float]:
    """Where this process is found, and the time, as the index has them of an owner."""
    return this_host(), os.getpid(), start_time(os.getpid()), time.time()


def _watch() -> float:
    """Seconds on a clock that is never set."""
    return time.monotonic()


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
