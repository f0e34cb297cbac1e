"""Losses and gradients of a stack's runs. Axes: R runs, P parameters, B, T; N dropout words.

``torch.vmap`` maps the loss of one run over the stack, and autograd differentiates outside of it.
Runs share no parameters, so the gradient of the summed loss contains the gradient of each run.
"""

from abc import ABC, abstractmethod
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ablab.model.forward import FusedKernels, Kernels, PlainKernels
from ablab.train.batches import Batches
from ablab.train.kernels import StackedKernels
from ablab.train.method import Method
from ablab.train.objective import Objective
from ablab.train.parameter_layout import ParameterLayout
from ablab.train.taps import PassTaps, Tapped, TapReducer, join_parts, join_runs
from ablab.train.timings import Timings


class LossesAndGradients(NamedTuple):
    """The result of one forward and backward pass.

    Attributes:
        losses: The mean loss of each run, (R,).
        grad: Their gradients, (R, P).
        tapped: The results of the tap reducer by name; empty without one.
    """

    losses: Tensor
    grad: Tensor
    tapped: Tapped


class Gradients(ABC):
    """Computes losses and gradients for parameters with one row per run."""

    @property
    def compile_seconds(self) -> float:
        """Seconds spent compiling so far."""
        return 0.0

    def arrange(self, batches: Batches) -> Batches:
        """Converts batches (…, R, B, …) to the memory layout that :meth:`compute` expects."""
        return batches

    def restore(self, batches: Batches) -> Batches:
        """Undoes :meth:`arrange`, except for strides."""
        return batches

    @abstractmethod
    def compute(
        self,
        theta: Float[Tensor, "R P"],
        batches: Batches,
        timings: Timings,
        tap_reducer: TapReducer | None = None,
        share: float = 1.0,
    ) -> LossesAndGradients:
        """Mean losses and their gradients on one batch.

        Args:
            theta: Parameters, one row per run.
            batches: Arranged batches with leading axis R.
            timings: Records the seconds of each phase.
            tap_reducer: Reduces the tensors at sites; None if no site is tapped.
            share: These samples as a fraction of the step's batch.
        """


class EagerGradients(Gradients):
    """Computes gradients eagerly, in the usual memory layout.

    Args:
        objective: One run's loss.
        layout: The layout of parameters in a row.
        method: Which kernels to use, and whether one call computes all runs.
    """

    def __init__(self, objective: Objective, layout: ParameterLayout, method: Method) -> None:
        self._objective, self._layout, self._method = objective, layout, method
        self._kernels = make_kernels(method)

    def compute(
        self,
        theta: Float[Tensor, "R P"],
        batches: Batches,
        timings: Timings,
        tap_reducer: TapReducer | None = None,
        share: float = 1.0,
        buffers: dict[str, Tensor] | None = None,
    ) -> LossesAndGradients:
        """See :meth:`Gradients.compute`; ``buffers`` replace those of the model."""
        vmapped = self._method.vmapped
        taps = None if tap_reducer is None else PassTaps(tap_reducer, batches.targets, share)
        loss = partial(
            self._objective.loss,
            kernels=self._kernels,
            taps={} if taps is None else taps.functions(vmapped),
            buffers=buffers or {},
        )
        theta = theta.detach().requires_grad_()
        with timings.phase("forward"):
            views, noise = self._layout.views(theta), batches.noise
            if vmapped:
                in_dims = (0, 0, 0, None if noise is None else 0)
                losses = torch.vmap(loss, in_dims)(views, batches.tokens, batches.targets, noise)
            else:
                # Not view[0], whose gradient is another row, of zeros at first.
                own, one = {name: view.squeeze(0) for name, view in views.items()}, batches.at(0)
                losses = loss(own, one.tokens, one.targets, one.noise).reshape(1)
        with timings.phase("backward"):
            (grad,) = torch.autograd.grad(losses.sum(), theta)
        return LossesAndGradients(losses.detach(), grad, {} if taps is None else taps.tapped)


class Wrapper(Gradients):
    """Delegates to other gradients, which determine the memory layout of batches."""

    def __init__(self, inner: Gradients) -> None:
        self._inner = inner

    @property
    def compile_seconds(self) -> float:
        """Seconds spent compiling so far."""
        return self._inner.compile_seconds

    def arrange(self, batches: Batches) -> Batches:
        """See :meth:`Gradients.arrange`."""
        return self._inner.arrange(batches)

    def restore(self, batches: Batches) -> Batches:
        """See :meth:`Gradients.restore`."""
        return self._inner.restore(batches)


class InParts(Wrapper):
    """Splits a step into several calls and adds up their gradients.

    Args:
        inner: Computes a part.
        method: ``rows`` and ``samples`` per call, and the layout.
    """

    def __init__(self, inner: Gradients, method: Method) -> None:
        super().__init__(inner)
        self._method = method
        self._batch_axis = -1 if method.layout == "innermost" else 1

    def compute(
        self,
        theta: Float[Tensor, "R P"],
        batches: Batches,
        timings: Timings,
        tap_reducer: TapReducer | None = None,
        share: float = 1.0,
    ) -> LossesAndGradients:
        """See :meth:`Gradients.compute`."""
        runs, batch = theta.shape[0], batches.tokens.shape[self._batch_axis]
        rows, samples = self._method.rows or runs, self._method.samples or batch
        if rows == runs and samples == batch:
            return self._inner.compute(theta, batches, timings, tap_reducer, share)
        losses, grads = theta.new_zeros(runs), torch.zeros_like(theta)
        tapped: list[Tapped] = []
        for first in range(0, runs, rows):
            present = min(rows, runs - first)
            here = slice(first, first + present)
            own_theta, own = theta[here], batches.at(here)
            if present < rows:  # a compiled program has a fixed number of rows
                padded = torch.arange(rows, device=theta.device).clamp(max=present - 1)
                own_theta, own = own_theta[padded], own.at(padded)
            parts: list[tuple[Tapped, float]] = []
            for start in range(0, batch, samples):
                length = min(samples, batch - start)
                part, weight = own.part(self._batch_axis, start, length), length / batch
                found = self._inner.compute(own_theta, part, timings, tap_reducer, weight)
                losses[here].add_(found.losses[:present], alpha=weight)
                grads[here].add_(found.grad[:present], alpha=weight)
                mine = {name: value[:present] for name, value in found.tapped.items()}
                parts.append((mine, weight))
            tapped.append(join_parts(parts))
        return LossesAndGradients(losses, grads, join_runs(tapped))


def make_kernels(method: Method) -> Kernels:
    """The kernels that a model uses under a method."""
    if method.attention == "plain":
        return PlainKernels()
    return StackedKernels() if method.vmapped else FusedKernels()
