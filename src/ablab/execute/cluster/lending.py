"""Which stacks of a queue are left to lend, and to whom."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ablab.execute.cluster.choice import next_stack
from ablab.execute.cluster.member import Member, Work
from ablab.execute.cluster.messages import Lent
from ablab.execute.cluster.parcel import tokenizers
from ablab.execute.cluster.unlike_devices import LEAST_RUNS, at_once, runs_at_once
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

    def by_stack(self, runs: Sequence[str]) -> dict[int, list[str]]:
        """Some runs by the number of their stack."""
        found: dict[int, list[str]] = {}
        for run in runs:
            if run in self._stack:
                found.setdefault(self._stack[run], []).append(run)
        return found

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
        free = self._free(members, now)
        there = [each for each in members if not each.silent and each.machine]
        paces = _paces(there)
        busy = [each.free_in(pace) for each, pace in zip(there, paces, strict=True)]
        fleet = _Fleet(there, paces, busy, [self.device_of(each) for each in there])
        kinds = {self.device_of(each) for each in members if not each.silent}
        if len(kinds) > 1:
            yield from self._claims_by_kind(idle, free, fleet, kinds, now)
            return
        seconds = {number: self._seconds(own) for number, own in free.items()}
        for member in idle:
            claim = self._choose(member, free, seconds, fleet, now)
            if claim is not None:
                fleet.note(member, self._seconds([run.id for run in claim.runs]))
                for number in self._take(free, claim):  # a part of a stack was claimed
                    seconds[number] = self._seconds(free[number])
                yield member, claim

    def _claims_by_kind(
        self,
        idle: Sequence[Member],
        free: dict[int, list[str]],
        fleet: "_Fleet",
        kinds: set[str],
        now: float,
    ) -> Iterator[tuple[Member, Claim]]:
        """As :meth:`claims`, if the agents have devices of several kinds.

        Runs go on with the kind of device that they began with as long as there is one, because the
        last bits depend on it.
        """
        for member in idle:
            device = self.device_of(member)
            bound = self._begun(free, lambda kind, device=device: kind == device)  # type: ignore[misc]
            others = self._begun(free, lambda kind: kind not in kinds)
            for runs, among in ((bound, fleet.of(device)), (others, fleet)):
                seconds = {number: self._seconds(own) for number, own in runs.items()}
                claim = self._choose(member, runs, seconds, among, now)
                if claim is not None:
                    fleet.note(member, self._seconds([run.id for run in claim.runs]))
                    self._take(free, claim)
                    yield member, claim
                    break

    def _take(self, free: dict[int, list[str]], claim: Claim) -> list[int]:
        """Removes the runs of a claim; returns the stacks of which some are still free."""
        divided = []
        for number, taken in self.by_stack([run.id for run in claim.runs]).items():
            left = set(free[number]) - set(taken)
            free[number] = [run for run in free[number] if run in left]
            if left:
                divided.append(number)
            else:
                del free[number]
        return divided

    def _free(self, members: Sequence[Member], now: float) -> dict[int, list[str]]:
        """The runs of each stack that are left and that nobody trains."""
        lent = {run for each in members if each.work for run in each.work.runs}
        found = {
            number: [run.id for run in planned.runs if run.id in self.left and run.id not in lent]
            for number, planned in enumerate(self._queue.plan.stacks)
            if self._held_until.get(number, 0.0) <= now
        }
        return {number: runs for number, runs in found.items() if runs}

    def _begun(
        self, free: Mapping[int, Sequence[str]], wanted: Callable[[str | None], bool]
    ) -> dict[int, list[str]]:
        """The runs that have begun on a wanted kind of device; None stands for not begun."""
        found = {
            number: [run for run in runs if wanted(self._begun_on.get(run))]
            for number, runs in free.items()
        }
        return {number: runs for number, runs in found.items() if runs}

    def _choose(
        self,
        member: Member,
        runs: Mapping[int, list[str]],
        seconds: dict[int, float],
        fleet: "_Fleet",
        now: float,
    ) -> Claim | None:
        """The claim that an agent gets of some runs; None if others will have ended them sooner.

        Args:
            member: The agent.
            runs: The runs, by the number of their stack.
            seconds: How long those of each stack take that are still free; what is lent is removed.
            fleet: The agents that may train them.
            now: The time (monotonic).
        """
        place = fleet.place(member)
        while seconds:
            numbers = list(seconds)
            chosen = next_stack(list(seconds.values()), fleet.paces, fleet.busy, place)
            if chosen is None:
                return None
            wanted = {numbers[chosen]: runs[numbers[chosen]]}
            if self.device_of(member) != self._queue.plan.device:
                share = sum(seconds.values()) * fleet.share(place)
                known = fleet.is_known(self.device_of(member))
                wanted = self._to_plan_anew(numbers[chosen], runs, seconds, share, known)
            claims: list[Claim] = []
            for number, own in wanted.items():
                del seconds[number]
                claims += self._claim(number, {run: self.left[run] for run in own}, now)
            if claims:
                return _together(claims)
        return None

    def device_of(self, member: Member) -> str:
        """The kind of device that an agent trains on."""
        return member.line.device or self._queue.plan.device

    def _to_plan_anew(
        self,
        first: int,
        runs: Mapping[int, list[str]],
        seconds: Mapping[int, float],
        share: float,
        known: bool,
    ) -> dict[int, list[str]]:
        """A stack, or a part of it, and others of its shape, as many as an agent plans at once.

        Args:
            first: The number of the stack.
            runs: The runs that may be lent, by the number of their stack.
            seconds: The estimated length of those that are left.
            share: The agent's fair share of them.
            known: Whether the pace of its kind of device is known. If not, it gets few runs.
        """
        if not known:
            return {first: runs[first][:LEAST_RUNS]}
        stacks = self._queue.plan.stacks
        key = stacks[first].runs[0].stack_key
        like = [each for each in seconds if each != first and stacks[each].runs[0].stack_key == key]
        numbers = [first, *like]
        lengths = [seconds[each] for each in numbers]
        count = at_once(lengths, [len(runs[each]) for each in numbers], share)
        if count > 1:
            return {each: runs[each] for each in numbers[:count]}
        return {first: runs[first][: runs_at_once(lengths[0], len(runs[first]), share)]}

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
        seconds = 0.0
        for number, own in self.by_stack(runs).items():
            planned = self._queue.plan.stacks[number]
            whole = sum(self._total[run.id] for run in planned.runs)
            steps = sum(self.left.get(run, 0) for run in own)
            seconds += planned.seconds * min(1.0, steps / max(1, whole))
        return max(1e-3, seconds)


@dataclass(frozen=True)
class _Fleet:
    """Agents among which stacks are divided.

    Attributes:
        members: The agents.
        paces: The pace of each, known or not.
        busy: When each will be free, in seconds from now.
        devices: The kind of device of each.
    """

    members: list[Member]
    paces: list[float]
    busy: list[float]
    devices: list[str]

    def of(self, device: str) -> "_Fleet":
        """Those with a kind of device."""
        own = [place for place, each in enumerate(self.devices) if each == device]
        lists = (self.members, self.paces, self.busy, self.devices)
        return _Fleet(*([each[place] for place in own] for each in lists))  # type: ignore[arg-type]

    def place(self, member: Member) -> int:
        """The place of an agent."""
        return next(place for place, each in enumerate(self.members) if each is member)

    def share(self, place: int) -> float:
        """An agent's fair share of the work."""
        return self.paces[place] / sum(self.paces)

    def is_known(self, device: str) -> bool:
        """Whether the pace of any agent with a kind of device is known."""
        return any(
            each.present_pace is not None
            for each, own in zip(self.members, self.devices, strict=True)
            if own == device
        )

    def note(self, member: Member, seconds: float) -> None:
        """An agent has got work of some length at pace 1."""
        place = self.place(member)
        self.busy[place] = seconds / self.paces[place]


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
