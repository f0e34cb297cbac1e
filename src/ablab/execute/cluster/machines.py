"""The interface of what connects a command with the agents of its machines."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any


class AgentLostError(RuntimeError):
    """An agent has ended, or its machine cannot be reached."""


class Call(ABC):
    """A call to an agent, which may still be going on."""

    @abstractmethod
    def result(self, seconds: float | None = None) -> Any:
        """What it returned.

        Args:
            seconds: How long to wait; None waits as long as it takes.

        Raises:
            AgentLostError: The agent has ended, or did not answer in time.
        """


class Line(ABC):
    """A line to one agent, which answers its calls in their order.

    Attributes:
        name: What messages call the agent, such as ``node3/1``.
    """

    name: str

    @abstractmethod
    def call(self, method: str, *arguments: Any) -> Call:
        """Calls a method of :class:`ablab.execute.cluster.agent.Agent`."""

    @abstractmethod
    def end(self) -> None:
        """Ends the agent; its steps that were not sent are lost."""


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
        """Ends the connection. Agents that were not ended live on for a while."""
