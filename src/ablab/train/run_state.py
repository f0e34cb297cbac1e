"""The state of one run after a step. Axes: P parameters."""

from dataclasses import dataclass

from torch import Tensor

from ablab.train.recovery import RecoveryState


@dataclass(frozen=True)
class RunState:
    """The state of one run after a step.

    Attributes:
        step: The step.
        theta: The parameters as a flat row, (P,).
        optimizer_state: The optimizer's state by name.
        recovery: The state of recovery; None without recovery.
    """

    step: int
    theta: Tensor
    optimizer_state: dict[str, Tensor]
    recovery: RecoveryState | None = None
