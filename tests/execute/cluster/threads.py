"""Agents in threads of this process, which tests connect as they like."""

import concurrent.futures
import copy
import os
import pickle
import signal
from concurrent.futures import ThreadPoolExecutor

from ablab.execute.cluster.agent import Agent
from ablab.execute.cluster.driver import Driver
from ablab.execute.cluster.machines import AgentLostError, Call, Line, Machines
from ablab.execute.executor import Executor

PINNED = {"engine": "stack", "compile": "off"}
_rested = []


class RestingAgent(Agent):
    """An agent whose process stays for the next test."""

    paused = False

    def pause(self):
        super().pause()
        self.paused = True

    def rest(self):
        if self.paused or (self._claim is not None and self._claim.ending is None):
            self._stop_process()
        self.paused = False
        self._forget()
        self._command = ""


def _new_agent():
    thread = ThreadPoolExecutor(1)
    return thread, thread.submit(RestingAgent, None).result()


def close_agents():
    """Ends the agents that rest, with their processes."""
    while _rested:
        thread, agent = _rested.pop()
        thread.submit(agent.close).result()
        thread.shutdown()


class FutureCall(Call):
    def __init__(self, line, future):
        self.line, self.future = line, future

    def result(self, seconds=None):
        if self.line.lost:
            raise AgentLostError("the machine was switched off")
        try:
            # What travels is pickled, as between processes.
            return pickle.loads(pickle.dumps(self.future.result(seconds)))
        except concurrent.futures.TimeoutError:
            raise AgentLostError("no answer") from None


class ThreadLine(Line):
    """A line to an agent in a thread. ``change`` may change what it answers."""

    def __init__(self, name, change=lambda line, method, answer: answer):
        self.name = self.place = name
        self.change, self.lost, self.ended = change, False, False
        self.thread, self.agent = _rested.pop() if _rested else _new_agent()
        self.calls = []

    def call(self, method, *arguments):
        asked = arguments[1] if method == "obey" else method
        self.calls.append(asked)
        sent = copy.copy(arguments)

        def answer():
            return self.change(self, asked, getattr(self.agent, method)(*sent))

        return FutureCall(self, self.thread.submit(answer))

    def end(self, again=True):
        """The agent rests until the next test, in whose command it may train at once."""
        if not self.ended:
            self.ended = True
            self.thread.submit(self.agent.rest).result()
            _rested.append((self.thread, self.agent))

    def switch_off(self):
        """As if its machine had lost power."""
        self.lost = True
        if self.agent._process is not None:
            os.kill(self.agent._process.pid, signal.SIGKILL)


class ThreadMachines(Machines):
    def __init__(self, lines):
        self._lines = list(lines)

    def lines(self):
        return [line for line in self._lines if not (line.ended or line.lost)]

    def wait(self, calls, seconds):
        found = concurrent.futures.wait(
            [call.future for call in calls], seconds, concurrent.futures.FIRST_COMPLETED
        )
        return [call for call in calls if call.future in found.done or call.line.lost]

    def close(self):
        pass


class Threads(Executor):
    """Trains with the agents of ``lines``, which a test has made."""

    made = ()
    silent_seconds = 60.0
    driver = None

    @classmethod
    def capacity(cls, options):
        return len(cls.made)

    def train(self, queue):
        type(self).driver = Driver(queue, ThreadMachines(self.made), self.silent_seconds)
        return self.driver.run()


NAME = f"{__name__}:Threads"
