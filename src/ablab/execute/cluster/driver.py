"""Lends stacks to the agents of other machines, and publishes what they send.

Only this process writes to the store. Each claim's runs are leased by a token of the claim's own;
what an agent sends is published while that token holds them. If an agent is lost, silent or
stopped for too long, its claim's token ends, so whatever it still sends is refused, and the runs
go to another agent from the last step that was published.
"""

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ablab.config.wording import counted
from ablab.execute.cluster.lending import Lender
from ablab.execute.cluster.machines import AgentLostError, Call, Line, Machines
from ablab.execute.cluster.member import Member, Work
from ablab.execute.cluster.messages import Hello, Report, Sent
from ablab.execute.cluster.parcel import make_parcel
from ablab.execute.cluster.versions import differences, versions
from ablab.execute.deaths import Deaths
from ablab.execute.errors import ProcessError
from ablab.execute.queue import Claim, StackQueue
from ablab.store.homeward import receive
from ablab.store.index import StoreError
from ablab.store.leases import Owner, live_owners
from ablab.store.shipments import SentFile

_WAIT_SECONDS = 0.2
_JOIN_SECONDS = 2.0  # between two looks for machines that have joined
_STOPPED_SHARE = 1 / 6  # of this time, a training process may be stopped by a signal
_AWAY_SECONDS = 60.0  # an agent that was asked to leave its machine gets no work for so long
_PIECE_BYTES = 8 * 2**20
_PIECE_SECONDS = 60.0
_TROUBLES = 3  # a machine whose store fails as often gets no more work


