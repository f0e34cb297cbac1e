"""Taps of full tensors in a pass that computes only the later positions.

The tensor of the positions from ``first`` on is concatenated with that of the earlier ones, which
another pass has computed. The tap sees the result and its gradient, which is zero at the earlier
positions. The tensors and gradients of the pass itself do not change by a single bit.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Tap = Callable[[Tensor], Tensor]


def tap_full_sequence(every: Tensor, late: Tensor, first: int, tap: Tap) -> Tensor:
    """Calls a tap with the tensor of all positions, and returns the tensor of the later ones.

    Args:
        every: The tensor of all positions, from another pass.
        late: The tensor of the positions from ``first`` on; it is shorter along one axis.
        first: The first position of ``late``.
        tap: The tap. It returns its argument.
    """
    sizes = zip(late.shape, every.shape, strict=True)
    axis = next(n for n, (a, b) in enumerate(sizes) if a != b)
    early = every.narrow(axis, 0, first).detach()
    if not torch.is_grad_enabled():  # traced and differentiated later, so plain operations only
        return tap(torch.cat([early, late], axis)).narrow(axis, first, late.shape[axis])
    seen = tap(_Joined.apply(early, late, axis))  # type: ignore[no-untyped-call]
    result: Tensor = _Late.apply(late, seen, axis, first)  # type: ignore[no-untyped-call]
    return result


class _Joined(torch.autograd.Function):
    """Concatenates earlier and later positions; no gradient flows back."""

    generate_vmap_rule = True

    @staticmethod
    def forward(early: Tensor, late: Tensor, axis: int) -> Tensor:
        return torch.cat([early, late], axis)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return None, None, None


class _Late(torch.autograd.Function):
    """Returns the later positions; passes their gradient to the concatenated tensor as well."""

    generate_vmap_rule = True

    @staticmethod
    def forward(late: Tensor, seen: Tensor, axis: int, first: int) -> Tensor:
        return late.view_as(late)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, _, ctx.axis, ctx.first = inputs

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (grad,) = grads
        shape = list(grad.shape)
        shape[ctx.axis] = ctx.first
        return grad, torch.cat([grad.new_zeros(shape), grad], ctx.axis), None, None
