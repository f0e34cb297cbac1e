"""An agent: trains claims on its machine, one at a time, and hands out what was made.

It has no access to the command's store. Each claim is trained by a process of its own, in a store
of the claim's own, whose new files and rows wait as one shipment until the command has published
and acknowledged it. So a slow command fills no memory, and a command that died loses nothing: the
agent goes on, and the next command takes what there is.
"""

import hashlib
import os
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ablab.execute.cluster.machines import OtherCommandError
from ablab.execute.cluster.messages import Ending, Held, Hello, Lent, Parcel, Report, Sent
from ablab.execute.cluster.process import TrainingProcess
from ablab.execute.cluster.unlike_devices import why_lacking
from ablab.execute.cluster.versions import versions
from ablab.store.homeward import homeward, state_of
from ablab.store.outward import unload
from ablab.store.processes import name_of, this_host
from ablab.store.shipments import Key
from ablab.store.store import Store

_FOLDER = "ablab-agent-"
_INLINE_BYTES = 4 * 2**20  # of small files that are sent with a report; others are read by pieces
_LONELY_SECONDS = 600.0  # without any call, an agent that does not train ends


@dataclass
class _Claim:
    """A claim that is trained.

    Attributes:
        lent: What the command sent.
        token: The token by which the command has leased the runs.
        folder: The folder of its store and its outbox.
        store: Its store.
        sent: The keys of the files that the command has.
        state: The state of the store of which the command knows.
        number: The number of the last shipment.
        waiting: The shipment that was not acknowledged yet.
        waiting_state: The state of the store that it shows.
        waiting_is_last: Whether nothing follows it.
        ending: How training has ended.
        reason: Why, if it died or its store failed.
    """

    lent: Lent
    token: str
    folder: Path
    store: Store
    sent: set[Key]
    state: tuple[Any, ...]
    number: int = 0
    waiting: Sent | None = None
    waiting_state: tuple[Any, ...] = ()
    waiting_is_last: bool = False
    ending: Ending | None = None
    reason: str = ""

    @property
    def outbox(self) -> Path:
        """Where the files of the waiting shipment are."""
        return self.folder / f"outbox-{self.number}"