class Driver:
    """Trains the stacks of a queue on other machines.

    Args:
        queue: The queue.
        machines: The machines.
        silent_seconds: An agent that has not answered for so long loses its claim, or whose
            training process has been stopped by a signal for a sixth of it.
    """

    def __init__(self, queue: StackQueue, machines: Machines, silent_seconds: float = 60.0) -> None:
        self._queue, self._machines, self._silent = queue, machines, silent_seconds
        self._parcel = make_parcel(queue)
        self._members: dict[int, Member] = {}  # by the identity of the line
        self._refused: list[Line] = []  # agents that are not used, ended with the command
        self._others: list[Line] = []  # agents of other commands
        self._unlike: dict[str, list[str]] = {}  # machines with other versions, and what differs
        self._deaths = Deaths(queue.store)
        self._troubles: dict[str, int] = {}
        self._joined = -_JOIN_SECONDS
        self._pausing = False
        self._died = 0  # training processes that died before they trained anything
        self._ready = False
        self._while_training = threading.Thread(target=queue.while_training, daemon=True)

    def run(self) -> bool:
        """Trains all unfinished runs; returns False if it was paused before the end.

        Raises:
            StoreError: The store cannot be written.
            ProcessError: No machine can train.
        """
        try:
            with Owner(self._queue.store.index.path) as self._owner:
                self._lender = Lender(self._queue, self._owner)
                while self._goes_on():
                    self._look_for_machines()
                    self._lend()
                    self._listen()
                    self._give_up_silent()
                    self._pause_if_asked()
                    self._queue.store.index.check_in_place()
        finally:
            for line in (*(member.line for member in self._members.values()), *self._refused):
                line.end()
            self._machines.close()
        return not self._queue.unfinished()

    def _goes_on(self) -> bool:
        trains = any(member.work is not None for member in self._members.values())
        return trains or (bool(self._lender.left) and not self._pausing)

    # Agents that join and leave.

    def _look_for_machines(self) -> None:
        now = time.monotonic()
        if now - self._joined < _JOIN_SECONDS or self._pausing:
            return
        self._joined = now
        known = {id(line) for line in (*self._refused, *self._others)} | set(self._members)
        for line in self._machines.lines():
            if id(line) not in known:
                member = Member(line, "hello", None, now)
                self._members[id(line)] = member
                member.ask("hello", "hello")
        if not self._members and self._unlike:
            raise ProcessError(self._no_machine())

    def _no_machine(self) -> str:
        lines = [f"{name}: {', '.join(found)}" for name, found in self._unlike.items()]
        return "no machine has the versions of this one; " + "; ".join(lines)

    def _greeted(self, member: Member, hello: Hello) -> None:
        """An agent has answered for the first time."""
        member.machine = hello.host
        unlike = differences(versions(), dict(hello.versions))
        others = live_owners(self._queue.store.index) - {self._owner.token}
        if hello.command in others:
            self._others.append(member.line)
            del self._members[id(member.line)]
            return
        if unlike:
            if hello.host not in self._unlike:
                self._unlike[hello.host] = unlike
                self._tell(f"{hello.host} is not used: {', '.join(unlike)}")
            self._refuse(member)
            return
        member.line.call("hello", self._owner.token)
        if hello.held is not None:
            self._adopt(member, hello.held.token)
        member.ask("prepare", "prepare", self._parcel)

    def _refuse(self, member: Member) -> None:
        """Does not use an agent any more."""
        self._refused.append(member.line)
        self._members.pop(id(member.line), None)

    def _adopt(self, member: Member, token: str) -> None:
        """Takes over a claim that an agent has trained for a command that died."""
        runs = self._owner.adopt(self._queue.store.index, token)
        stack = next(
            (
                number
                for number, planned in enumerate(self._queue.plan.stacks)
                if any(run.id in runs for run in planned.runs)
            ),
            None,
        )
        if not runs or stack is None:
            if runs:
                self._owner.end(self._queue.store.index, token)
            member.line.call("revoke", token)
            return
        self._works(member, token, stack, runs)
        self._tell(
            f"{member.machine} has gone on with {counted(len(runs), 'run')} for a command that died"
        )

    def _lost(self, member: Member, reason: str) -> None:
        """An agent is gone."""
        self._members.pop(id(member.line), None)
        member.line.end()
        self._tell(f"{member.line.name} is lost ({reason})")
        self._give_up(member)

    def _give_up(self, member: Member) -> None:
        """Ends an agent's claim; its runs go on elsewhere."""
        work, member.work = member.work, None
        if work is not None:
            self._owner.end(self._queue.store.index, work.token)
            self._lender.look_again(work.runs)
            self._queue.report({"event": "released", "stack": work.stack})

    def _give_up_silent(self) -> None:
        now = time.monotonic()
        for member in list(self._members.values()):
            work = member.work
            late = member.call is not None and now - member.since > self._silent
            if late and not member.silent and member.doing != "hello":
                member.silent = True
                self._tell(f"{member.line.name} does not answer; its runs go on elsewhere")
                self._give_up(member)
            elif (
                work is not None
                and work.stopped_since is not None
                and now - work.stopped_since > self._silent * _STOPPED_SHARE
            ):
                self._tell(f"{member.line.name} was stopped; its runs go on elsewhere")
                member.line.call("revoke", work.token)
                member.not_before = now + self._silent * _STOPPED_SHARE
                self._give_up(member)

    # Stacks that are lent.

    def _lend(self) -> None:
        if self._pausing:
            return
        now = time.monotonic()
        idle = [
            member
            for member in self._members.values()
            if member.doing == "idle" and member.work is None and now >= member.not_before
        ]
        if not idle or not self._lender.left:
            return
        self._lender.refresh()
        for member in idle:
            claim = self._lender.claim_for(member, list(self._members.values()))
            if claim is not None:
                self._send(member, claim)

    def _send(self, member: Member, claim: Claim) -> None:
        """Lends a claim to an agent."""
        with self._lender.message(claim) as lent:
            member.ask("begin", "begin", lent)
        self._works(member, lent.token, claim.number, [run.id for run in claim.runs])

    def _works(self, member: Member, token: str, stack: int, runs: Sequence[str]) -> None:
        """An agent trains a claim from now on."""
        member.work = self._lender.work(token, stack, runs)
        self._queue.report(
            {"event": "claimed", "stack": stack, "ids": list(runs), "machine": member.machine}
        )

    # What agents answer.

    def _listen(self) -> None:
        calls = {id(each.call): each for each in self._members.values() if each.call is not None}
        if not calls:
            time.sleep(_WAIT_SECONDS)
            return
        waiting: list[Call] = [each.call for each in calls.values() if each.call is not None]
        for call in self._machines.wait(waiting, _WAIT_SECONDS):
            member = calls[id(call)]
            if id(member.line) not in self._members or member.call is not call:
                continue
            try:
                answer = call.result()
            except StoreError as error:  # of the claim's own store
                self._trouble(member, str(error))
                continue
            except AgentLostError as error:
                self._lost(member, str(error))
                continue
            try:
                self._answered(member, answer)
            except AgentLostError as error:
                self._lost(member, str(error))

    def _answered(self, member: Member, answer: Any) -> None:
        if member.silent:
            member.silent = False
            self._tell(f"{member.line.name} answers again")
        match member.doing:
            case "hello":
                self._greeted(member, answer)
            case "prepare" | "begin":
                if member.work is None:
                    member.rest()
                else:
                    member.work.began = _now()
                    member.ask("poll", "poll")
            case "poll":
                self._reported(member, answer)

    def _reported(self, member: Member, report: Report) -> None:
        """Publishes what an agent reports, and passes its events on."""
        work = member.work
        if report.token is not None and (work is None or work.token != report.token):
            member.line.call("revoke", report.token)  # it was given up meanwhile
            member.rest()
            return
        if work is None:
            member.rest()
            return
        self._pass_on(work, report)
        work.stopped_since = (work.stopped_since or _now()) if report.stopped else None
        number = 0
        if report.sent is not None:
            number = report.sent.number
            if not self._publish(member, work, report.sent):
                self._tell(f"{member.line.name} sent runs that it no longer holds")
                member.line.call("revoke", work.token)
                self._give_up(member)
                member.rest()
                return
        if report.sent is not None or report.ending is not None:
            member.line.call("acknowledge", work.token, number, report.ending is not None)
        if report.ending is None:
            member.ask("poll", "poll")
            return
        self._ended(member, work, report)

    def _pass_on(self, work: Work, report: Report) -> None:
        for event in report.events:
            if event["event"] in ("claimed", "released", "waiting"):
                continue
            if event["event"] == "progress":
                self._ready = True
                if self._while_training.ident is None:
                    self._while_training.start()
                work.note(event["ids"], event["step"])
            self._queue.report(dict(event))

    def _publish(self, member: Member, work: Work, sent: Sent) -> bool:
        """Publishes a shipment; returns False if its claim no longer holds the runs."""
        queue = self._queue

        def fetch(file: SentFile, to: Path) -> None:
            place = sent.shipment.files.index(file)
            if place in sent.contents:
                to.write_bytes(sent.contents[place])
                return
            with to.open("wb") as written:
                for offset in range(0, file.bytes, _PIECE_BYTES):
                    call = member.line.call(
                        "read", work.token, sent.number, place, offset, _PIECE_BYTES
                    )
                    written.write(call.result(_PIECE_SECONDS))

        return receive(queue.store, sent.shipment, work.token, queue.experiment, fetch)

    def _ended(self, member: Member, work: Work, report: Report) -> None:
        """A claim has ended."""
        member.note_end()
        member.work = None
        member.rest()
        self._owner.end(self._queue.store.index, work.token)
        self._queue.report({"event": "released", "stack": work.stack})
        name = member.line.name
        if report.ending == "died":
            self._tell(f"a training process of {name} died ({report.reason})")
            self._deaths.note(list(work.runs), report.reason)
            self._died += not self._ready
            if self._died >= 3 * max(1, len(self._members)):
                raise ProcessError(
                    f"training processes die before they train anything ({report.reason})"
                )
        elif report.ending == "store":
            self._trouble(member, report.reason)
        elif report.ending == "paused" and not self._pausing:
            self._tell(f"{name} was asked to leave; its runs go on elsewhere")
            member.not_before = _now() + _AWAY_SECONDS
        self._lender.look_again(work.runs)

    def _trouble(self, member: Member, reason: str) -> None:
        """An agent cannot write its own store; the runs are not at fault."""
        self._tell(f"{member.line.name} cannot train: {reason.splitlines()[0]}")
        self._troubles[member.machine] = self._troubles.get(member.machine, 0) + 1
        self._give_up(member)
        member.rest()
        member.not_before = _now() + _AWAY_SECONDS
        if self._troubles[member.machine] >= _TROUBLES:
            self._refuse(member)
            if not self._members:
                raise ProcessError(f"no machine can train: {reason.splitlines()[0]}")

    def _pause_if_asked(self) -> None:
        if self._pausing or not self._queue.should_pause():
            return
        self._pausing = True
        self._queue.report({"event": "pausing"})
        for member in self._members.values():
            if member.work is not None:
                with suppress(AgentLostError):
                    member.line.call("pause")

    def _tell(self, text: str) -> None:
        self._queue.report({"event": "message", "text": text})


def _now() -> float:
    return time.monotonic()
