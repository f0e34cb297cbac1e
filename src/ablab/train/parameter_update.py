"""Clips gradients and updates parameters. Axes: R runs, P parameters."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ablab.train.cuda_graphs import Record, Recording, Replayed, Results
from ablab.train.optimizer import Optimizer, OptimizerState


class Update:
    """The end of a step: clipping and the optimizer.

    Args:
        optimizer: The optimizer.
        theta: Parameters, (R, P), updated in place.
        optimizer_state: The optimizer's state, updated in place.
        clips: Whether gradients are clipped.
        decays: One for parameters that decay, zero for others, (P,); None if all decay.
    """

    def __init__(
        self,
        optimizer: Optimizer[Any],
        theta: Float[Tensor, "R P"],
        optimizer_state: OptimizerState,
        clips: bool,
        decays: Float[Tensor, " P"] | None,
    ) -> None:
        self._optimizer, self._theta, self._state = optimizer, theta, optimizer_state
        self._clips, self._decays = clips, decays

    @torch.no_grad()
    def __call__(
        self,
        grad: Float[Tensor, "R P"],
        names: tuple[str, ...],
        numbers: Float[Tensor, "S R 1"],
        wants_norm: bool,
    ) -> Float[Tensor, " R"] | None:
        """Updates the parameters; overwrites the gradient.

        Args:
            grad: The gradient.
            names: The names of the optimizer's numbers.
            numbers: The numbers.
            wants_norm: Whether the gradient's norm is wanted.

        Returns:
            The gradient's norm before clipping, if it is wanted or clipped; else None.
        """
        scalars = dict(zip(names, numbers, strict=True))
        norm = None
        if wants_norm or self._clips:
            norm = torch.linalg.vector_norm(grad, dim=1)
        if norm is not None and self._clips:
            # The formula of torch.nn.utils.clip_grad_norm_, run by run.
            grad.mul_((scalars["clip_norm"] / (norm[:, None] + 1e-6)).clamp(max=1.0))
        self._optimizer.update(self._theta, grad, self._state, scalars, self._decays)
        return norm


class ReplayedUpdate:
    """An update that is replayed as a CUDA graph after some steps.

    Args:
        usual: The update.
        optimizer: Its optimizer.
        state: The tensors that it changes.
        record: Records a call.
        gradients: The passes that give the gradient, if they are replayed. The update then begins
            when they do, and reads the gradient where they write it.
        usual_calls: Calls before one is recorded.

    Attributes:
        replayed: The updates.
    """

    def __init__(
        self,
        usual: Update,
        optimizer: Optimizer[Any],
        state: Sequence[Tensor],
        record: Record,
        gradients: Replayed | None,
        usual_calls: int,
    ) -> None:
        names: list[tuple[str, ...]] = [()]
        self._names = names

        def update(grad: Tensor, numbers: Tensor) -> Results:  # not a method: that were a cycle
            norm = usual(grad, names[0], numbers, wants_norm=True)
            assert norm is not None, "it is wanted"
            return (norm,)

        def recorded(call: Callable[[], Results]) -> Recording:
            optimizer.forget_scratch()  # so that the graph has a buffer of its own
            try:
                return record(call)
            finally:
                optimizer.forget_scratch()

        adopts = None if gradients is None else gradients.holds
        self.replayed = Replayed(update, state, recorded, usual_calls, adopts)

    def __call__(
        self,
        grad: Float[Tensor, "R P"],
        names: tuple[str, ...],
        numbers: Float[Tensor, "S R 1"],
        wants_norm: bool,
    ) -> Float[Tensor, " R"] | None:
        """See :class:`Update`; the norm is overwritten by the next update."""
        self._names[0] = names
        return self.replayed(grad, numbers)[0]
