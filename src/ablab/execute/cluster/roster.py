"""The agents of a command: those that join, those that are not used, those that leave."""

import time
from collections import Counter
from collections.abc import Callable, Iterator

from ablab.execute.cluster.machines import Line, Machines
from ablab.execute.cluster.member import Member
from ablab.execute.cluster.messages import Hello
from ablab.execute.cluster.versions import differences, versions
from ablab.execute.errors import ProcessError
from ablab.store.leases import Owner, live_owners
from ablab.store.store import Store

_JOIN_SECONDS = 2.0  # between two looks for machines that have joined
_OTHERS_SECONDS = 10.0  # between two looks at the agents of other commands
_FAILURES = 3  # of a machine's agents, after which it gets no more work
_BACKOFF_SECONDS = 2.0  # times the number of failures


class Roster:
    """The agents of a command.

    Args:
        machines: The machines.
        store: The command's store.
        owner: The command as an owner of runs.
        tell: Shows a message.
    """

    def __init__(
        self, machines: Machines, store: Store, owner: Owner, tell: Callable[[str], None]
    ) -> None:
        self._machines, self._store, self._owner, self._tell = machines, store, owner, tell
        self._members: dict[int, Member] = {}  # by the identity of the line
        self._refused: dict[int, Line] = {}
        self._others: dict[int, tuple[Line, float]] = {}  # agents of other commands, since when
        self._unlike: dict[str, list[str]] = {}  # machines with other versions, and what differs
        self._failures: Counter[tuple[str, str | None]] = Counter()
        self._reason = ""  # of the last failure
        self._looked = -_JOIN_SECONDS

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self._members.values()))

    def has(self, member: Member) -> bool:
        """Whether an agent still works for the command."""
        return self._members.get(id(member.line)) is member

    def look(self) -> None:
        """Looks from time to time for agents that have joined.

        Raises:
            ProcessError: No machine can train.
        """
        now = time.monotonic()
        if now - self._looked < _JOIN_SECONDS:
            return
        self._looked = now
        for key, (_, since) in list(self._others.items()):
            if now - since > _OTHERS_SECONDS:
                del self._others[key]  # it is asked again
        for line in self._machines.lines():
            if not {id(line)} & {*self._members, *self._refused, *self._others}:
                member = Member(line, self._owner.token)
                self._members[id(line)] = member
                member.greet()
        if not self._members and not self._others and (self._unlike or self._refused):
            raise ProcessError(self._why_none())

    def _why_none(self) -> str:
        if self._unlike:
            lines = [f"{name}: {', '.join(found)}" for name, found in self._unlike.items()]
            return "no machine has the versions of this one; " + "; ".join(lines)
        return f"no machine can train: {self._reason}"

    def greeted(self, member: Member, hello: Hello) -> None:
        """An agent has said what it is; it is asked to work for the command if it can."""
        member.machine = hello.host
        unlike = differences(versions(), dict(hello.versions))
        if unlike:
            if hello.host not in self._unlike:
                self._unlike[hello.host] = unlike
                self._tell(f"{hello.host} is not used: {', '.join(unlike)}")
            self.refuse(member)
        elif hello.lacks:
            self._reason = hello.lacks
            self._tell(f"{member.line.name} is not used: {hello.lacks}")
            self.refuse(member)
        elif hello.command in live_owners(self._store.index) - {self._owner.token}:
            self.leave_to_others(member)
        else:
            member.engage(hello.command)

    def leave_to_others(self, member: Member) -> None:
        """Another command has the agent; it is asked again later."""
        member.line.counts = False
        self._others[id(member.line)] = (member.line, time.monotonic())
        self._members.pop(id(member.line), None)

    def engaged(self, member: Member) -> None:
        """The agent works for this command."""
        member.line.counts = True

    def refuse(self, member: Member) -> None:
        """Does not use an agent, nor another one in its place."""
        member.line.counts = False
        self._refused[id(member.line)] = member.line
        self._members.pop(id(member.line), None)
        member.line.end(again=False)

    def failed(self, member: Member, reason: str) -> None:
        """An agent could not train, without a run at fault; after some times it is not used."""
        machine = self._machine_of(member)
        self._failures[machine] += 1
        self._reason = reason.splitlines()[0] if reason else "it has ended"
        member.not_before = time.monotonic() + _BACKOFF_SECONDS * self._failures[machine]
        if self._failures[machine] >= _FAILURES:
            self.refuse(member)

    def succeeded(self, member: Member) -> None:
        """An agent has trained a claim."""
        self._failures.pop(self._machine_of(member), None)

    @staticmethod
    def _machine_of(member: Member) -> tuple[str, str | None]:
        """What fails together: the agents of one machine with one kind of device."""
        return member.machine or member.line.place, member.line.device

    def lost(self, member: Member, reason: str) -> None:
        """An agent is gone; another one may be started in its place."""
        self._members.pop(id(member.line), None)
        self._tell(f"{member.line.name} is lost ({reason})")
        if member.machine:
            member.line.end()
        else:  # it has never answered: ablab is missing there, for example
            self.failed(member, reason)
            if id(member.line) not in self._refused:
                member.line.end()

    def end(self, keep: Callable[[Member], bool]) -> None:
        """Ends all agents but those to keep, whatever errors that raises."""
        for member in self:
            if not keep(member):
                member.line.end()
        self._machines.close()
