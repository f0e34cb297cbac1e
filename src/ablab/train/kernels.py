"""Kernels for stacks: attention with the run axis folded into the batch."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ablab.model import flex
from ablab.model.flex import Terms
from ablab.model.forward import FusedKernels


class _FoldedAttention(torch.autograd.Function):
    """Fused attention whose vmap rule folds R into B.

    On the CPU, torch has no batching rule for its fused attention and would call it once per run.
    Training differentiates outside of vmap, where the folded call is an ordinary one with torch's
    own backward pass. The backward pass of this function is never called.
    """

    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        *qkv, mask, causal = inputs
        q, k, v = _folded(info.batch_size, qkv, in_dims[:3])
        if in_dims[3] is not None:  # one mask per run, if learned: (R, …, Q, S) to (R B, H, Q, S)
            mask = mask.movedim(in_dims[3], 0)
            mask = mask if mask.ndim == 4 else mask.unsqueeze(1)
            samples = q.shape[0] // info.batch_size
            mask = mask[:, None].expand(-1, samples, -1, -1, -1).flatten(0, 1)
        z = F.scaled_dot_product_attention(q, k, v, mask, is_causal=bool(causal))
        return z.view(info.batch_size, -1, *z.shape[1:]), 0


class _FoldedFlex(torch.autograd.Function):
    """FlexAttention whose vmap rule folds R into B."""

    @staticmethod
    def forward(activation: str, q: Tensor, k: Tensor, v: Tensor, terms: Terms) -> Tensor:
        return flex.attend(activation, q, k, v, terms)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        activation, *qkv, terms = inputs
        q, k, v = _folded(info.batch_size, qkv, in_dims[1:4])
        z = flex.attend(activation, q, k, v, terms)
        return z.view(info.batch_size, -1, *z.shape[1:]), 0


class StackedKernels(FusedKernels):
    """Kernels for a model under ``torch.vmap``. They fold the run axis into the batch."""

    attend: Callable[..., Tensor] = staticmethod(_FoldedAttention.apply)
    attend_by: Callable[..., Tensor] = staticmethod(_FoldedFlex.apply)


def _folded(runs: int, tensors: Sequence[Tensor], in_dims: Sequence[int | None]) -> list[Tensor]:
    """Folds the run axis of tensors (R, B, …) into the batch: (R B, …)."""
    return [
        (x.expand(runs, *x.shape) if dim is None else x.movedim(dim, 0)).flatten(0, 1)
        for x, dim in zip(tensors, in_dims, strict=True)
    ]
