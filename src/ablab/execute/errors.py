"""Errors raised while stacks train: those of runs, and those of processes.

Errors of the store are :class:`ablab.store.index.StoreError`. No run caused them, and they end the
command.
"""

import traceback
from dataclasses import dataclass


@dataclass(frozen=True)
class RunFailure:
    """An exception that training some runs raised.

    Attributes:
        reason: The exception in one line.
        text: The exception with its traceback, stored with the run.
    """

    reason: str
    text: str

    @classmethod
    def of(cls, error: BaseException) -> "RunFailure":
        """Describes an exception without a reference to its frames, which hold tensors."""
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return cls(reason, "".join(traceback.format_exception(error)))


class ProcessError(RuntimeError):
    """Worker processes die before they train anything, because of the machine or its setup."""
