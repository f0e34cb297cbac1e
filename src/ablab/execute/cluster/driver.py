"""Lends stacks to the agents of other machines, and publishes what they send.

Only this process writes to the store. Each claim's runs are leased by a token of the claim's own;
what an agent sends is published while that token holds them. If an agent is lost, silent or
stopped for too long, its claim's token ends, so whatever it still sends is refused, and the runs
go to another agent from the last step that was published.
"""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ablab.config.wording import counted
from ablab.execute.cluster.lending import Lender
from ablab.execute.cluster.machines import AgentLostError, Call, Machines, OtherCommandError
from ablab.execute.cluster.member import Member, Work
from ablab.execute.cluster.messages import Held, Report, Sent
from ablab.execute.cluster.parcel import make_parcel
from ablab.execute.cluster.roster import Roster
from ablab.execute.deaths import Deaths
from ablab.execute.options import Engine
from ablab.execute.queue import Claim, StackQueue
from ablab.store.homeward import receive
from ablab.store.index import StoreError
from ablab.store.leases import Owner, holders
from ablab.store.shipments import AlteredError, SentFile

_WAIT_SECONDS = 0.2
_STOPPED_SHARE = 1 / 6  # of the silence limit, for which a process may be stopped by a signal
_AWAY_SECONDS = 60.0  # an agent that was asked to leave its machine gets no work for so long
_IDLE_SECONDS = 5.0  # without any work, after which it is said what is waited for
_START_SECONDS = 30.0  # that agents may take to start before that is said
_PIECE_BYTES = 8 * 2**20


