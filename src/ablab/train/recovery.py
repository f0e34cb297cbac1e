"""Recovery: resets a run to its best state if its loss jumps. Axes: R, P; K steps.

Checks happen at fixed steps and depend on training losses only. Therefore recovery is a function of
configuration and seed, no matter how often a run is logged, checkpointed, paused or resumed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ablab.train.config import RecoverConfig


@dataclass(frozen=True)
class SavedState:
    """A run's state at a check.

    Attributes:
        step: The step of the check; 0 for the initial state.
        theta: The parameters after that step, (P,).
        optimizer_state: The optimizer's state after that step, by name.
    """

    step: int
    theta: Tensor
    optimizer_state: dict[str, Tensor]


@dataclass(frozen=True)
class RecoveryState:
    """The state of one run's recovery.

    A saved state is judged by the mean loss of the interval after it, whose first loss is that of
    the state itself. Earlier losses do not reflect the update at the check.

    Attributes:
        best: The saved state with the lowest mean so far, to which the run can be reset.
        best_loss: That mean. Before the first check it is the loss of step 1, and infinite before
            step 1.
        latest: The state at the last check, which the current interval judges.
        restarts: The number of restarts used.
        interval: The sum of the training losses since the last check.
    """

    best: SavedState
    best_loss: float
    latest: SavedState
    restarts: int
    interval: float

    @classmethod
    def initial(cls, theta: Tensor, optimizer_state: dict[str, Tensor]) -> "RecoveryState":
        """The state before the first step; the best state is the initial one."""
        state = SavedState(0, theta, optimizer_state)
        return cls(state, math.inf, state, 0, 0.0)


@dataclass(frozen=True)
class Restart:
    """A run was reset to an earlier state.

    Attributes:
        run: The index of the run in the stack.
        step: The step after which it was reset.
        back_to: The step of the state to which it was reset.
    """

    run: int
    step: int
    back_to: int


class Recovery:
    """The recovery of the runs of a stack, each independent of the others.

    Args:
        config: The settings.
        states: The recovery state of each run.
        device: The device of the stack.
    """

    def __init__(
        self, config: RecoverConfig, states: Sequence[RecoveryState], device: torch.device
    ) -> None:
        self.config = config
        self._losses = np.array([state.best_loss for state in states])
        self._restarts = np.array([state.restarts for state in states])
        self._interval = np.array([state.interval for state in states])
        self._best = _Rows([state.best for state in states], device)
        self._latest = _Rows([state.latest for state in states], device)

    @property
    def lr_scales(self) -> NDArray[np.float64]:
        """The current factor of each run's learning rate, (R,)."""
        scales: NDArray[np.float64] = self.config.lr_factor ** self._restarts.astype(np.float64)
        return scales

    @property
    def has_restarts(self) -> NDArray[np.bool_]:
        """Whether each run has restarts left, (R,)."""
        left: NDArray[np.bool_] = self._restarts < self.config.at_most
        return left

    def until_check(self, step: int) -> int:
        """The number of steps from ``step`` to the next check."""
        return self.config.every - step % self.config.every

    def state(self, index: int) -> RecoveryState:
        """The recovery state of the run at ``index``, copied to the CPU."""
        return RecoveryState(
            self._best.at(index),
            float(self._losses[index]),
            self._latest.at(index),
            int(self._restarts[index]),
            float(self._interval[index]),
        )

    def narrow(self, indices: Sequence[int]) -> None:
        """Narrows to some of the runs."""
        here = list(indices)
        self._losses, self._restarts = self._losses[here], self._restarts[here]
        self._interval = self._interval[here]
        self._best.narrow(here)
        self._latest.narrow(here)

    @torch.no_grad()
    def note(
        self,
        losses: NDArray[np.float64],
        step: int,
        theta: Float[Tensor, "R P"],
        optimizer_state: dict[str, Tensor],
    ) -> list[Restart]:
        """Adds the losses of the steps up to ``step``, and checks the runs if a check is due there.

        Args:
            losses: Training losses of the last K steps, (K, R). Only the last step may be one at
                which a check is due.
            step: The stack's step.
            theta: Parameters, (R, P); overwritten for runs that are reset.
            optimizer_state: The optimizer's state; overwritten likewise.

        Returns:
            The runs that were reset.
        """
        if step == len(losses):  # the first step's loss is the initial state's own
            self._losses = np.where(np.isfinite(losses[0]), losses[0], math.inf)
        with np.errstate(invalid="ignore", over="ignore"):
            for row in losses:  # in order, so that the sum does not depend on how steps are grouped
                self._interval = self._interval + row
        if step % self.config.every:
            return []
        means = self._interval / self.config.every
        self._interval = np.zeros_like(self._interval)
        finite = self._latest.finite()
        better, worse = [], []
        for r, (mean, best) in enumerate(zip(means.tolist(), self._losses.tolist(), strict=True)):
            if not mean <= best + self.config.above or not math.isfinite(mean):
                worse.append(r)
            elif mean < best and finite[r]:
                better.append(r)
        self._losses[better] = means[better]
        self._best.take(better, self._latest)
        back = [r for r in worse if self._restarts[r] < self.config.at_most]
        self._restarts[back] += 1
        current = _Rows.of(step, theta, optimizer_state)
        current.take(back, self._best)
        self._latest.take(range(len(means)), current)
        return [Restart(r, step, int(current.steps[r])) for r in back]


class _Rows:
    """A saved state per run: its step (R,), parameters (R, P) and optimizer state."""

    def __init__(self, states: Sequence[SavedState], device: torch.device) -> None:
        self.steps = np.array([state.step for state in states])
        self._tensors = {
            name: torch.stack(
                [({"": state.theta} | state.optimizer_state)[name] for state in states]
            )
            for name in ("", *states[0].optimizer_state)
        }  # the parameters under no name
        self._tensors = {name: rows.to(device) for name, rows in self._tensors.items()}

    @classmethod
    def of(cls, step: int, theta: Tensor, optimizer_state: dict[str, Tensor]) -> "_Rows":
        """The current states; :meth:`take` writes into these very tensors."""
        rows = cls.__new__(cls)
        rows.steps = np.full(len(theta), step)
        rows._tensors = {"": theta} | optimizer_state
        return rows

    def at(self, index: int) -> SavedState:
        """The saved state of one run, copied to the CPU."""
        own = {name: rows[index].cpu().clone() for name, rows in self._tensors.items()}
        return SavedState(int(self.steps[index]), own.pop(""), own)

    def narrow(self, indices: list[int]) -> None:
        """Narrows to some of the runs."""
        self.steps = self.steps[indices]
        chosen = torch.tensor(indices, device=self._tensors[""].device, dtype=torch.long)
        self._tensors = {name: row.index_select(0, chosen) for name, row in self._tensors.items()}

    def take(self, indices: Sequence[int], source: "_Rows") -> None:
        """Overwrites the states of some runs with those of ``source``."""
        if not indices:
            return
        here = list(indices)
        self.steps[here] = source.steps[here]
        chosen = torch.tensor(here, device=self._tensors[""].device)
        for name, rows in self._tensors.items():
            rows.index_copy_(0, chosen, source._tensors[name].index_select(0, chosen))

    def finite(self) -> NDArray[np.bool_]:
        """Whether the state of each run is finite, (R,)."""
        each = [
            torch.isfinite(rows).reshape(len(rows), -1).all(dim=1)
            for rows in self._tensors.values()
        ]
        found: NDArray[np.bool_] = torch.stack(each).all(dim=0).cpu().numpy()
        return found
