"""Leases: one process at a time owns a run, and a dead process loses its runs."""

import os
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from uuid import uuid4

import psutil

from ablab.store.index import Index

HEARTBEAT_SECONDS = 10.0
SILENT_SECONDS = 120.0  # a process on another machine that is silent for this long is dead


class Owner:
    """This process as an owner of runs; a context manager that releases its runs on exit.

    A thread with its own connection renews the heartbeat, by which other machines see that the
    process is alive.

    Args:
        path: The store's index.
    """

    def __init__(self, path: Path) -> None:
        self.token = uuid4().hex
        self._path = path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "Owner":
        index = Index(self._path, create=False)
        with index.transaction() as connection:
            connection.execute(
                "INSERT INTO owners VALUES (?, ?, ?, ?, ?)",
                (self.token, this_host(), os.getpid(), psutil.Process().create_time(), time.time()),
            )
        index.close()
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
        index = Index(self._path, create=False)
        with index.transaction() as connection:
            connection.execute("UPDATE runs SET owner = NULL WHERE owner = ?", (self.token,))
            connection.execute("DELETE FROM owners WHERE token = ?", (self.token,))
        index.close()

    def acquire(self, index: Index, runs: Sequence[str]) -> list[str]:
        """Takes the runs that no live process owns, and returns them."""
        with index.transaction() as connection:
            living = live_owners(index)
            taken = [
                run
                for run in runs
                if (owner := _owner_of(index, run)) is None
                or owner == self.token
                or owner not in living
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

    def _beat(self) -> None:
        index = Index(self._path, create=False)
        while not self._stop.wait(HEARTBEAT_SECONDS):
            with index.transaction() as connection:
                connection.execute(
                    "UPDATE owners SET heartbeat = ? WHERE token = ?", (time.time(), self.token)
                )
        index.close()


def live_owners(index: Index) -> set[str]:
    """The tokens of owners whose process is alive, as far as this machine can tell."""
    host = this_host()
    living = set()
    for row in index.rows("SELECT token, host, pid, started, heartbeat FROM owners"):
        if row["host"] == host:
            alive = _is_running(row["pid"], row["started"])
        else:
            alive = time.time() - row["heartbeat"] < SILENT_SECONDS
        if alive:
            living.add(row["token"])
    return living


def this_host() -> str:
    """An identifier of this machine since its last boot, within which process ids are valid."""
    return f"{socket.gethostname()}/{psutil.boot_time():.0f}"


def _is_running(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < 1 and process.status() != "zombie"
    except psutil.NoSuchProcess:
        return False


def _owner_of(index: Index, run: str) -> str | None:
    rows = index.rows("SELECT owner FROM runs WHERE id = ?", run)
    return rows[0]["owner"] if rows else None
