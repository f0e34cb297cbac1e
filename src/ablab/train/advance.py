"""What some steps of a stack have given. Axes: K steps, R runs, S statistics."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablab.train.recovery import Restart


@dataclass(frozen=True)
class Advance:
    """The results of some steps of a stack.

    Attributes:
        losses: The training loss of each step and run, before the update, (K, R).
        grad_norms: The norm of the gradient at the last step, before clipping, (R,).
        lrs: The learning rate of each step and run, (K, R).
        fatal: Whether the loss is not finite and the run has no restarts left, (K, R).
        restarts: The runs that were reset to an earlier state.
        watched: The statistics of the last step, (R, S); None if it is not watched.
    """

    losses: NDArray[np.float64]
    grad_norms: NDArray[np.float64]
    lrs: NDArray[np.float64]
    fatal: NDArray[np.bool_]
    restarts: list[Restart]
    watched: NDArray[np.float64] | None = None
