"""Operations as a stack runs them: the run axis is folded into the batch where that is faster."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ablab.model.forward import FusedKernels


class StackedKernels(FusedKernels):
    """Kernels for a model under ``torch.vmap``."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        """Softmax attention; see :meth:`ablab.model.forward.Kernels.attend`."""
        result: Tensor = _FoldedAttention.apply(q, k, v, mask, causal)  # type: ignore[no-untyped-call]
        return result


class _FoldedAttention(torch.autograd.Function):
    """Fused attention whose vmap rule folds R into B.

    torch has no batching rule for its fused attention on the CPU and would run it once for each
    run. Training differentiates outside of vmap, so the folded call is an ordinary one there and
    brings torch's own backward pass; this function's own is never reached.
    """

    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        runs = info.batch_size
        *qkv, mask, causal = inputs
        assert in_dims[3] is None, "the mask is the same for all runs"
        folded = [
            (x.expand(runs, *x.shape) if dim is None else x.movedim(dim, 0)).flatten(0, 1)
            for x, dim in zip(qkv, in_dims[:3], strict=True)
        ]  # (R B, H, T, K)
        z = F.scaled_dot_product_attention(
            folded[0], folded[1], folded[2], mask, is_causal=bool(causal)
        )
        return z.view(runs, -1, *z.shape[1:]), 0
