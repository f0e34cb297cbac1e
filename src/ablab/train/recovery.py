"""Recovery: a run whose loss jumps goes back to its best state. Axes: R, P; K steps.

Looks are at fixed steps and hang on training losses alone, so what recovery does is a function of
configuration and seed, however often a run is logged, kept, paused or taken up again.
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
class RecoveryState:
    """What one run's recovery remembers.

    Attributes:
        best_step: The look with the lowest mean loss so far; 0, the initial state, before there
            is one.
        best_loss: That mean; of the initial state the loss of step 1, infinite before it.
        theta: The parameters after that step, (P,).
        slots: The optimizer's state after it, rows of shape (P,).
        restarts: How many restarts were used.
        interval: The sum of the training losses since the last look.
    """

    best_step: int
    best_loss: float
    theta: Tensor
    slots: dict[str, Tensor]
    restarts: int
    interval: float

    @classmethod
    def initial(cls, theta: Tensor, slots: dict[str, Tensor]) -> "RecoveryState":
        """Before the first step: what there is to go back to is the initial state."""
        return cls(0, math.inf, theta, slots, 0, 0.0)


@dataclass(frozen=True)
class Restart:
    """One run went back.

    Attributes:
        run: Its place in the stack.
        step: The step after which it did.
        back_to: The step whose state it has now.
    """

    run: int
    step: int
    back_to: int


class Recovery:
    """The recovery of a stack's runs, each by itself.

    Args:
        config: Its settings.
        states: Where each run's stands.
        device: Where the runs' tensors live.
    """

    def __init__(
        self, config: RecoverConfig, states: Sequence[RecoveryState], device: torch.device
    ) -> None:
        self.config = config
        self._steps = np.array([state.best_step for state in states])
        self._losses = np.array([state.best_loss for state in states])
        self._restarts = np.array([state.restarts for state in states])
        self._interval = np.array([state.interval for state in states])
        self._theta = torch.stack([state.theta for state in states]).to(device)  # (R, P)
        self._slots = {
            name: torch.stack([state.slots[name] for state in states]).to(device)
            for name in states[0].slots
        }

    @property
    def lr_scales(self) -> NDArray[np.float64]:
        """What each run's learning rate is multiplied by now; shape (R,)."""
        scales: NDArray[np.float64] = self.config.lr_factor ** self._restarts.astype(np.float64)
        return scales

    @property
    def has_restarts(self) -> NDArray[np.bool_]:
        """Whether each run has a restart left; shape (R,)."""
        left: NDArray[np.bool_] = self._restarts < self.config.at_most
        return left

    def until_look(self, step: int) -> int:
        """How many steps after ``step`` the next look is."""
        return self.config.every - step % self.config.every

    def state(self, index: int) -> RecoveryState:
        """What the run at ``index`` has to remember, copied to the CPU."""
        return RecoveryState(
            int(self._steps[index]),
            float(self._losses[index]),
            self._theta[index].cpu().clone(),
            {name: slot[index].cpu().clone() for name, slot in self._slots.items()},
            int(self._restarts[index]),
            float(self._interval[index]),
        )

    def keep(self, indices: Sequence[int]) -> None:
        """Narrows to some of the runs."""
        here = list(indices)
        self._steps, self._losses = self._steps[here], self._losses[here]
        self._restarts, self._interval = self._restarts[here], self._interval[here]
        chosen = torch.tensor(here, device=self._theta.device, dtype=torch.long)
        self._theta = self._theta.index_select(0, chosen)
        self._slots = {name: slot.index_select(0, chosen) for name, slot in self._slots.items()}

    @torch.no_grad()
    def note(
        self,
        losses: NDArray[np.float64],
        step: int,
        theta: Float[Tensor, "R P"],
        slots: dict[str, Tensor],
    ) -> list[Restart]:
        """Takes the losses of the steps up to ``step``; looks at the runs if that is a look's.

        Args:
            losses: Training losses of the last K steps, none of which but the last is a look's;
                shape (K, R).
            step: The stack's step.
            theta: Parameters; a run that goes back has its best ones in place of its own.
            slots: The optimizer's state, likewise.
        """
        if step == len(losses):  # the first step's loss is the initial state's own
            self._losses = np.where(np.isfinite(losses[0]), losses[0], math.inf)
        with np.errstate(invalid="ignore", over="ignore"):
            for row in losses:  # one after another: a sum must not hang on how steps are grouped
                self._interval = self._interval + row
        if step % self.config.every:
            return []
        means = self._interval / self.config.every
        self._interval = np.zeros_like(self._interval)
        sound = _finite_rows(theta)
        for slot in slots.values():
            sound &= _finite_rows(slot)
        better, worse = [], []
        for r, (mean, best) in enumerate(zip(means.tolist(), self._losses.tolist(), strict=True)):
            if not mean <= best + self.config.above or not math.isfinite(mean):
                worse.append(r)
            elif mean < best and sound[r]:
                better.append(r)
        self._losses[better], self._steps[better] = means[better], step
        _copy_rows(better, theta, self._theta)
        back = [r for r in worse if self._restarts[r] < self.config.at_most]
        _copy_rows(back, self._theta, theta)
        for name, slot in slots.items():
            _copy_rows(better, slot, self._slots[name])
            _copy_rows(back, self._slots[name], slot)
        self._restarts[back] += 1
        return [Restart(r, step, int(self._steps[r])) for r in back]


def _finite_rows(rows: Tensor) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = torch.isfinite(rows).all(dim=1).cpu().numpy()
    return found


def _copy_rows(indices: list[int], source: Tensor, target: Tensor) -> None:
    if indices:
        chosen = torch.tensor(indices, device=source.device)
        target.index_copy_(0, chosen, source.index_select(0, chosen))
