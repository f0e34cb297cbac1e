"""An agent as the command sees it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ablab.execute.cluster.machines import Call, Line
from ablab.execute.cluster.messages import Held

Doing = Literal["hello", "engage", "prepare", "idle", "begin", "poll"]
_LEAST_SHARE = 0.05  # of a claim, from which on its pace is estimated
_NEW_WEIGHT = 0.5  # of the pace of the last claim


@dataclass
class Work:
    """A claim that an agent trains.

    Attributes:
        token: The token by which its runs are leased.
        stack: The stack's number in the plan.
        runs: The ids of its runs.
        left: Steps left when it began, by run.
        total: Steps of each run.
        seconds: The estimated length at pace 1.
        began: When it began (monotonic).
        stopped_since: Since when its training process has been stopped by a signal.
        published: The number of the last shipment that was published.
        begun: Whether its training process has begun with it.
    """

    token: str
    stack: int
    runs: tuple[str, ...]
    left: Mapping[str, int]
    total: Mapping[str, int]
    seconds: float
    began: float
    stopped_since: float | None = None
    published: int = 0
    begun: bool = False
    _done: dict[str, int] = field(default_factory=dict)

    def note(self, runs: Sequence[str], step: int) -> None:
        """Notes the step that some of its runs have reached."""
        for run in runs:
            if run in self.left:
                self._done[run] = step - (self.total[run] - self.left[run])

    @property
    def share(self) -> float:
        """The share of its steps that are done."""
        return min(1.0, sum(self._done.values()) / max(1, sum(self.left.values())))


@dataclass
class Member:
    """An agent.

    Attributes:
        line: The line to it.
        command: The token of this command.
        doing: The call that is going on, or ``idle``.
        call: That call.
        since: Since when it has been going on (monotonic).
        machine: The name of its machine, once it is known.
        work: The claim that it trains.
        pace: Seconds at pace 1 that it does in one second, of the claims that have ended.
        not_before: When it may get work again (monotonic).
        silent: Whether it has not answered for so long that its claim was given up.
        token: The token of the last claim that was sent to it.
        held: The claim that it held when it was greeted.
    """

    line: Line
    command: str
    doing: Doing = "idle"
    call: Call | None = None
    since: float = 0.0
    machine: str = ""
    work: Work | None = None
    pace: float | None = None
    not_before: float = 0.0
    silent: bool = False
    token: str = ""
    held: Held | None = None
    clock: Callable[[], float] = time.monotonic

    def greet(self) -> None:
        """Asks the agent what it is."""
        self.doing, self.since = "hello", self.clock()
        self.call = self.line.call("hello", self.line.device)

    def engage(self, before: str) -> None:
        """Asks it to work for this command, if it still works for ``before``."""
        self.doing, self.since = "engage", self.clock()
        self.call = self.line.call("engage", self.command, before)

    def ask(self, doing: Doing, *arguments: Any) -> None:
        """Calls the agent's method of that name."""
        self.doing, self.call = doing, self.tell(doing, *arguments)
        self.since = self.clock()

    def tell(self, method: str, *arguments: Any) -> Call:
        """Calls a method of the agent, beside the call that is going on."""
        return self.line.call("obey", self.command, method, *arguments)

    def rest(self) -> None:
        """No call is going on."""
        self.doing, self.call, self.since = "idle", None, self.clock()

    def note_end(self) -> None:
        """Updates the pace at the end of a claim."""
        found = self._pace_of_work()
        if found is None:
            return
        before = found if self.pace is None else self.pace
        self.pace = _NEW_WEIGHT * found + (1 - _NEW_WEIGHT) * before

    @property
    def present_pace(self) -> float | None:
        """The pace so far; None before anything is known of it."""
        return self.pace if self.pace is not None else self._pace_of_work()

    def _pace_of_work(self) -> float | None:
        work = self.work
        if work is None or work.share < _LEAST_SHARE or work.seconds <= 0:
            return None
        return work.seconds * work.share / max(1e-3, self.clock() - work.began)

    def free_in(self, pace: float) -> float:
        """Seconds until it will probably be free, at some pace."""
        work = self.work
        return 0.0 if work is None else work.seconds * (1 - work.share) / pace
