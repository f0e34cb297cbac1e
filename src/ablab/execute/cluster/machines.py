"""The interface of what connects a command with the agents of its machines."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any


class AgentLostError(RuntimeError):
    """An agent has ended, or its machine cannot be reached."""


class OtherCommandError(RuntimeError):
    """An agent works for another command."""


class Call(ABC):
    """A call to an agent, which may still be going on."""

    @abstractmethod
    def result(self, seconds: float | None = None) -> Any:
        """What it returned.

        Args:
            seconds: How long to wait; None waits as long as it takes.

        Raises:
            AgentLostError: The agent has ended, or did not answer in time.
            OtherCommandError: It works for another command by now.
            Exception: What the method raised, of whatever kind.
        """


class Line(ABC):
    """A line to one agent, which answers its calls in their order.

    Attributes:
        name: What messages call the agent, such as ``node3/1``.
        place: What identifies its machine.
        counts: Whether it counts as one of the agents that the user wants.
        device: The kind of device that it trains on; None for that of the plan.
    """

    name: str
    place: str
    counts: bool = True
    device: str | None = None

    @abstractmethod
    def call(self, method: str, *arguments: Any) -> Call:
        """Calls a method of :class:`ablab.execute.cluster.agent.Agent`."""

    @abstractmethod
    def end(self, again: bool = True) -> None:
        """Ends the agent; its steps that were not sent are lost.

        Args:
            again: Whether another agent may be started in its place.
        """


class Machines(ABC):
    """The machines that train for a command."""

    @abstractmethod
    def lines(self) -> Sequence[Line]:
        """Lines to all agents that live, among them those that an earlier command has left.

        Agents are started on machines that have joined. Called every few seconds.
        """

    @abstractmethod
    def wait(self, calls: Sequence[Call], seconds: float) -> Sequence[Call]:
        """Those of some calls that have ended; waits for one if none has."""

    @abstractmethod
    def close(self) -> None:
        """Ends the connection. Agents that were not ended live on."""
