"""What can go wrong while stacks train: errors of runs, and of processes.

Errors of a store are :class:`ablab.store.index.StoreError`: they are nobody's fault among the runs,
and end the command.
"""

import traceback
from dataclasses import dataclass


@dataclass(frozen=True)
class RunFailure:
    """Training some runs raised an exception.

    Attributes:
        reason: The exception in one line.
        text: The exception with its traceback, as it is stored with a run.
    """

    reason: str
    text: str

    @classmethod
    def of(cls, error: BaseException) -> "RunFailure":
        """Describes an exception without holding on to its frames and their tensors."""
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return cls(reason, "".join(traceback.format_exception(error)))


class ProcessError(RuntimeError):
    """Worker processes die before they train anything; the machine or its setup is at fault."""
