"""What a command and its agents tell each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ablab.execute.options import Engine
from ablab.store.shipments import Shipment

Ending = Literal["done", "paused", "died", "store"]


@dataclass(frozen=True)
class Parcel:
    """What an agent needs before it can train runs of a command.

    Attributes:
        definition: The experiment as plain data.
        threads: The number of threads of its process.
        modules: Users' modules, as their paths in a folder of modules with their contents.
        texts: Corpora and tokenizers, by the names that the experiment has for them.
    """

    definition: Mapping[str, Any]
    threads: int
    modules: Mapping[str, bytes] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Lent:
    """A claim that an agent is to train.

    Attributes:
        token: Its token, by which the command has leased the runs.
        stack: The stack's number in the command's plan.
        experiment: The number of the experiment.
        plan: The plan of this stack alone, as plain data.
        device: The kind of device to train on. If the plan is for another one, the agent plans
            anew.
        engine: The user's option, for that.
        shipment: What training starts from.
        contents: The contents of the shipment's files, in its order.
    """

    token: str
    stack: int
    experiment: int
    plan: Mapping[str, Any]
    device: str
    engine: Engine
    shipment: Shipment
    contents: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Held:
    """A claim that an agent trains.

    Attributes:
        token: Its token.
        runs: Its runs.
    """

    token: str
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Hello:
    """What an agent is.

    Attributes:
        host: The name of its machine.
        versions: What :func:`ablab.execute.cluster.versions.versions` finds there.
        command: The token of the command that it worked for before this call; empty if none.
        held: The claim that it trains, possibly for a command that has died; None if it is idle.
        lacks: Why it cannot train on the device that it is for; empty if it can.
    """

    host: str
    versions: Mapping[str, str]
    command: str
    held: Held | None
    lacks: str = ""


@dataclass(frozen=True)
class Sent:
    """A shipment on its way.

    Attributes:
        number: Its number within the claim, from 1.
        shipment: The rows, and what the files are.
        contents: The contents of small files, by their places in the shipment; others are read
            with :meth:`ablab.execute.cluster.agent.Agent.read`.
    """

    number: int
    shipment: Shipment
    contents: Mapping[int, bytes]


@dataclass(frozen=True)
class Report:
    """What has happened at an agent since its last report.

    Attributes:
        token: The claim's token; None if there is none.
        events: Events as of :class:`ablab.execute.queue.StackQueue`.
        sent: A shipment that was not acknowledged yet; None if there is nothing new.
        ending: How training has ended; None if it goes on. No shipment follows this one.
        reason: Why, if it died or its store failed.
        stopped: Whether its training process is stopped by a signal.
    """

    token: str | None
    events: tuple[Mapping[str, Any], ...]
    sent: Sent | None
    ending: Ending | None = None
    reason: str = ""
    stopped: bool = False