class Agent:
    """Trains claims. All calls come from one thread.

    Args:
        lonely_seconds: The agent ends its process if nothing has called it for so long and it does
            not train; None never does.
    """

    def __init__(self, lonely_seconds: float | None = _LONELY_SECONDS) -> None:
        _remove_left_folders()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_prefix()}{os.getpid()}-"))
        self._news = threading.Condition()
        self._process: TrainingProcess | None = None
        self._claim: _Claim | None = None
        self._parcel: Parcel | None = None
        self._command = ""
        self._processes = 0
        self._called = time.monotonic()
        self._lonely = lonely_seconds
        if lonely_seconds is not None:
            threading.Thread(target=self._watch, daemon=True).start()

    def hello(self, device: str | None) -> Hello:
        """Says what this agent is and whom it works for.

        Args:
            device: The kind of device that it is to train on; None for that of the plan.
        """
        held = None
        if self._claim is not None:
            held = Held(self._claim.token, self._claim.lent.shipment.runs)
        return Hello(name_of(this_host()), versions(), self._command, held, why_lacking(device))

    def engage(self, command: str, before: str) -> bool:
        """Works for a command from now on.

        Args:
            command: The command's token.
            before: The token of the command that it is said to work for; empty for none.

        Returns:
            Whether it does: another command may have been faster.
        """
        if self._command not in (before, command):
            return False
        self._command, self._called = command, time.monotonic()
        return True

    def obey(self, command: str, method: str, *arguments: Any) -> Any:
        """Calls a method for the command that this agent works for.

        Raises:
            OtherCommandError: It works for another one.
        """
        if command != self._command:
            raise OtherCommandError("it works for another command")
        self._called = time.monotonic()
        try:
            return getattr(self, method)(*arguments)
        finally:
            self._called = time.monotonic()

    def prepare(self, parcel: Parcel) -> None:
        """Starts the training process, which loads what all claims need.

        A process that trains a claim with the same parcel goes on.
        """
        self._parcel = parcel
        if self._claim is None:
            self._ensure_process()

    def begin(self, lent: Lent) -> None:
        """Begins to train a claim.

        Raises:
            StoreError: The store of the claim cannot be written.
        """
        if self._claim is not None and self._claim.ending is None:
            self._stop_process()  # it trains for nobody
        self._forget()
        folder = self._folder / lent.token
        for file, content in zip(lent.shipment.files, lent.contents, strict=True):
            path = file.path(folder / "incoming")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        store = Store(folder / "lab", create=True)
        unload(store, lent.shipment, folder / "incoming")
        sent = {each.key for each in lent.shipment.files}
        self._claim = _Claim(lent, lent.token, folder, store, sent, state_of(store))
        process = self._ensure_process()
        process.trains = True
        process.tell(
            {
                "token": lent.token,
                "store": str(store.path),
                "experiment": lent.experiment,
                "plan": dict(lent.plan),
                "device": lent.device,
                "engine": lent.engine,
            }
        )

    def poll(self, seconds: float = 1.0) -> Report:
        """What has happened since the last report; waits a while for something to happen."""
        process = self._process
        events = [] if process is None else process.events(seconds)
        claim = self._claim
        if claim is None:
            return Report(None, tuple(events), None)
        told = [self._noted(claim, event) for event in events]
        if process is not None and process.ended and claim.ending is None:
            claim.ending, claim.reason = process.how_it_ended()
        self._fill_outbox(claim)
        is_last = claim.ending is not None and (claim.waiting is None or claim.waiting_is_last)
        return Report(
            claim.token,
            tuple(event for event in told if event is not None),
            claim.waiting,
            claim.ending if is_last else None,
            claim.reason,
            process is not None and process.is_stopped,
        )

    def read(self, token: str, number: int, place: int, offset: int, size: int) -> bytes:
        """A piece of a file of the waiting shipment."""
        claim = self._claim
        if claim is None or claim.token != token or claim.waiting is None:
            return b""
        if claim.waiting.number != number:
            return b""
        with claim.waiting.shipment.files[place].path(claim.outbox).open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def rename(self, token: str, new: str) -> None:
        """The command has another token for a claim than the one which has died."""
        if self._claim is not None and self._claim.token == token:
            self._claim.token = new

    def acknowledge(self, token: str, number: int, ended: bool) -> None:
        """The command has published a shipment, or does not want it.

        Args:
            token: The token of its claim.
            number: Its number; 0 if there was none.
            ended: Whether the command has learnt that the claim has ended. It is forgotten.
        """
        claim = self._claim
        if claim is None or claim.token != token:
            return
        if claim.waiting is not None and claim.waiting.number == number:
            claim.sent |= {each.key for each in claim.waiting.shipment.files}
            claim.state, claim.waiting = claim.waiting_state, None
            shutil.rmtree(claim.outbox, ignore_errors=True)
        if ended:
            self._forget()

    def revoke(self, token: str) -> None:
        """Gives a claim up: what was trained since the last shipment is lost."""
        if self._claim is not None and self._claim.token == token:
            self._stop_process()
            self._forget()

    def pause(self) -> None:
        """Asks the training process to save its progress and to end."""
        if self._process is not None:
            self._process.pause()

    def close(self) -> None:
        """Ends training, and removes everything that this agent has written."""
        self._stop_process()
        self._forget()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _noted(self, claim: _Claim, event: dict[str, Any]) -> dict[str, Any] | None:
        """An event for the command; None if it tells of the end of a claim."""
        match event["event"]:
            case "claim_ended":
                if event["token"] == claim.lent.token:
                    claim.ending = "done" if event["complete"] else "paused"
                return None
            case "store_error":
                claim.ending = "store"
                claim.reason = "; ".join(str(each["message"]) for each in event["problems"])
                return None
            case "ready":
                return None
        return event | {"stack": claim.lent.stack} if "stack" in event else event

    def _fill_outbox(self, claim: _Claim) -> None:
        """Makes the next shipment if the last one was acknowledged and there is something new."""
        if claim.waiting is not None:
            return
        is_last = claim.ending is not None
        state = state_of(claim.store)
        if state == claim.state:
            return
        claim.number += 1
        shipment = homeward(claim.store, claim.lent.shipment.runs, claim.sent, claim.outbox)
        contents: dict[int, bytes] = {}
        left = _INLINE_BYTES
        for place, file in enumerate(shipment.files):
            if file.bytes <= left:
                contents[place] = file.path(claim.outbox).read_bytes()
                left -= file.bytes
        claim.waiting = Sent(claim.number, shipment, contents)
        claim.waiting_state, claim.waiting_is_last = state, is_last

    def _forget(self) -> None:
        if self._claim is not None:
            self._claim.store.close()
            shutil.rmtree(self._claim.folder, ignore_errors=True)
            self._claim = None

    def _ensure_process(self) -> TrainingProcess:
        """A training process with this parcel, which is started if there is none."""
        assert self._parcel is not None, "a command prepares its agents first"
        process = self._process
        if process is None or not process.is_running or process.parcel != self._parcel:
            self._stop_process()
            self._processes += 1
            folder = self._folder / f"process-{self._processes}"
            process = self._process = TrainingProcess(self._parcel, folder, self._news)
        return process

    def _stop_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.stop()

    def _watch(self) -> None:
        """Ends this process once no command needs it."""
        assert self._lonely is not None, "else nothing is watched"
        while True:
            time.sleep(min(5.0, self._lonely))
            silent = time.monotonic() - self._called
            process = self._process
            trains = process is not None and process.trains and process.is_running
            if silent > self._lonely and not trains:
                shutil.rmtree(self._folder, ignore_errors=True)
                os._exit(0)


def _prefix() -> str:
    """What the names of the folders of this machine's agents begin with."""
    return f"{_FOLDER}{hashlib.sha256(this_host().encode()).hexdigest()[:12]}-"


def _remove_left_folders() -> None:
    """Removes what agents of this machine that were killed have left."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_prefix()}*"):
        pid = folder.name.removeprefix(_prefix()).partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
