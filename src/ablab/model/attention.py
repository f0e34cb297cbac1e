"""Causal multi-head self-attention (Vaswani et al., 2017). Axes: B, T, H, K, D."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ablab.model.forward import Forward
from ablab.model.transformer_config import AttentionConfig, TransformerConfig


class Attention(nn.Module):
    """softmax(q kᵀ / sqrt(K)) v for each head, each position seeing itself and those before it.

    The fused kernel is used where the engine asks for it, unless the scores or the pattern are
    tapped.
    """

    def __init__(self, config: TransformerConfig, attention: AttentionConfig) -> None:
        super().__init__()
        assert config.d_head is not None, "the configuration fills d_head"
        self.n_heads, self.d_head = config.n_heads, config.d_head
        width = self.n_heads * self.d_head
        assert attention.bias is not None, "the configuration fills attention.bias"
        self.query = nn.Linear(config.d_model, width, bias=attention.bias)
        self.key = nn.Linear(config.d_model, width, bias=attention.bias)
        self.value = nn.Linear(config.d_model, width, bias=attention.bias)
        self.projection = (
            nn.Linear(width, config.d_model, bias=config.bias)
            if attention.output_projection
            else None
        )

    def forward(self, x: Float[Tensor, "B T D"], forward: Forward) -> Float[Tensor, "B T D"]:
        """Attention's output for every position."""
        heads = (self.n_heads, self.d_head)
        q = forward.site("q", self.query(x).unflatten(-1, heads))  # (B, T, H, K)
        k = forward.site("k", self.key(x).unflatten(-1, heads))
        v = forward.site("v", self.value(x).unflatten(-1, heads))
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, H, T, K)
        if forward.wants("attn_scores", "pattern") or not forward.kernels.fused_attention:
            z = self._plain(q, k, v, forward)
        else:
            z = forward.kernels.attend(q, k, v)
            forward.visited.extend(forward.prefix + name for name in ("attn_scores", "pattern"))
        z = forward.site("z", z.transpose(1, 2)).flatten(-2)  # (B, T, H K)
        return z if self.projection is None else self.projection(z)

    def _plain(self, q: Tensor, k: Tensor, v: Tensor, forward: Forward) -> Tensor:
        """The same by plain matrix products, with the scores and the pattern at their sites."""
        length = q.shape[-2]
        hidden = torch.ones(length, length, dtype=torch.bool, device=q.device).triu(1)  # (T, T)
        scores = (q @ k.transpose(-1, -2)) * self.d_head**-0.5  # (B, H, T, T)
        scores = forward.site("attn_scores", scores.masked_fill(hidden, -torch.inf))
        pattern = forward.site("pattern", scores.softmax(dim=-1))
        return pattern @ v
