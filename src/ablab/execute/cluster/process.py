"""The training process of an agent, and the events that it has reported."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from ablab.execute.cluster.messages import Ending, Parcel
from ablab.execute.worker import STORE_ERROR
from ablab.store.processes import is_stopped

_EVENTS = 10_000  # that wait for the command; older ones are forgotten


class TrainingProcess:
    """A process that trains claims.

    Args:
        parcel: What it needs for all claims.
        folder: A folder of its own, in which it works.
        news: Notified of events.

    Attributes:
        parcel: What it needs for all claims.
        folder: Its folder.
        trains: Whether it trains a claim.
        ended: Whether it has ended, so that no event follows.
    """

    def __init__(self, parcel: Parcel, folder: Path, news: threading.Condition) -> None:
        self.parcel, self.folder = parcel, folder
        self.trains = self.ended = False
        self._news = news
        self._events: deque[dict[str, Any]] = deque(maxlen=_EVENTS)
        folder.mkdir(parents=True)
        for name, content in parcel.modules.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "ablab.execute.cluster.training_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(parcel.threads)},
            start_new_session=True,
            cwd=folder,
        )
        threading.Thread(target=self._listen, daemon=True).start()
        self.tell(
            {
                "path": [str(folder), *sys.path],
                "texts": dict(parcel.texts),
                "definition": dict(parcel.definition),
            }
        )

    @property
    def pid(self) -> int:
        """Its id."""
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        """Whether it is there."""
        return not self.ended and self._popen.poll() is None

    @property
    def is_stopped(self) -> bool:
        """Whether it is stopped by a signal."""
        return is_stopped(self.pid)

    def tell(self, line: dict[str, Any]) -> None:
        """Writes a line to its standard input."""
        assert self._popen.stdin is not None, "asked for a pipe"
        with suppress(OSError):  # it has ended already, which the next report says
            self._popen.stdin.write(json.dumps(line) + "\n")
            self._popen.stdin.flush()

    def events(self, seconds: float) -> list[dict[str, Any]]:
        """Its events since the last call; waits for one, or for its end."""
        with self._news:
            if not self._events and not self.ended:
                self._news.wait(seconds)
            found = list(self._events)
            self._events.clear()
        return found

    def pause(self) -> None:
        """Asks it to save its progress and to end."""
        if self._popen.poll() is None:
            self._popen.terminate()

    def how_it_ended(self) -> tuple[Ending, str]:
        """How it has ended without a word about its claim, and why."""
        code = self._popen.wait()
        if code in (0, -signal.SIGTERM):  # asked to pause before it had read the claim
            return "paused", ""
        if code == STORE_ERROR:
            return "store", "its store failed"
        return "died", f"signal {-code}" if code < 0 else f"exit code {code}"

    def stop(self) -> None:
        """Ends it at once."""
        self._popen.kill()
        self._popen.wait()
        for stream in (self._popen.stdin, self._popen.stdout):
            assert stream is not None, "asked for pipes"
            with suppress(OSError, ValueError):
                stream.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _listen(self) -> None:
        assert self._popen.stdout is not None, "asked for a pipe"
        with suppress(ValueError):  # closed, because the process was killed
            for line in self._popen.stdout:
                try:
                    event = json.loads(line)
                except json.JSONDecodeError:  # cut short by a kill
                    event = {"event": "message", "text": line.rstrip()}
                with self._news:
                    if event["event"] in ("claim_ended", "store_error"):
                        self.trains = False
                    self._events.append(event)
                    self._news.notify_all()
        self._popen.wait()
        with self._news:
            self.ended = True
            self._news.notify_all()
