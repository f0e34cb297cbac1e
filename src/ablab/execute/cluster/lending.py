"""Which stacks of a queue are left to lend, and to whom."""

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ablab.execute.cluster.choice import next_stack
from ablab.execute.cluster.member import Member, Work
from ablab.execute.cluster.messages import Lent
from ablab.execute.cluster.parcel import tokenizers
from ablab.execute.queue import Claim, StackQueue
from ablab.execute.worker import plan_as_data
from ablab.store.leases import Owner
from ablab.store.outward import outward

_QUERY_SECONDS = 5.0  # between two looks for runs that other commands have ended


class Lender:
    """The stacks that are left to train.

    Args:
        queue: The queue.
        owner: The owner of the leases.

    Attributes:
        left: Steps left to train by run id. For a run that is lent, those at that time.
    """

    def __init__(self, queue: StackQueue, owner: Owner) -> None:
        self._queue, self._owner = queue, owner
        self._tokenizers = tokenizers(queue)
        self.left = queue.unfinished()
        self._queried = time.monotonic()
        self._held_until: dict[int, float] = {}  # stacks that other commands hold
        runs = [run for stack in queue.plan.stacks for run in stack.runs]
        self._total = {run.id: run.train.steps for run in runs}
        self._stack = {
            run.id: number for number, stack in enumerate(queue.plan.stacks) for run in stack.runs
        }

    def stack_of(self, runs: Sequence[str]) -> int | None:
        """The number of the stack of some runs, of most of them; None if no run is planned."""
        found = [self._stack[run] for run in runs if run in self._stack]
        return max(set(found), key=found.count) if found else None

    def refresh(self) -> None:
        """Asks the index from time to time what others have trained."""
        if time.monotonic() - self._queried > _QUERY_SECONDS:
            self._queried = time.monotonic()
            self.left = self._queue.unfinished()

    def look_again(self, runs: Sequence[str]) -> None:
        """Asks the index how many steps some runs have left."""
        wanted = set(runs)
        among = [run for stack in self._queue.plan.stacks for run in stack.runs if run.id in wanted]
        found = self._queue.unfinished(among)
        self.left = {run: left for run, left in self.left.items() if run not in wanted} | found

    def claims(
        self, idle: Sequence[Member], members: Sequence[Member]
    ) -> Iterator[tuple[Member, Claim]]:
        """The claims that idle agents get now; some may get none.

        Args:
            idle: The idle agents.
            members: All agents.
        """
        now = time.monotonic()
        lent = {run for each in members if each.work for run in each.work.runs}
        seconds: dict[int, float] = {}
        for number, planned in enumerate(self._queue.plan.stacks):
            runs = [run.id for run in planned.runs if run.id in self.left and run.id not in lent]
            if runs and self._held_until.get(number, 0.0) <= now:
                seconds[number] = self._seconds(number, runs)
        there = [each for each in members if not each.silent and each.machine]
        paces = _paces(there)
        free = [each.free_in(pace) for each, pace in zip(there, paces, strict=True)]
        places = {id(each): place for place, each in enumerate(there)}
        for member in idle:
            place = places[id(member)]
            while seconds:
                numbers = list(seconds)
                chosen = next_stack(list(seconds.values()), paces, free, place)
                if chosen is None:
                    break
                number = numbers[chosen]
                length = seconds.pop(number)
                claim = self._queue.claim(self._owner, number, self.left)
                if claim is not None:
                    free[place] = length / paces[place]
                    yield member, claim
                    break
                self._held_until[number] = now + _QUERY_SECONDS  # by other commands

    @contextmanager
    def message(self, claim: Claim) -> Iterator[Lent]:
        """What lends a claim; its runs are leased by a token of their own from then on.

        Raises:
            StoreError: The store cannot be read or written.
        """
        queue, runs = self._queue, [run.id for run in claim.runs]
        token = self._owner.lend(queue.store.index, runs)
        stack = replace(claim.planned, runs=claim.runs)
        plan = plan_as_data(replace(queue.plan, stacks=(stack,), workers=1))
        ruled = [run.id for run in claim.runs if run.train.stop is not None]
        with outward(queue.store, queue.experiment, runs, ruled, self._tokenizers) as (
            shipment, folder,
        ):  # fmt: skip
            contents = tuple(each.path(folder).read_bytes() for each in shipment.files)
            yield Lent(token, claim.number, queue.experiment, plan, shipment, contents)

    def work(self, token: str, stack: int, runs: Sequence[str]) -> Work:
        """What an agent trains from now on."""
        return Work(
            token,
            stack,
            tuple(runs),
            {run: self.left.get(run, 0) for run in runs},
            {run: self._total.get(run, 0) for run in runs},
            self._seconds(stack, runs),
            time.monotonic(),
        )

    def _seconds(self, stack: int, runs: Sequence[str]) -> float:
        """The estimated length of what is left of a stack's runs, at pace 1."""
        planned = self._queue.plan.stacks[stack]
        whole = sum(run.train.steps for run in planned.runs)
        left = sum(self.left.get(run, 0) for run in runs)
        return max(1e-3, planned.seconds * min(1.0, left / max(1, whole)))


def _paces(members: Sequence[Member]) -> list[float]:
    """The pace of each agent; if it is not known, that of its machine, else the median."""
    known = [(each.machine, each.present_pace) for each in members]
    paces = [pace for _, pace in known if pace is not None]
    middle = statistics.median(paces) if paces else 1.0
    found = []
    for machine, pace in known:
        like = [other for name, other in known if name == machine and other is not None]
        found.append(pace or (statistics.median(like) if like else middle))
    return found
