"""Which stacks of a queue are left to lend, and to whom."""

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ablab.execute.cluster.choice import next_stack
from ablab.execute.cluster.member import Member, Work
from ablab.execute.cluster.messages import Lent
from ablab.execute.cluster.parcel import tokenizers
from ablab.execute.cluster.unlike_devices import at_once, runs_at_once
from ablab.execute.options import Engine
from ablab.execute.queue import Claim, StackQueue
from ablab.execute.resume import last_devices
from ablab.execute.worker import plan_as_data
from ablab.store.leases import Owner
from ablab.store.outward import outward

_QUERY_SECONDS = 5.0  # between two looks for runs that other commands have ended


class Lender:
    """The stacks that are left to train.

    Args:
        queue: The queue.
        owner: The owner of the leases.
        engine: The user's option.

    Attributes:
        left: Steps left to train by run id. For a run that is lent, those at that time.
    """

    def __init__(self, queue: StackQueue, owner: Owner, engine: Engine) -> None:
        self._queue, self._owner, self._engine = queue, owner, engine
        self._tokenizers = tokenizers(queue)
        self.left = queue.unfinished()
        self._queried = time.monotonic()
        self._held_until: dict[int, float] = {}  # stacks that other commands hold
        runs = [run for stack in queue.plan.stacks for run in stack.runs]
        self._total = {run.id: run.train.steps for run in runs}
        self._stack = {
            run.id: number for number, stack in enumerate(queue.plan.stacks) for run in stack.runs
        }
        self._begun_on = last_devices(queue.store, list(self.left))

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
        self._begun_on |= last_devices(self._queue.store, list(found))

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
                seconds[number] = self._seconds(runs)
        there = [each for each in members if not each.silent and each.machine]
        paces = _paces(there)
        free = [each.free_in(pace) for each, pace in zip(there, paces, strict=True)]
        places = {id(each): place for place, each in enumerate(there)}
        kinds = {self.device_of(each) for each in there}
        for member in idle:
            place, device = places[id(member)], self.device_of(member)
            mine = {
                number: length
                for number, length in seconds.items()
                if self._begun_devices(number) & kinds <= {device}  # bits depend on the device
            }
            while mine:
                numbers = list(mine)
                chosen = next_stack(list(mine.values()), paces, free, place)
                if chosen is None:
                    break
                wanted: dict[int, Mapping[str, int]] = {numbers[chosen]: self.left}
                if device != self._queue.plan.device:
                    share = sum(mine.values()) * paces[place] / sum(paces)
                    wanted = self._to_plan_anew(numbers[chosen], mine, share)
                claims = []
                for number, missing in wanted.items():
                    del mine[number], seconds[number]
                    claims += self._claim(number, missing, now)
                if claims:
                    claim = _together(claims)
                    length = self._seconds([run.id for run in claim.runs])
                    free[place] = length / paces[place]
                    yield member, claim
                    break

    def device_of(self, member: Member) -> str:
        """The kind of device that an agent trains on."""
        return member.line.device or self._queue.plan.device

    def _begun_devices(self, number: int) -> set[str]:
        """The kinds of device on which runs of a stack that are left have begun."""
        runs = [run.id for run in self._queue.plan.stacks[number].runs if run.id in self.left]
        return {self._begun_on[run] for run in runs if run in self._begun_on}

    def _to_plan_anew(
        self, first: int, among: Mapping[int, float], share: float
    ) -> dict[int, Mapping[str, int]]:
        """A stack, or a part of it, and others of its shape, as many as an agent plans at once.

        Args:
            first: The number of the stack.
            among: The seconds of stacks that may be lent.
            share: The agent's fair share of them.

        Returns:
            Steps left of the runs, by the number of their stack.
        """
        stacks = self._queue.plan.stacks
        key = stacks[first].runs[0].stack_key
        like = [each for each in among if each != first and stacks[each].runs[0].stack_key == key]
        numbers = [first, *like]
        runs = {
            each: {run.id: self.left[run.id] for run in stacks[each].runs if run.id in self.left}
            for each in numbers
        }
        lengths = [among[each] for each in numbers]
        count = at_once(lengths, [len(runs[each]) for each in numbers], share)
        if count > 1:
            return {each: runs[each] for each in numbers[:count]}
        part = runs_at_once(lengths[0], len(runs[first]), share)
        return {first: dict(list(runs[first].items())[:part])}

    def _claim(self, number: int, missing: Mapping[str, int], now: float) -> list[Claim]:
        """A claim of runs of a stack; none if other commands hold them."""
        claim = self._queue.claim(self._owner, number, missing)
        if claim is None:
            self._held_until[number] = now + _QUERY_SECONDS
        return [] if claim is None else [claim]

    @contextmanager
    def message(self, claim: Claim, device: str) -> Iterator[Lent]:
        """What lends a claim; its runs are leased by a token of their own from then on.

        Args:
            claim: The claim.
            device: The kind of device that the agent trains on.

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
            number, engine = queue.experiment, self._engine
            yield Lent(token, claim.number, number, plan, device, engine, shipment, contents)

    def work(self, token: str, stack: int, runs: Sequence[str]) -> Work:
        """What an agent trains from now on."""
        return Work(
            token,
            stack,
            tuple(runs),
            {run: self.left.get(run, 0) for run in runs},
            {run: self._total.get(run, 0) for run in runs},
            self._seconds(runs),
            time.monotonic(),
        )

    def _seconds(self, runs: Sequence[str]) -> float:
        """The estimated length of what is left of some runs, at pace 1."""
        left: dict[int, int] = {}
        for run in runs:
            if run in self._stack:
                number = self._stack[run]
                left[number] = left.get(number, 0) + self.left.get(run, 0)
        seconds = 0.0
        for number, steps in left.items():
            planned = self._queue.plan.stacks[number]
            whole = sum(self._total[run.id] for run in planned.runs)
            seconds += planned.seconds * min(1.0, steps / max(1, whole))
        return max(1e-3, seconds)


def _together(claims: Sequence[Claim]) -> Claim:
    """Claims of like stacks as one."""
    first = claims[0]
    return replace(first, runs=tuple(run for each in claims for run in each.runs))


def _paces(members: Sequence[Member]) -> list[float]:
    """The pace of each agent; if it is not known, that of its machine, else the median."""
    known = [((each.machine, each.line.device), each.present_pace) for each in members]
    paces = [pace for _, pace in known if pace is not None]
    middle = statistics.median(paces) if paces else 1.0
    found = []
    for machine, pace in known:
        like = [other for name, other in known if name == machine and other is not None]
        found.append(pace or (statistics.median(like) if like else middle))
    return found
