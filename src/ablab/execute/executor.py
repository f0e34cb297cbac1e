"""The interface of executors, which claim stacks, train them and report on them.

An executor is one file in ``ablab/execute/executors/``, or a user's class named by import path. It
claims stacks by :meth:`StackQueue.claims`, sets each up by :func:`ablab.execute.setup.set_up`,
trains it by :func:`ablab.train.loop.train`, and reports events by ``StackQueue.report``.

Errors have three types. An exception raised by training is a
:class:`~ablab.execute.errors.RunFailure`: it is stored with the run, and the others go on. A
:class:`~ablab.store.index.StoreError` ends the command and blames no run. A
:class:`~ablab.execute.errors.ProcessError` says that processes die before they train anything.
"""

from abc import ABC, abstractmethod

from ablab.config import InputError, Problem
from ablab.execute.options import EXECUTORS, Options
from ablab.execute.plan import Plan
from ablab.execute.queue import StackQueue


class Executor(ABC):
    """Trains the stacks of a queue."""

    @abstractmethod
    def train(self, queue: StackQueue) -> bool:
        """Trains what is unfinished; returns False where it was paused before the end.

        Raises:
            StoreError: The store cannot be written.
            ProcessError: Processes die before they train anything.
        """


def make_executor(options: Options, plan: Plan) -> Executor:
    """The executor that the options name; by default the plan's number of workers decides.

    Raises:
        InputError: There is none of that name, or what is named is no executor.
    """
    name = options.executor
    if name == "auto":
        name = "in_process" if plan.workers == 1 else "worker_processes"
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
    return kind()
