"""The interface of executors, which claim stacks, train them and report on them.

An executor is one file in ``ablab/execute/executors/``, or a user's class named by import path. It
claims stacks with :meth:`StackQueue.claims`, sets each up with :func:`ablab.execute.setup.set_up`,
trains it with :func:`ablab.train.loop.train`, and reports events with ``StackQueue.report``.

There are three types of errors. An exception raised by training becomes a
:class:`~ablab.execute.errors.RunFailure`, which is stored with the run; other runs continue. A
:class:`~ablab.store.index.StoreError` ends the command and marks no run as failed. A
:class:`~ablab.execute.errors.ProcessError` means that processes die before they train anything.
"""

from abc import ABC, abstractmethod
from dataclasses import replace

import torch

from ablab.config import InputError, Problem
from ablab.execute.device import find_device
from ablab.execute.options import EXECUTORS, Options
from ablab.execute.plan import Plan
from ablab.execute.queue import StackQueue


class Executor(ABC):
    """Trains the stacks of a queue.

    Attributes:
        options: The user's options, once the executor was made by :func:`make_executor`.
        is_local: Whether it trains on this machine, whose speed is then measured.
    """

    options: Options = Options()
    is_local: bool = True

    @classmethod
    def capacity(cls, options: Options) -> int | None:
        """How many processes with one thread can train at the same time.

        Args:
            options: The user's options.

        Returns:
            The number, which the plan takes as its number of workers unless the user gives one;
            None if these are processes of this machine, for which the plan decides.

        Raises:
            InputError: There is no machine at the given address, or an extra is missing.
        """
        return None

    @classmethod
    def processes(cls, count: int) -> str:
        """What trains, in words for the line that announces a plan."""
        return "this process" if count == 1 else f"{count} worker processes"

    @abstractmethod
    def train(self, queue: StackQueue) -> bool:
        """Trains all unfinished runs; returns False if it was paused before the end.

        Raises:
            StoreError: The store cannot be written.
            ProcessError: Processes die before they train anything.
        """


def make_executor(options: Options, plan: Plan) -> Executor:
    """The executor named by the options; by default it depends on the plan's number of workers.

    Raises:
        InputError: There is no executor of that name, or the import path is not one.
    """
    name = options.executor
    if name == "auto":
        name = "in_process" if plan.workers == 1 else "worker_processes"
    executor = find_executor(name)()
    executor.options = options
    return executor


def with_capacity(options: Options) -> Options:
    """The options for a plan, with the number of workers and threads of the executor's machines.

    Raises:
        InputError: See :meth:`Executor.capacity`.
    """
    if options.executor == "auto":
        return options
    capacity = find_executor(options.executor).capacity(options)
    if capacity is None:
        return options
    return replace(options, workers=options.workers or capacity, threads=1)


def planning_device(options: Options) -> torch.device:
    """The device for which a plan is made: where runs train, if this machine has such a device.

    Raises:
        InputError: Runs train on this machine, and it has no such device.
    """
    try:
        return find_device(options.device)
    except InputError:
        if options.executor == "auto" or find_executor(options.executor).is_local:
            raise
        return find_device("auto")  # that of other machines, which plan anew


def find_executor(name: str) -> type[Executor]:
    """The executor class of that name or import path.

    Raises:
        InputError: There is none, or the import path is not an executor.
    """
    kind = EXECUTORS.find(name)
    if not (isinstance(kind, type) and issubclass(kind, Executor)):
        raise InputError(
            Problem(
                f"{name} is not an executor",
                "executor",
                given=name,
                expected="a subclass of ablab.execute.executor.Executor",
            )
        )
    return kind
