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
class SavedState:
    """A run's state after a look.

    Attributes:
        step: The look; 0 for the initial state.
        theta: The parameters after that step, (P,).
        optimizer_state: The optimizer's state after it, by name.
    """

    step: int
    theta: Tensor
    optimizer_state: dict[str, Tensor]


@dataclass(frozen=True)
class RecoveryState:
    """What one run's recovery remembers.

    A state is judged by the losses of the interval that follows it, the first of which is its own:
    those before a look say nothing of the update at the look itself.

    Attributes:
        best: What there is to go back to: the state with the lowest mean so far.
        best_loss: That mean; before the first look the loss of step 1, infinite before it.
        latest: The state at the last look, which the present interval judges.
        restarts: How many restarts were used.
        interval: The sum of the training losses since the last look.
    """

    best: SavedState
    best_loss: float
    latest: SavedState
    restarts: int
    interval: float

    @classmethod
    def initial(cls, theta: Tensor, optimizer_state: dict[str, Tensor]) -> "RecoveryState":
        """Before the first step: what there is to go back to is the initial state."""
        state = SavedState(0, theta, optimizer_state)
        return cls(state, math.inf, state, 0, 0.0)


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
        self._losses = np.array([state.best_loss for state in states])
        self._restarts = np.array([state.restarts for state in states])
        self._interval = np.array([state.interval for state in states])
        self._best = _Rows([state.best for state in states], device)
        self._latest = _Rows([state.latest for state in states], device)

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
        """Takes the losses of the steps up to ``step``; looks at the runs if that is a look's.

        Args:
            losses: Training losses of the last K steps, none of which but the last is a look's;
                shape (K, R).
            step: The stack's step.
            theta: Parameters; a run that goes back has its best ones in place of its own.
            optimizer_state: The optimizer's state, likewise.
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
        sound = self._latest.finite()
        better, worse = [], []
        for r, (mean, best) in enumerate(zip(means.tolist(), self._losses.tolist(), strict=True)):
            if not mean <= best + self.config.above or not math.isfinite(mean):
                worse.append(r)
            elif mean < best and sound[r]:
                better.append(r)
        self._losses[better] = means[better]
        self._best.take(better, self._latest)
        back = [r for r in worse if self._restarts[r] < self.config.at_most]
        self._restarts[back] += 1
        present = _Rows.of(step, theta, optimizer_state)
        present.take(back, self._best)
        self._latest.take(range(len(means)), present)
        return [Restart(r, step, int(present.steps[r])) for r in back]


class _Rows:
    """A state of each run: the step that it is of (R,), parameters (R, P) and optimizer state."""

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
        """The present states; what is taken into them is taken into these very tensors."""
        rows = cls.__new__(cls)
        rows.steps = np.full(len(theta), step)
        rows._tensors = {"": theta} | optimizer_state
        return rows

    def at(self, index: int) -> SavedState:
        """One run's, copied to the CPU."""
        own = {name: rows[index].cpu().clone() for name, rows in self._tensors.items()}
        return SavedState(int(self.steps[index]), own.pop(""), own)

    def narrow(self, indices: list[int]) -> None:
        """Narrows to some of the runs."""
        self.steps = self.steps[indices]
        chosen = torch.tensor(indices, device=self._tensors[""].device, dtype=torch.long)
        self._tensors = {name: row.index_select(0, chosen) for name, row in self._tensors.items()}

    def take(self, indices: Sequence[int], source: "_Rows") -> None:
        """Puts some runs' states of another in the place of these."""
        if not indices:
            return
        here = list(indices)
        self.steps[here] = source.steps[here]
        chosen = torch.tensor(here, device=self._tensors[""].device)
        for name, rows in self._tensors.items():
            rows.index_copy_(0, chosen, source._tensors[name].index_select(0, chosen))

    def finite(self) -> NDArray[np.bool_]:
        """Which runs' states are finite, (R,)."""
        each = [
            torch.isfinite(rows).reshape(len(rows), -1).all(dim=1)
            for rows in self._tensors.values()
        ]
        found: NDArray[np.bool_] = torch.stack(each).all(dim=0).cpu().numpy()
        return found
