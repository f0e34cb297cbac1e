"""Compares a method's losses and gradients with eager ones of each run alone. Axes: R, P, B, T.

Both are computed in training mode, from the batch and the dropout masks of the first step, at the
initial parameters, slightly perturbed. So the outcome depends neither on the step from which a run
continues nor on how far it has learned: where a loss is almost zero, its gradient is all rounding.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ablab.tasks.base import Batch
from ablab.train.gradients import EagerGradients, LossesAndGradients
from ablab.train.method import SOLO, Method
from ablab.train.objective import DTYPES, Objective
from ablab.train.run import Run
from ablab.train.stack import Stack
from ablab.train.taps import TapReducer
from ablab.train.timings import NO_TIMINGS

# The unit of each precision, and how many times as far off a gradient may be; measured in decision
# 18.
_UNIT = {"float32": 2**-24, "float64": 2**-53, "tf32": 2**-11, "bfloat16": 2**-9}
_FACTOR = {"float32": 32.0, "float64": 32.0, "tf32": 16.0, "bfloat16": 16.0}
_HALF = ("bfloat16", "tf32")  # products of fewer bits, added up in float32
_HIGHER = {"float32": "float64", "tf32": "float32", "bfloat16": "float32"}
_EVALUATED = 64  # samples
_TIMES_ROUNDING = 4.0  # a method may be this many times as far off as an eager pass
_PLAIN = Method("solo", attention="plain")
_PERTURBATION = 0.02, 0.1  # absolute, and as a fraction of a parameter's root mean square


@dataclass(frozen=True)
class Comparison:
    """How far a method is from the eager one.

    Attributes:
        loss: The largest difference of a run's loss, relative to the loss, or to one if that is
            less.
        gradient: The largest difference of a parameter's gradient, relative to its norm, or to that
            of as many average entries of the gradient if that is more.
        tolerance: The largest difference that rounding explains.
        where: What differs first: ``loss``, or the name of a parameter; None if nothing does.
        run: The id of the run in which it differs.
    """

    loss: float
    gradient: float
    tolerance: float
    where: str | None = None
    run: str | None = None

    @property
    def agrees(self) -> bool:
        """Whether rounding explains the differences."""
        return self.where is None

    def __str__(self) -> str:
        figures = f"loss {self.loss:.1e}, gradient {self.gradient:.1e}"
        limit = f"rounding explains {self.tolerance:.1e}"
        if self.where is None:
            return f"{figures} relative ({limit})"
        first = "the loss" if self.where == "loss" else f"the gradient of {self.where}"
        return f"{first} of run {self.run} differs: {figures} relative, where {limit}"


class Reference:
    """The eager losses and gradients of each run of a stack, alone, in the usual layout.

    Args:
        stack: The stack. Neither its state nor its model changes.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._theta = _perturbed(stack, torch.stack([_initial(stack, run) for run in stack.runs]))
        self._batches = stack.draw(1).at(0)

    @cached_property
    def repeatable(self) -> Comparison:
        """Whether the eager method agrees with itself: a model may carry state between passes."""
        eager = self.eager
        return self._compared(self._passes(self._objective, SOLO, None), eager)

    @cached_property
    def _objective(self) -> Objective:
        return self._stack.new_objective()

    @cached_property
    def eager(self) -> LossesAndGradients:
        """The eager losses and gradients of each run alone."""
        return self._passes(self._objective, SOLO, None)

    def _passes(
        self, objective: Objective, method: Method, dtype: torch.dtype | None
    ) -> LossesAndGradients:
        """Each run alone, one after the other."""
        count = len(self._stack.runs)
        found = [self._alone(objective, index, method, dtype) for index in range(count)]
        losses, grads = torch.cat([f.losses for f in found]), torch.cat([f.grad for f in found])
        return LossesAndGradients(losses, grads, {})

    def _alone(
        self,
        objective: Objective,
        index: int,
        method: Method = SOLO,
        dtype: torch.dtype | None = None,
    ) -> LossesAndGradients:
        gradients = EagerGradients(objective, self._stack.layout, method)
        here = slice(index, index + 1)
        theta = self._theta[here].to(dtype or self._theta.dtype)
        with _same_draws(self._stack.device):
            return gradients.compute(theta, self._batches.at(here), NO_TIMINGS)

    @cached_property
    def _rounding(self) -> Tensor:
        """How far eager passes are from one in a higher precision, (1 + parameters, R).

        The larger of two, with fused and with plain attention; zero if the model does not run in a
        higher precision.
        """
        stack, eager = self._stack, self.eager
        zero = torch.zeros(1 + len(stack.layout.names), len(stack.runs), device=stack.device)
        precision = _HIGHER.get(stack.config.precision)
        if precision is None:
            return zero
        dtype = DTYPES[precision]
        try:
            exact = self._passes(stack.new_objective(precision), SOLO, dtype)
            plain = self._passes(stack.new_objective(), _PLAIN, None)
        except Exception:  # a user's model may only run in single precision
            return zero
        return torch.maximum(self._distances(eager, exact), self._distances(plain, exact))

    def compare(self, tap_reducer: TapReducer | None = None) -> Comparison:
        """Compares the stack's method with the eager one.

        Args:
            tap_reducer: Reduces the tensors at sites, as in a step with statistics.

        Raises:
            CompileError: The method does not compile.
            NoRuleError: It has no rule for an operation.
            Exception: What the model raises under this method.
        """
        eager = self.eager
        with _same_draws(self._stack.device):
            found = self._stack.gradients_at(self._theta, self._batches, tap_reducer)
        return self._compared(found, eager)

    def evaluation(self) -> Comparison:
        """Compares the losses of evaluating all runs in one call with those of each run alone.

        Raises:
            Exception: What the model raises under ``torch.vmap``.
        """
        stack = self._stack
        drawn = stack.task.draw(stack.runs[0].seed, 1, 1, stack.config.batch_size)
        batch = Batch(drawn.tokens[0][:_EVALUATED], drawn.targets[0][:_EVALUATED])
        together = torch.from_numpy(stack.evaluate(batch)["loss"])
        try:
            stack.evaluates_together = False
            alone = torch.from_numpy(stack.evaluate(batch)["loss"])
        finally:
            stack.evaluates_together = True
        apart = _distance(together, alone, alone.abs().clamp(min=1.0))
        limit = tolerance(stack.config.evaluation_precision, batch.tokens.size)
        differs = bool((apart > limit).any())
        run = stack.runs[int(apart.argmax())].id if differs else None
        return Comparison(float(apart.max()), 0.0, limit, "loss" if differs else None, run)

    def _compared(self, found: LossesAndGradients, eager: LossesAndGradients) -> Comparison:
        stack = self._stack
        limit = tolerance(stack.config.precision, self._batches.tokens[0].numel())
        apart = self._distances(found, eager)
        wrong = apart > limit
        if wrong.any():  # some gradients are small differences of large terms
            wrong = apart > limit + _TIMES_ROUNDING * self._rounding
        where = run = None
        if wrong.any():
            row, column = (int(place) for place in wrong.nonzero()[0])
            where, run = ["loss", *stack.layout.names][row], stack.runs[column].id
        return Comparison(float(apart[0].max()), float(apart[1:].max()), limit, where, run)

    def _distances(self, found: LossesAndGradients, eager: LossesAndGradients) -> Tensor:
        """The relative differences of losses and of each parameter's gradient, (1 + n, R)."""
        mine, other = found.grad.to(eager.grad.dtype), eager.grad
        average = other.square().mean(1).sqrt()  # (R,)
        rows = [_distance(found.losses, eager.losses, eager.losses.abs().clamp(min=1.0))]
        views = self._stack.layout.views
        for own, exact in zip(views(mine).values(), views(other).values(), strict=True):
            size, norms = exact[0].numel() ** 0.5, exact.flatten(1).norm(dim=1)
            errors = (own - exact).flatten(1).norm(dim=1)
            scale = torch.maximum(norms, average * size)
            rows.append(_distance(norms + errors, norms, scale))
        return torch.stack([row.to(self._theta.dtype) for row in rows])