class Driver:
    """Trains the stacks of a queue on other machines.

    Args:
        queue: The queue.
        machines: The machines.
        silent_seconds: An agent that has not answered for so long loses its claim, or whose
            training process has been stopped by a signal for a sixth of it.
        engine: The user's option, for agents that plan anew.
    """

    def __init__(
        self,
        queue: StackQueue,
        machines: Machines,
        silent_seconds: float = 60.0,
        engine: Engine = "auto",
    ) -> None:
        self._queue, self._machines, self._silent = queue, machines, silent_seconds
        self._engine = engine
        self._parcel = make_parcel(queue)
        self._deaths = Deaths(queue.store)
        self._pausing = False
        self._began = time.monotonic()
        self._worked = self._began  # when an agent last had work, or it was said that none has
        self._while_training = threading.Thread(target=queue.while_training, daemon=True)

    def run(self) -> bool:
        """Trains all unfinished runs; returns False if it was paused before the end.

        If the store cannot be written, agents keep what they have for the next command.

        Raises:
            StoreError: The store cannot be written.
            ProcessError: No machine can train.
        """
        store, keep = self._queue.store, False
        with Owner(store.index.path) as self._owner:
            self._lender = Lender(self._queue, self._owner, self._engine)
            self._roster = Roster(self._machines, store, self._owner, self._tell)
            try:
                while self._goes_on():
                    if not self._pausing:
                        self._roster.look()
                        self._lend()
                    self._listen()
                    self._give_up_silent()
                    self._pause_if_asked()
                    store.index.check_in_place()
            except StoreError:
                keep = True
                for member in self._roster:
                    if member.work is not None:
                        self._owner.leave(member.work.token)
                raise
            finally:
                self._roster.end(lambda member: keep and member.work is not None)
        return not self._queue.unfinished()

    def _goes_on(self) -> bool:
        trains = any(member.work is not None for member in self._roster)
        return trains or (bool(self._lender.left) and not self._pausing)

    # Stacks that are lent.

    def _lend(self) -> None:
        now = time.monotonic()
        members = list(self._roster)
        idle = [
            member
            for member in members
            if member.doing == "idle" and member.work is None and now >= member.not_before
        ]
        if idle and self._lender.left:
            self._lender.refresh()
            for member, claim in self._lender.claims(idle, members):
                self._send(member, claim)
        if any(member.work is not None for member in members):
            self._worked = now
        elif now - self._worked > _IDLE_SECONDS:
            self._worked = now
            self._say_what_is_waited_for(bool(idle), now)

    def _say_what_is_waited_for(self, some_idle: bool, now: float) -> None:
        if some_idle:
            found = holders(self._queue.store.index, list(self._lender.left))
            self._queue.report({"event": "waiting", "for": [str(each) for each in found]})
        elif now - self._began > _START_SECONDS and not any(m.machine for m in self._roster):
            text = "waiting for an agent to start: all cores may be taken by other programs"
            self._queue.report({"event": "message", "about": text, "text": text})

    def _send(self, member: Member, claim: Claim) -> None:
        """Lends a claim to an agent."""
        with self._lender.message(claim, self._lender.device_of(member)) as lent:
            self._works(member, lent.token, claim.number, [run.id for run in claim.runs])
            member.token = lent.token
            member.ask("begin", lent)

    def _works(self, member: Member, token: str, stack: int, runs: Sequence[str]) -> None:
        """An agent trains a claim from now on."""
        member.work = self._lender.work(token, stack, runs)
        for number, ids in self._lender.by_stack(runs).items():
            self._queue.report(
                {"event": "claimed", "stack": number, "ids": ids, "machine": member.machine}
            )

    def _adopt(self, member: Member, held: Held) -> None:
        """Takes over a claim that an agent has trained for a command that died."""
        found = self._owner.adopt(self._queue.store.index, held.token)
        stack = None if found is None else self._lender.stack_of(found[1])
        if found is None or stack is None:
            if found is not None:
                self._owner.end(self._queue.store.index, found[0])
            member.tell("revoke", held.token)
            return
        token, runs = found
        member.token = token
        member.tell("rename", held.token, token)
        self._works(member, token, stack, runs)
        if member.work is not None:
            member.work.begun = True
        self._tell(
            f"{member.machine} has gone on with {counted(len(runs), 'run')} for a command that died"
        )
        if self._pausing:
            member.tell("pause")

    # What agents answer.

    def _listen(self) -> None:
        by_call = {id(each.call): each for each in self._roster if each.call is not None}
        if not by_call:
            time.sleep(_WAIT_SECONDS)
            return
        waiting: list[Call] = [each.call for each in by_call.values() if each.call is not None]
        for call in self._machines.wait(waiting, _WAIT_SECONDS):
            member = by_call[id(call)]
            if self._roster.has(member) and member.call is call:
                self._hear(member, call)

    def _hear(self, member: Member, call: Call) -> None:
        try:
            answer = call.result()
        except AgentLostError as error:
            self._lost(member, str(error))
        except OtherCommandError:
            self._roster.leave_to_others(member)
            self._give_up(member)
        except Exception as error:  # such as a full disk there
            self._trouble(member, str(error) or type(error).__name__)
        else:
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
                member.held = answer.held
                self._roster.greeted(member, answer)
            case "engage":
                if not answer:
                    self._roster.leave_to_others(member)
                    return
                self._roster.engaged(member)
                if member.held is not None:
                    self._adopt(member, member.held)
                member.ask("prepare", self._parcel)
            case "prepare" | "begin":
                if member.work is None:
                    if member.doing == "begin":
                        member.tell("revoke", member.token)  # it was given up meanwhile
                    member.rest()
                else:
                    member.work.began = time.monotonic()
                    member.ask("poll")
            case "poll":
                self._reported(member, answer)

    def _reported(self, member: Member, report: Report) -> None:
        """Publishes what an agent reports, and passes its events on."""
        work = member.work
        if work is None or report.token != work.token:
            if report.token is not None:
                member.tell("revoke", report.token)  # it was given up meanwhile
            self._give_up(member)
            member.rest()
            return
        self._pass_on(work, report)
        work.stopped_since = (work.stopped_since or time.monotonic()) if report.stopped else None
        number = 0
        if report.sent is not None:
            number = report.sent.number
            if not self._publish(member, work, report.sent):
                self._tell(f"{member.line.name} sent runs that it no longer holds")
                self._revoke(member, work)
                member.rest()
                return
            work.published = number
        if report.sent is not None or report.ending is not None:
            member.tell("acknowledge", work.token, number, report.ending is not None)
        if report.ending is None:
            member.ask("poll")
            return
        self._ended(member, work, report)

    def _pass_on(self, work: Work, report: Report) -> None:
        for event in report.events:
            if event["event"] == "claimed":
                work.begun = True
            # How fast another machine is says nothing of this one.
            if event["event"] in ("claimed", "released", "waiting", "pace"):
                continue
            if event["event"] == "progress":
                if self._while_training.ident is None:
                    self._while_training.start()
                work.note(event["ids"], event["step"])
            stack = {"stack": work.stack} if "stack" in event else {}
            self._queue.report({**event, **stack})

    def _publish(self, member: Member, work: Work, sent: Sent) -> bool:
        """Publishes a shipment; returns False if its claim no longer holds the runs.

        Raises:
            AgentLostError: The agent did not send its files.
        """
        if sent.number <= work.published:  # the same again
            return True
        lost: list[AgentLostError] = []

        def fetch(file: SentFile, to: Path) -> None:
            place = sent.shipment.files.index(file)
            if place in sent.contents:
                to.write_bytes(sent.contents[place])
                return
            with to.open("wb") as written:
                for offset in range(0, file.bytes, _PIECE_BYTES):
                    try:
                        call = member.tell(
                            "read", work.token, sent.number, place, offset, _PIECE_BYTES
                        )
                        piece = call.result(self._silent / 4)
                    except Exception as error:
                        lost.append(AgentLostError(str(error)))
                        raise
                    written.write(piece)

        queue = self._queue
        try:
            return receive(queue.store, sent.shipment, work.token, queue.experiment, fetch)
        except AlteredError as error:
            raise AgentLostError(error.problems[0].message) from error
        except StoreError:
            if lost:  # the store is not at fault
                raise lost[0] from None
            raise

    def _ended(self, member: Member, work: Work, report: Report) -> None:
        """A claim has ended."""
        if report.ending == "store" or (report.ending == "died" and not work.begun):
            self._trouble(member, report.reason)
            return
        member.note_end()
        member.rest()
        name = member.line.name
        if report.ending == "died":
            self._tell(f"a training process of {name} died ({report.reason})")
            self._deaths.note(list(work.runs), report.reason)
        elif report.ending == "paused" and not self._pausing:
            self._tell(f"{name} was asked to leave; its runs go on elsewhere")
            member.not_before = time.monotonic() + _AWAY_SECONDS
        else:
            self._roster.succeeded(member)
        self._give_up(member)

    # Agents that are in trouble, and the end.

    def _trouble(self, member: Member, reason: str) -> None:
        """An agent cannot train; no run is at fault."""
        if not member.machine:  # it could not even say what it is
            self._lost(member, reason)
            return
        self._tell(f"{member.line.name} cannot train: {reason.splitlines()[0]}")
        if member.work is not None:
            self._revoke(member, member.work)
        member.rest()
        self._roster.failed(member, reason)

    def _lost(self, member: Member, reason: str) -> None:
        """An agent is gone."""
        self._roster.lost(member, reason)
        self._give_up(member)

    def _revoke(self, member: Member, work: Work) -> None:
        """Tells an agent that its claim has ended, and gives the claim up."""
        member.tell("revoke", work.token)
        self._give_up(member)

    def _give_up(self, member: Member) -> None:
        """Ends an agent's claim; what is left of its runs goes on elsewhere."""
        work, member.work = member.work, None
        if work is not None:
            self._owner.end(self._queue.store.index, work.token)
            self._lender.look_again(work.runs)
            for number in self._lender.by_stack(work.runs):
                self._queue.report({"event": "released", "stack": number})

    def _give_up_silent(self) -> None:
        now = time.monotonic()
        for member in self._roster:
            work = member.work
            if self._is_late(member, now):
                member.silent = True
                self._tell(f"{member.line.name} does not answer; its runs go on elsewhere")
                self._give_up(member)
            elif (
                work is not None
                and work.stopped_since is not None
                and now - work.stopped_since > self._silent * _STOPPED_SHARE
            ):
                self._tell(f"{member.line.name} was stopped; its runs go on elsewhere")
                self._revoke(member, work)
                member.not_before = now + self._silent * _STOPPED_SHARE

    def _is_late(self, member: Member, now: float) -> bool:
        """Whether an agent has not answered for too long; answers may be waiting to be read."""
        if member.call is None or member.silent or member.doing in ("hello", "engage"):
            return False
        if now - member.since <= self._silent:
            return False
        return not self._machines.wait([member.call], 0.0)

    def _pause_if_asked(self) -> None:
        if self._pausing or not self._queue.should_pause():
            return
        self._pausing = True
        self._queue.report({"event": "pausing"})
        for member in self._roster:
            if member.work is not None:
                member.tell("pause")

    def _tell(self, text: str) -> None:
        self._queue.report({"event": "message", "text": text})
