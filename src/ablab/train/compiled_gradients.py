"""Gradients as one compiled program per shape. Axes: R runs, P parameters, B, T; N noise words."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ablab.model.forward import PlainKernels
from ablab.train.batches import Batches
from ablab.train.compiling import (
    CompileError,
    Program,
    compile_program,
    is_traced_only,
    load_program,
)
from ablab.train.gradients import (
    EagerGradients,
    Gradients,
    InParts,
    LossesAndGradients,
    Wrapper,
)
from ablab.train.innermost import (
    NoRuleError,
    result_names,
    run_samples,
    shared_results,
    trace_sample,
)
from ablab.train.method import Method
from ablab.train.objective import Objective
from ablab.train.parameter_layout import ParameterLayout
from ablab.train.taps import PassTaps, TapReducer
from ablab.train.timings import NO_TIMINGS, Timings

_PROGRAMS: dict[Any, Program] = {}  # shared by all stacks of the process
_LOSS, _GRAD, _SITE = "loss", "grad", "site "  # names of a traced function's results


class CompiledGradients(Gradients):
    """Compiles the complete gradient computation once per shape, on first use.

    Args:
        objective: One run's loss.
        layout: The layout of parameters in a row.
        method: How gradients are computed.
        key: Identifies the loss function; equal keys share programs.
        lasting: Whether the key identifies it in other processes, too.
    """

    def __init__(
        self,
        objective: Objective,
        layout: ParameterLayout,
        method: Method,
        key: str,
        lasting: bool = False,
    ) -> None:
        self._objective, self._layout, self._method = objective, layout, method
        self._key, self._lasting = key, lasting
        self._eager = EagerGradients(objective, layout, method)
        self._buffers = list(objective.buffers.values())
        self._compile_seconds = 0.0

    @property
    def compile_seconds(self) -> float:
        """Seconds spent compiling so far."""
        return self._compile_seconds

    def arrange(self, batches: Batches) -> Batches:
        """Makes tensors contiguous; the innermost layout has the batch axis last."""
        return self.restore(batches).map(torch.Tensor.contiguous)

    def restore(self, batches: Batches) -> Batches:
        """Undoes :meth:`arrange`, except for strides."""
        if self._method.layout == "usual":
            return batches
        return batches.map(lambda tensor: tensor.transpose(-1, -2))

    def compute(
        self,
        theta: Float[Tensor, "R P"],
        batches: Batches,
        timings: Timings,
        tap_reducer: TapReducer | None = None,
        share: float = 1.0,
    ) -> LossesAndGradients:
        """See :meth:`Gradients.compute`.

        Raises:
            CompileError: The computation cannot be compiled.
            NoRuleError: An operation has no rule for the innermost layout.
        """
        inputs = [theta.detach(), *batches.tensors, *self._buffers]
        shapes = tuple(
            # A part of a batch has the strides of the full batch.
            (each.shape, each.stride(), each.dtype, each.device)
            for each in inputs
        )
        tapped = None if tap_reducer is None else (tap_reducer.key, share)
        key = (
            self._key, self._method, shapes, torch.get_num_threads(), tapped, is_traced_only(),
        )  # fmt: skip
        program = _PROGRAMS.get(key)
        if program is None:
            definition = self._definition(tap_reducer, share)
            program = load_program(definition, inputs)
            if program is None:
                function = self.function(theta, batches, tap_reducer, share)
                program = compile_program(function, inputs, definition)
            _PROGRAMS[key] = program
            self._compile_seconds += program.seconds
        with timings.phase("gradient"):
            results = program(inputs)
        return LossesAndGradients(results.pop(_LOSS), results.pop(_GRAD), results)

    def _definition(self, tap_reducer: TapReducer | None, share: float) -> str | None:
        """Determines the function in any process; None if a user's code is part of it."""
        if not self._lasting or not (tap_reducer is None or tap_reducer.lasting):
            return None
        tapped = None if tap_reducer is None else [tap_reducer.key, share]
        return json.dumps(["gradient", self._key, asdict(self._method), tapped])

    def function(
        self, theta: Tensor, batches: Batches, tap_reducer: TapReducer | None, share: float
    ) -> Callable[..., dict[str, Tensor]]:
        """The computation as a function of tensors only: parameters, batches and buffers.

        It returns ``loss``, ``grad`` and the results of the tap reducer. The tensors passed here
        are examples; their values are not used.
        """
        names, n_drawn = list(self._objective.buffers), len(batches.tensors)
        compute = self._eager.compute
        if self._method.layout == "innermost":
            compute = self._innermost(theta, batches, tap_reducer)

        def function(theta: Tensor, *rest: Tensor) -> dict[str, Tensor]:
            own = Batches(rest[0], rest[1], rest[2] if n_drawn > 2 else None)
            buffers = dict(zip(names, rest[n_drawn:], strict=True))
            losses, grad, tapped = compute(theta, own, NO_TIMINGS, tap_reducer, share, buffers)
            return {_LOSS: losses, _GRAD: grad, **tapped}

        return function

    def _innermost(
        self, theta: Tensor, batches: Batches, tap_reducer: TapReducer | None
    ) -> Callable[..., LossesAndGradients]:
        """A function like :meth:`EagerGradients.compute`, for the innermost layout.

        The loss of one sample of one run is traced; the graph then runs on all samples.
        """
        if tap_reducer is not None and self._method.vmapped:
            raise NoRuleError("the innermost layout cannot tap several runs in one call")
        views = self._layout.views(theta.detach())
        shared = [*(view[0] for view in views.values()), *self._buffers]
        own = [tensor[0, ..., 0] for tensor in batches.tensors]
        names = [*views, *self._objective.buffers]
        tapped_sites = sorted(tap_reducer.sites) if tap_reducer else []
        graph = trace_sample(self._one_sample(names, tapped_sites, ()), shared, own)
        # A site that depends on no sample has no gradient per sample. Trace again to give it one.
        found = shared_results(graph, len(shared))
        constant = [name.removeprefix(_SITE) for name in found if name.startswith(_SITE)]
        if constant:
            graph = trace_sample(self._one_sample(names, tapped_sites, constant), shared, own)
        passed = [name.removeprefix(_SITE) for name in result_names(graph)[1:]]

        def compute(
            theta: Tensor,
            batches: Batches,
            timings: Timings,
            tap_reducer: TapReducer | None,
            share: float,
            buffers: dict[str, Tensor],
        ) -> LossesAndGradients:
            targets = batches.targets.transpose(-1, -2)
            taps = None if tap_reducer is None else PassTaps(tap_reducer, targets, share)

            def loss(parameters: Sequence[Tensor], drawn: Sequence[Tensor]) -> Tensor:
                found, *seen = run_samples(graph, [*parameters, *buffers.values()], drawn)
                if taps is not None:
                    for site, tensor in zip(passed, seen, strict=True):
                        taps.see(site, tensor, _batch_first)
                return found.mean(-1)

            theta = theta.detach().requires_grad_()
            parameters = list(self._layout.views(theta).values())
            if self._method.vmapped:
                losses = torch.vmap(loss)(parameters, batches.tensors)
            else:
                losses = loss([each[0] for each in parameters], batches.at(0).tensors).reshape(1)
            (grad,) = torch.autograd.grad(losses.sum(), theta)
            return LossesAndGradients(losses.detach(), grad, {} if taps is None else taps.tapped)

        return compute

    def _one_sample(
        self, names: Sequence[str], sites: Sequence[str], constant: Sequence[str]
    ) -> Callable[..., dict[str, Tensor]]:
        """One sample's loss and tapped sites, as a function of parameters, buffers and the sample.

        Sites in ``constant`` are made to depend on the sample without changing their values.
        """

        def one_sample(*tensors: Tensor) -> dict[str, Tensor]:
            shared = dict(zip(names, tensors, strict=False))
            tokens, targets, *noise = (tensor[None] for tensor in tensors[len(names) :])
            zero = tokens.flatten()[0] * 0
            seen: dict[str, Tensor] = {}

            def note(site: str, tensor: Tensor) -> Tensor:
                shown = tensor + zero if site in constant else tensor
                seen.setdefault(_SITE + site, shown)
                return shown

            loss = self._objective.loss(
                shared,
                tokens,
                targets,
                noise[0] if noise else None,
                kernels=PlainKernels(),
                taps={site: partial(note, site) for site in sites},
            )
            return {_LOSS: loss, **seen}

        return one_sample