def tolerance(precision: str, terms: int) -> float:
    """The relative difference that rounding explains between two ways to compute a gradient.

    A gradient is a sum over the tokens of a batch. Two orders of the sum differ by about the square
    root of the number of terms, in units of the precision. Products in bfloat16 and tf32 are added
    up in float32, so that only the rounding of each factor counts.

    Args:
        precision: The precision of training.
        terms: The number of terms (B T).
    """
    unit = _UNIT[precision]
    return _FACTOR[precision] * unit * (1.0 if precision in _HALF else max(16.0, terms**0.5))


def _distance(a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
    """|a - b| / scale; zero where both are equal, infinite, or not a number."""
    both = (a == b) | ~(a.isfinite() | b.isfinite())
    apart = ((a - b).abs() / scale).nan_to_num(nan=torch.inf, posinf=torch.inf)
    return torch.where(both, torch.zeros_like(apart), apart)


def _initial(stack: Stack, run: Run) -> Tensor:
    return stack.initial_state(run).theta.to(stack.device)


def _perturbed(stack: Stack, theta: Tensor) -> Tensor:
    """Parameters at which no factor is zero: a layer that starts at zero hides those before it."""
    absolute, relative = _PERTURBATION
    theta = theta.clone()
    for view in stack.layout.views(theta).values():
        wave = torch.sin(torch.arange(1.0, view[0].numel() + 1, device=theta.device) * 12.9898)
        flat = view.reshape(len(view), -1)
        spread = absolute + relative * flat.square().mean(1, keepdim=True).sqrt()
        view.add_((2**0.5 * spread * wave.to(theta.dtype)).view_as(view))
    return theta


@contextmanager
def _same_draws(device: torch.device) -> Iterator[None]:
    """The same draws of torch's generator each time, for a model that uses it."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        yield
