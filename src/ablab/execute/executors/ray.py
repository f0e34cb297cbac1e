"""Trains on the machines of a Ray cluster; see docs/cluster.md.

An agent for each free core and for each GPU is a detached actor, so that it outlives a command
that is killed. Ray itself is an extra, ``ablab[ray]``, and is imported when it is used.
"""

import hashlib
import logging
import math
import os
import signal
import threading
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ablab.config import InputError, Problem, counted
from ablab.execute.cluster.agent import Agent
from ablab.execute.cluster.driver import Driver
from ablab.execute.cluster.machines import AgentLostError, Call, Line, Machines
from ablab.execute.cluster.unlike_devices import places
from ablab.execute.executor import Executor
from ablab.execute.options import EXECUTORS, Options
from ablab.execute.queue import StackQueue

_NAMESPACE, _PREFIX = "ablab", "agent"
_SILENT = "ABLAB_SILENT_SECONDS"
_ours = False  # whether this module has connected this process to the cluster
_CLOSE_SECONDS = 5.0  # for agents to remove what they have written


@EXECUTORS.register("ray")
class RayCluster(Executor):
    """Trains on the machines of a Ray cluster."""

    is_local = False

    @classmethod
    def capacity(cls, options: Options) -> int:
        """See :meth:`Executor.capacity`."""
        _silent_seconds()
        _connect(options.address)
        found = [places(node["Resources"], options.device) for node in _nodes()]
        count = sum(sum(each.values()) for each in found)
        if not count:
            what = "GPU" if options.device == "cuda" else "core"
            raise InputError(
                Problem(
                    f"the Ray cluster has no {what} to train on",
                    "address",
                    given=options.address or "the local cluster",
                    expected="a cluster whose nodes offer some, as ray start --num-cpus does",
                )
            )
        return count

    @classmethod
    def processes(cls, count: int) -> str:
        """See :meth:`Executor.processes`."""
        return f"{counted(count, 'agent')} of a Ray cluster"

    def train(self, queue: StackQueue) -> bool:
        """See :meth:`Executor.train`."""
        _connect(self.options.address)
        machines = _RayMachines(queue, self.options)
        return Driver(queue, machines, _silent_seconds(), self.options.engine).run()


def _silent_seconds() -> float:
    """How long an agent may not answer: ``ABLAB_SILENT_SECONDS``, by default 60.

    Raises:
        InputError: The variable is no positive number.
    """
    text = os.environ.get(_SILENT, "60")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise InputError(
            Problem(f"{_SILENT} is no positive number", given=text, expected="seconds, such as 60")
        )
    return seconds