class EagerWhereTapped(Wrapper):
    """Computes tapped steps eagerly if their taps cannot be compiled.

    Args:
        inner: Compiled gradients, for all other steps.
        eager: Eager gradients.
    """

    def __init__(self, inner: Gradients, eager: Gradients) -> None:
        super().__init__(inner)
        self._eager = eager
        self._compiles_taps = True

    def compute(
        self,
        theta: Float[Tensor, "R P"],
        batches: Batches,
        timings: Timings,
        tap_reducer: TapReducer | None = None,
        share: float = 1.0,
    ) -> LossesAndGradients:
        """See :meth:`Gradients.compute`."""
        if tap_reducer is None or self._compiles_taps:
            try:
                return self._inner.compute(theta, batches, timings, tap_reducer, share)
            except (CompileError, NoRuleError):
                if tap_reducer is None:
                    raise
                self._compiles_taps = False
        return self._eager.compute(theta, self.restore(batches), timings, tap_reducer, share)


def make_gradients(
    objective: Objective,
    layout: ParameterLayout,
    method: Method,
    key: str,
    lasting: bool = False,
) -> Gradients:
    """Creates the gradients of a method.

    Args:
        objective: One run's loss.
        layout: The layout of parameters in a row.
        method: How gradients are computed.
        key: Identifies the loss function; equal keys share compiled programs.
        lasting: Whether the key identifies it in other processes, too.
    """
    gradients: Gradients = EagerGradients(objective, layout, method)
    if method.compiled:
        gradients = CompiledGradients(objective, layout, method, key, lasting)
    if method.rows is not None or method.samples is not None:
        gradients = InParts(gradients, method)
    if method.compiled:
        eager = EagerGradients(objective, layout, Method(method.engine))
        gradients = EagerWhereTapped(gradients, eager)
    return gradients


def _batch_first(tensor: Tensor) -> Tensor:
    """A site's tensor (1, …, B) as (W = 1, B, …)."""
    return tensor.movedim(-1, 0).squeeze(1).unsqueeze(0)
