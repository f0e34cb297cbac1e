"""Showing whole tensors where a pass works out the later positions alone.

A site's tensor of the positions from ``first`` on is joined to that of earlier ones, which another
pass has; what is joined is read, and its gradient, which is zero at the earlier ones. What flows
on and the gradient that comes back are the pass's own, laid out as they were: reading changes no
bit of them.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Tap = Callable[[Tensor], Tensor]


def tap_full_sequence(every: Tensor, late: Tensor, first: int, tap: Tap) -> Tensor:
    """Shows a tap the tensor of all positions, and returns that of the later ones.

    Args:
        every: The tensor of all positions, from another pass.
        late: That of the positions from ``first`` on, cut along one axis.
        first: The first position of ``late``.
        tap: What reads. It returns what it is given.
    """
    sizes = zip(late.shape, every.shape, strict=True)
    axis = next(n for n, (a, b) in enumerate(sizes) if a != b)
    early = every.narrow(axis, 0, first).detach()
    if not torch.is_grad_enabled():  # recorded, to be differentiated: by operations alone
        return tap(torch.cat([early, late], axis)).narrow(axis, first, late.shape[axis])
    seen = tap(_Joined.apply(early, late, axis))  # type: ignore[no-untyped-call]
    result: Tensor = _Late.apply(late, seen, axis, first)  # type: ignore[no-untyped-call]
    return result


class _Joined(torch.autograd.Function):
    """Earlier and later positions in one tensor, whose gradient ends here."""

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
    """The later positions as they are; their gradient is that of the whole tensor, too."""

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
