"""Operations as a stack runs them: the run axis is folded into the batch where that is faster."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ablab.model.forward import FusedKernels


class StackedKernels(FusedKernels):
    """Kernels for a model under ``torch.vmap``."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Causal softmax attention, scaled by 1 / sqrt(K); (B, H, T, K) each."""
        result: Tensor = _FoldedAttention.apply(q, k, v)  # type: ignore[no-untyped-call]
        return result


class _FoldedAttention(torch.autograd.Function):
    """Fused attention whose vmap rule folds R into B.

    torch has no batching rule for its fused attention on the CPU and would run it once for each
    run. Training differentiates outside of vmap, so the folded call is an ordinary one there and
    brings torch's own backward pass; this function's own is never reached.
    """

    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *qkv: Tensor) -> tuple[Tensor, int]:
        runs = info.batch_size
        folded = [
            (x.expand(runs, *x.shape) if dim is None else x.movedim(dim, 0)).flatten(0, 1)
            for x, dim in zip(qkv, in_dims, strict=True)
        ]  # (R B, H, T, K)
        z = F.scaled_dot_product_attention(folded[0], folded[1], folded[2], is_causal=True)
        return z.view(runs, -1, *z.shape[1:]), 0