def _connect(address: str | None) -> None:
    """Connects to a cluster; without an address, to that of this machine, which may be a new one.

    Raises:
        InputError: Ray is not installed, or there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise InputError(
            Problem(
                "the executor ray needs the package ray",
                "executor",
                given="ray",
                expected="pip install 'ablab[ray]'",
            )
        ) from error
    if ray.is_initialized():
        return
    global _ours  # noqa: PLW0603 (Ray has one connection for each process, too)
    main = threading.current_thread() is threading.main_thread()
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(
                address=address,
                namespace=_NAMESPACE,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        _ours = True
        for number, handler in handlers.items() if main else ():
            signal.signal(number, handler)  # Ray has put its own in place, which end the process
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(
            Problem(
                f"cannot connect to the Ray cluster ({str(error).splitlines()[0]})",
                "address",
                given=address or "the local cluster",
                expected="HOST:PORT as ray start --head prints it, or auto on one of its machines",
            )
        ) from error


def _nodes() -> list[dict[str, Any]]:
    import ray

    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in found if node["Alive"]]


@dataclass(eq=False)
class _RayCall(Call):
    """A call of an actor's method.

    Attributes:
        reference: Ray's reference to the result.
    """

    reference: Any

    def result(self, seconds: float | None = None) -> Any:
        """See :meth:`Call.result`."""
        import ray

        try:
            return ray.get(self.reference, timeout=seconds)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except ray.exceptions.RayError as error:
            lines = str(error).splitlines() or [type(error).__name__]
            raise AgentLostError(lines[0]) from error


@dataclass(eq=False)
class _RayLine(Line):
    """A line to an actor.

    Attributes:
        name: What messages call it.
        place: The id of its node.
        actor: The actor.
        machines: The machines that it belongs to.
        device: The kind of device that it trains on.
        counts: Whether it counts as one of the agents that the user wants.
    """

    name: str
    place: str
    actor: Any
    machines: "_RayMachines" = field(repr=False)
    device: str | None
    counts: bool = True

    def call(self, method: str, *arguments: Any) -> Call:
        """See :meth:`Line.call`."""
        return _RayCall(getattr(self.actor, method).remote(*arguments))

    def end(self, again: bool = True) -> None:
        """See :meth:`Line.end`."""
        self.machines.end(self, again)


class _RayMachines(Machines):
    """The nodes of a Ray cluster.

    Args:
        queue: The queue of the command.
        options: The user's options.
    """

    def __init__(self, queue: StackQueue, options: Options) -> None:
        about = f"{queue.store.path.resolve()} {queue.experiment}"
        self._prefix = f"{_PREFIX}-{hashlib.sha256(about.encode()).hexdigest()[:12]}"
        self._device, self._most = options.device, options.workers
        self._lines: list[_RayLine] = []
        self._closing: list[tuple[Any, Any, float]] = []  # with when it was asked to close
        # Places of agents that are not started again, by node and kind of device.
        self._taken: Counter[tuple[str, str | None]] = Counter()
        self._number = 0
        self._found = False

    def lines(self) -> Sequence[Line]:
        """See :meth:`Machines.lines`."""
        nodes = _nodes()
        self._end_closed()
        if not self._found:
            self._found = True
            self._find({node["NodeID"] for node in nodes})
        for node in nodes:
            for device, count in places(node["Resources"], self._device).items():
                place = (node["NodeID"], device)
                used = sum((line.place, line.device) == place for line in self._lines)
                for _ in range(count - used - self._taken[place]):
                    wanted = sum(line.counts for line in self._lines)
                    if self._most is None or wanted < self._most:
                        self._lines.append(self._start(node, device))
        return list(self._lines)

    def _find(self, nodes: set[str]) -> None:
        """Finds the agents that earlier commands have left."""
        import ray

        for each in ray.util.list_named_actors(all_namespaces=True):
            name = each["name"]
            prefix, _, rest = name.rpartition("/")
            node, _, rest = rest.partition("-")
            device, _, number = rest.partition("-")
            if each["namespace"] != _NAMESPACE or prefix != self._prefix or not number.isdigit():
                continue  # of others, or of an earlier release
            wanted = self._device in ("auto", device)
            if node in nodes and wanted:
                with suppress(ValueError):  # it has ended meanwhile
                    actor = ray.get_actor(name, _NAMESPACE)
                    self._lines.append(_RayLine(f"agent {number}", node, actor, self, device))
            self._number = max(self._number, int(number))

    def _start(self, node: dict[str, Any], device: str) -> _RayLine:
        """Starts an agent on a node, for a kind of device."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._number += 1
        uses_gpu = device == "cuda"
        actor = ray.remote(Agent).options(
            name=f"{self._prefix}/{node['NodeID']}-{device}-{self._number}",
            namespace=_NAMESPACE,
            lifetime="detached",
            num_cpus=0 if uses_gpu else 1,
            num_gpus=1 if uses_gpu else 0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        )
        kind = "GPU " if uses_gpu else ""
        name = f"{node['NodeManagerHostname']}/{kind}{self._number}"
        return _RayLine(name, node["NodeID"], actor.remote(), self, device)

    def end(self, line: _RayLine, again: bool) -> None:
        """Ends an agent, which first removes what it has written."""
        if line in self._lines:
            self._lines.remove(line)
            self._taken[line.place, line.device] += not again
            self._closing.append((line.actor, line.actor.close.remote(), time.monotonic()))

    def _end_closed(self) -> None:
        """Ends the actors that have closed, or that take too long, so that their cores are free."""
        import ray

        late = time.monotonic() - _CLOSE_SECONDS
        for each in list(self._closing):
            actor, reference, since = each
            if since < late or ray.wait([reference], timeout=0)[0]:
                ray.kill(actor)
                self._closing.remove(each)

    def wait(self, calls: Sequence[Call], seconds: float) -> Sequence[Call]:
        """See :meth:`Machines.wait`."""
        import ray

        by_reference = {each.reference: each for each in calls if isinstance(each, _RayCall)}
        references = list(by_reference)
        ready, _ = ray.wait(references, num_returns=1, timeout=seconds)
        if ready:
            ready, _ = ray.wait(references, num_returns=len(references), timeout=0)
        return [by_reference[each] for each in ready]

    def close(self) -> None:
        """See :meth:`Machines.close`."""
        import ray

        global _ours  # noqa: PLW0603
        with suppress(ray.exceptions.RayError):
            waiting = [reference for _, reference, _ in self._closing]
            if waiting:
                ray.wait(waiting, num_returns=len(waiting), timeout=_CLOSE_SECONDS)
            for actor, _, _ in self._closing:
                ray.kill(actor)
        if _ours:  # else it is the user's
            _ours = False
            ray.shutdown()
