"""Losses and gradients of a stack's runs, by any method. Axes: R runs, P parameters, B, T; N noise.

The loss is taken by ``torch.vmap`` over one run's and differentiated outside of it: the runs share
nothing, so the gradient of their sum holds each run's own.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ablab.model.forward import FusedKernels, Kernels, PlainKernels
from ablab.train.compiling import Program, compile_program
from ablab.train.innermost import NoRuleError, run_samples, shared_results, trace_sample
from ablab.train.kernels import StackedKernels
from ablab.train.method import Method
from ablab.train.objective import Objective
from ablab.train.parameter_layout import ParameterLayout
from ablab.train.taps import PassTaps, Tapped, TapReducer, join_parts, join_runs
from ablab.train.timings import Timings

# Programs with the names of what they keep, by what they were made for.
_PROGRAMS: dict[Any, tuple[Program, list[str]]] = {}


class LossesAndGradients(NamedTuple):
    """What a step's passes came to.

    Attributes:
        losses: Each run's mean loss, (R,).
        grad: Its gradient, (R, P).
        tapped: What a tap_reducer tapped, by name; empty where nothing was read.
    """

    losses: Tensor
    grad: Tensor
    tapped: Tapped


@dataclass(frozen=True)
class Batches:
    """What some steps of some runs are trained on; a part of it has fewer leading axes.

    Attributes:
        tokens: (…, R, B, T), or (…, R, T, B) where the batch is innermost.
        targets: (…, R, B, P), or (…, R, P, B).
        noise: Random words of dropout, (…, R, B, N) or (…, R, N, B); None without dropout.
    """

    tokens: Tensor
    targets: Tensor
    noise: Tensor | None

    def map(self, function: Callable[[Tensor], Tensor]) -> "Batches":
        """The same with a function applied to each tensor."""
        noise = None if self.noise is None else function(self.noise)
        return Batches(function(self.tokens), function(self.targets), noise)

    def at(self, index: int | slice | Tensor) -> "Batches":
        """A part by the first axis."""
        return self.map(lambda tensor: tensor[index])

    def part(self, axis: int, start: int, length: int) -> "Batches":
        """A part by another axis."""
        return self.map(lambda tensor: tensor.narrow(axis, start, length))

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors that are there."""
        return [self.tokens, self.targets] + ([] if self.noise is None else [self.noise])


class Gradients(ABC):
    """Computes losses and gradients for a row of parameters of each run.

    Args:
        objective: One run's loss.
        layout: Where parameters lie in a row.
        method: How it is computed.
        key: Stands for the loss: of equal keys, programs are shared.

    Attributes:
        compile_seconds: What compiling has taken so far.
    """

    compile_seconds = 0.0

    def __init__(
        self, objective: Objective, layout: ParameterLayout, method: Method, key: str
    ) -> None:
        self.objective, self.layout, self.method, self.key = objective, layout, method, key

    def arrange(self, batches: Batches) -> Batches:
        """Drawn tensors (…, R, B, …) as this method reads them."""
        return batches

    def compute(
        self,
        theta: Float[Tensor, "R P"],
        batches: Batches,
        timings: Timings,
        tap_reducer: TapReducer | None = None,
    ) -> LossesAndGradients:
        """Each run's mean loss and its gradient on one batch, timed, and what is read."""
        runs, batch = theta.shape[0], batches.tokens.shape[self._batch_axis]
        rows = self.method.rows or runs
        samples = self.method.samples or batch
        if rows == runs and samples == batch:
            return self._part(theta, batches, timings, tap_reducer, 1.0)
        losses = theta.new_zeros(runs)
        grads = torch.zeros_like(theta)
        tapped: list[Tapped] = []
        for first in range(0, runs, rows):
            present = min(rows, runs - first)
            here = slice(first, first + present)
            own_theta, own = theta[here], batches.at(here)
            if present < rows:  # a program takes as many rows as it was made for
                padded = torch.arange(rows, device=theta.device).clamp(max=present - 1)
                own_theta = own_theta[padded]
                own = own.at(padded)
            parts: list[tuple[Tapped, float]] = []
            for start in range(0, batch, samples):
                length = min(samples, batch - start)
                part = own.part(self._batch_axis, start, length)
                share = length / batch
                found = self._part(own_theta, part, timings, tap_reducer, share)
                losses[here].add_(found.losses[:present], alpha=share)
                grads[here].add_(found.grad[:present], alpha=share)
                parts.append(
                    ({name: value[:present] for name, value in found.tapped.items()}, share)
                )
            tapped.append(join_parts(parts))
        return LossesAndGradients(losses, grads, join_runs(tapped))

    @property
    def _batch_axis(self) -> int:
        return -1 if self.method.layout == "innermost" else 1

    @abstractmethod
    def _part(
        self,
        theta: Tensor,
        batches: Batches,
        timings: Timings,
        tap_reducer: TapReducer | None,
        share: float,
    ) -> LossesAndGradients:
        """Mean losses (W,) and gradients (W, P) of some runs on some samples, a share of all."""

    def _kernels(self) -> Kernels:
        if self.method.attention == "plain":
            return PlainKernels()
        return StackedKernels() if self.method.vmapped else FusedKernels()

    def _losses(
        self,
        theta: Tensor,
        batches: Batches,
        buffers: dict[str, Tensor],
        pass_taps: PassTaps | None,
    ) -> Tensor:
        """Each run's loss in the usual layout, to be differentiated."""
        kernels = self._kernels()
        taps = {} if pass_taps is None else pass_taps.taps(self.method.vmapped)

        def loss(
            parameters: dict[str, Tensor], tokens: Tensor, targets: Tensor, noise: Tensor | None
        ) -> Tensor:
            return self.objective.loss(parameters | buffers, tokens, targets, noise, kernels, taps)

        views, noise = self.layout.views(theta), batches.noise
        if not self.method.vmapped:
            own = {name: view[0] for name, view in views.items()}
            words = None if noise is None else noise[0]
            return loss(own, batches.tokens[0], batches.targets[0], words).reshape(1)
        in_dims = (0, 0, 0, None if noise is None else 0)
        result: Tensor = torch.vmap(loss, in_dims=in_dims)(
            views, batches.tokens, batches.targets, noise
        )
        return result


