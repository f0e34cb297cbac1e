"""The queue of stacks that processes claim, train and report on. Its state is in the index."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ablab.execute.ahead.exchange import Exchange
from ablab.execute.plan import Plan, PlannedStack
from ablab.store.leases import Owner, holders
from ablab.store.store import Store
from ablab.train.run import Run

Report = Callable[[dict[str, Any]], None]
_WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class Claim:
    """Runs of a stack that this process has leased.

    Attributes:
        number: The stack's number in the plan.
        planned: The planned stack.
        runs: Those of its runs that are unfinished and leased.
    """

    number: int
    planned: PlannedStack
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class StackQueue:
    """The unfinished stacks of an experiment, and what an executor needs to train them.

    Attributes:
        store: The store.
        experiment: The experiment's number in the store.
        definition: The experiment as plain data, from which worker processes rebuild it.
        plan: The plan.
        report: Called with events, mappings whose ``event`` is ``claimed``, ``released``,
            ``activity``, ``progress``, ``pace``, ``ended``, ``split``, ``failed``, ``waiting``,
            ``pausing``, ``compiled`` or ``message``.
        should_pause: Called regularly; training pauses once it returns True.
        while_training: Called once in a thread while other processes train, if they do; it may
            prepare what comes after training.
        ahead: The programs that other processes compile; None if each stack compiles its own.
    """

    store: Store
    experiment: int
    definition: Mapping[str, Any]
    plan: Plan
    report: Report
    should_pause: Callable[[], bool]
    while_training: Callable[[], object] = lambda: None
    ahead: Exchange | None = None

    def claims(self, owner: Owner) -> Iterator[Claim]:
        """Leases one stack after another, until none are left or a pause is requested.

        Waits for stacks that another process holds, and claims them if that process dies. A claim
        is released when the next one is requested.
        """
        while missing := self.unfinished():
            if self.should_pause():
                return
            self.store.index.check_in_place()
            claim = self._next(owner, missing)
            if claim is None:
                found = holders(self.store.index, list(missing))
                self.report({"event": "waiting", "for": [str(each) for each in found]})
                time.sleep(_WAIT_SECONDS)
                continue
            ids = [run.id for run in claim.runs]
            self.report({"event": "claimed", "stack": claim.number, "ids": ids})
            yield claim
            owner.release(self.store.index, ids)
            self.report({"event": "released", "stack": claim.number})

    def unfinished(self, among: Sequence[Run] | None = None) -> dict[str, int]:
        """Steps left to train by run id; runs that ended are not included.

        Args:
            among: The runs to look up; by default all runs of the plan.
        """
        runs = None if among is None else [run.id for run in among]
        left = steps_left(self.store.members(self.experiment, runs), until=self.plan.until)
        return {run: steps for run, steps in left.items() if run in self._planned}

    @cached_property
    def _planned(self) -> frozenset[str]:
        """The ids of the runs of the plan, which may be for some cells of the grid only."""
        return frozenset(run.id for stack in self.plan.stacks for run in stack.runs)

    def claim(self, owner: Owner, number: int, missing: Mapping[str, int]) -> Claim | None:
        """Leases a stack's unfinished runs; None if other processes have leased or ended them all.

        Args:
            owner: The owner that gets the leases.
            number: The stack's number in the plan.
            missing: Steps left to train by run id.
        """
        planned = self.plan.stacks[number]
        wanted = [run.id for run in planned.runs if run.id in missing]
        if not wanted:
            return None
        leased = set(owner.acquire(self.store.index, wanted))
        # Another process may have finished a run between the query and the lease.
        still = self.unfinished(planned.runs)
        runs = [run for run in planned.runs if run.id in leased and run.id in still]
        runs = runs[: _allowed_width(self.store, runs)]
        owner.release(self.store.index, sorted(leased - {run.id for run in runs}))
        return Claim(number, planned, tuple(runs)) if runs else None

    def _next(self, owner: Owner, missing: Mapping[str, int]) -> Claim | None:
        found = (self.claim(owner, number, missing) for number in range(len(self.plan.stacks)))
        return next((claim for claim in found if claim is not None), None)


def steps_left(
    rows: Sequence[Any], retry: bool = False, until: int | None = None
) -> dict[str, int]:
    """Steps left to train by run id; runs that ended are not included.

    Args:
        rows: Mappings with ``run``, ``steps`` (requested), ``step`` (trained), ``stopped`` and
            ``outcome``.
        retry: Whether failed and diverged runs are trained again.
        until: The step to which runs are trained for now; None for the last step of each.
    """
    left = {}
    for row in rows:
        troubled = row["outcome"] is not None
        ended = row["stopped"] is not None or (troubled and not retry)
        last = row["steps"] if until is None else min(until, row["steps"])
        if not ended and (troubled or row["step"] < last):
            left[row["run"]] = max(1, last - row["step"])
    return left


def _allowed_width(store: Store, runs: Sequence[Run]) -> int:
    """How many of these runs may train together: half as many after each death but the first.

    A process that is killed while it trains them may have run out of memory. The first death does
    not count, because a user may have killed the process.
    """
    deaths = max((store.run_row(run.id)["deaths"] for run in runs), default=0)
    return max(1, len(runs) >> max(0, deaths - 1))