class EagerGradients(Gradients):
    """Operation after operation, as torch runs them."""

    def _part(
        self,
        theta: Tensor,
        batches: Batches,
        timings: Timings,
        tap_reducer: TapReducer | None,
        share: float,
    ) -> LossesAndGradients:
        theta = theta.detach().requires_grad_()
        pass_taps = None if tap_reducer is None else PassTaps(tap_reducer, batches.targets, share)
        with timings.phase("forward"):
            losses = self._losses(theta, batches, {}, pass_taps)
        with timings.phase("backward"):
            (grad,) = torch.autograd.grad(losses.sum(), theta)
        return LossesAndGradients(
            losses.detach(), grad, {} if pass_taps is None else pass_taps.tapped
        )


class CompiledGradients(Gradients):
    """One compiled program for each shape, made at its first use and shared in the process."""

    def __init__(
        self, objective: Objective, layout: ParameterLayout, method: Method, key: str
    ) -> None:
        super().__init__(objective, layout, method, key)
        self._buffers = list(objective.buffers.values())

    def arrange(self, batches: Batches) -> Batches:
        """Drawn tensors one after another in memory, with the batch last where it is innermost."""
        if self.method.layout == "innermost":
            batches = batches.map(lambda tensor: tensor.transpose(-1, -2))
        return batches.map(torch.Tensor.contiguous)

    def _part(
        self,
        theta: Tensor,
        batches: Batches,
        timings: Timings,
        tap_reducer: TapReducer | None,
        share: float,
    ) -> LossesAndGradients:
        inputs = [theta.detach(), *batches.tensors, *self._buffers]
        shapes = tuple(
            (each.shape, each.stride(), each.dtype, each.device)  # a part lies as its batch does
            for each in inputs
        )
        read = None if tap_reducer is None else (tap_reducer.key, share)
        key = (self.key, self.method, shapes, torch.get_num_threads(), read)
        known = _PROGRAMS.get(key)
        if known is None:
            names: list[str] = []
            function = self._function(theta, batches, tap_reducer, share, names)
            program, seconds = compile_program(function, inputs)
            known = _PROGRAMS[key] = program, names
            self.compile_seconds += seconds
        program, names = known
        with timings.phase("gradient"):
            losses, grad, *values = program(inputs)
        return LossesAndGradients(losses, grad, dict(zip(names, values, strict=True)))

    def _function(
        self,
        theta: Tensor,
        batches: Batches,
        tap_reducer: TapReducer | None,
        share: float,
        tapped: list[str],
    ) -> Callable[..., Sequence[Tensor]]:
        """Losses, gradients and what is read as a function of tensors alone: θ, batches, buffers.

        The names of what is read are put into ``kept`` when it is called.
        """
        names, drawn = list(self.objective.buffers), len(batches.tensors)
        innermost = self.method.layout == "innermost"
        losses = self._innermost(theta, batches, tap_reducer) if innermost else self._losses

        def function(theta: Tensor, *rest: Tensor) -> Sequence[Tensor]:
            own = Batches(rest[0], rest[1], rest[2] if drawn > 2 else None)
            theta = theta.detach().requires_grad_()
            targets = own.targets.transpose(-1, -2) if innermost else own.targets
            pass_taps = None if tap_reducer is None else PassTaps(tap_reducer, targets, share)
            found = losses(theta, own, dict(zip(names, rest[drawn:], strict=True)), pass_taps)
            (grad,) = torch.autograd.grad(found.sum(), theta)
            values = {} if pass_taps is None else pass_taps.tapped
            tapped[:] = values
            return found.detach(), grad, *values.values()

        return function

    def _innermost(
        self, theta: Tensor, batches: Batches, tap_reducer: TapReducer | None
    ) -> Callable[[Tensor, Batches, dict[str, Tensor], PassTaps | None], Tensor]:
        """Each run's loss with the batch innermost, as a function like :meth:`_losses`.

        One sample of one run is recorded from the tensors at hand.
        """
        if tap_reducer is not None and self.method.vmapped:
            raise NoRuleError("several runs at once cannot be read with the batch innermost")
        views = self.layout.views(theta.detach())
        names = [*views, *self.objective.buffers]
        kernels = PlainKernels()
        passed: list[str] = []
        lonely: set[str] = set()

        def one_sample(*tensors: Tensor) -> Sequence[Tensor]:
            shared = dict(zip(names, tensors, strict=False))
            sample = [tensor[None] for tensor in tensors[len(names) :]]
            words = sample[2] if len(sample) > 2 else None
            seen: dict[str, Tensor] = {}
            nothing = sample[0].flatten()[0] * 0
            taps = {
                site: partial(_note, seen, site, nothing if site in lonely else None)
                for site in (tap_reducer.sites if tap_reducer else ())
            }
            loss = self.objective.loss(shared, sample[0], sample[1], words, kernels, taps)
            passed[:] = seen
            return loss, *seen.values()

        shared_tensors = [*(view[0] for view in views.values()), *self._buffers]
        own_tensors = [tensor[0, ..., 0] for tensor in batches.tensors]
        graph = trace_sample(one_sample, shared_tensors, own_tensors)
        # What is the same for all samples has no gradient of each: it is recorded again, with one.
        lonely |= {passed[n - 1] for n in shared_results(graph, len(shared_tensors)) if n}
        if lonely:
            graph = trace_sample(one_sample, shared_tensors, own_tensors)

        def losses(
            theta: Tensor, batches: Batches, buffers: dict[str, Tensor], pass_taps: PassTaps | None
        ) -> Tensor:
            shared = list(buffers.values())

            def loss(parameters: Sequence[Tensor], drawn: Sequence[Tensor]) -> Tensor:
                found, *seen = run_samples(graph, [*parameters, *shared], drawn)
                if pass_taps is not None:
                    for site, tensor in zip(passed, seen, strict=True):
                        pass_taps.see(site, tensor, _batch_first)
                return found.mean(-1)

            parameters = list(self.layout.views(theta).values())
            if not self.method.vmapped:
                own = [tensor[0] for tensor in batches.tensors]
                return loss([each[0] for each in parameters], own).reshape(1)
            result: Tensor = torch.vmap(loss)(parameters, batches.tensors)
            return result

        return losses


def _note(seen: dict[str, Tensor], site: str, nothing: Tensor | None, tensor: Tensor) -> Tensor:
    """Notes a site's tensor; with a zero of the sample's added where one is given."""
    shown = tensor if nothing is None else tensor + nothing
    seen.setdefault(site, shown)
    return shown


def _batch_first(tensor: Tensor) -> Tensor:
    """A site's tensor of many samples, (1, …, B) as a sample of one has it, as (W = 1, B, …)."""
    return tensor.movedim(-1, 0).squeeze(1).unsqueeze(0)


def make_gradients(
    objective: Objective, layout: ParameterLayout, method: Method, key: str
) -> Gradients:
    """What computes gradients by a method; ``key`` stands for the loss."""
    kind = CompiledGradients if method.compiled else EagerGradients
    return kind(objective, layout, method, key)
