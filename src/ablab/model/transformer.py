"""The decoder-only transformer, read top to bottom. Axes: B, T, D, H, K, M, V.

tokens → embed (+ pos_embed) → blocks → ln_final → logits; in a block, attention and MLP each read
the normed residual stream and write back into it (pre-norm; Radford et al., 2019).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ablab.model.attention import Attention
from ablab.model.base import Model
from ablab.model.forward import Forward
from ablab.model.mlp import Mlp
from ablab.model.transformer_config import TransformerConfig


class Transformer(Model):
    """A stack of blocks between an embedding and the logits; each part can be left out."""

    def __init__(self, config: TransformerConfig, vocab_size: int, input_length: int) -> None:
        super().__init__(config, vocab_size, input_length)
        d_model = config.d_model
        self.config = config
        self.input_length = input_length
        self.embedding = nn.Embedding(vocab_size, d_model)
        if config.position == "learned":
            self.positional_embedding = nn.Embedding(input_length, d_model)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.n_layers)])
        self.norm = _norm(config)
        self.unembedding = nn.Linear(
            d_model, vocab_size, bias=config.bias and not config.tied_embeddings
        )
        if config.tied_embeddings:
            self.unembedding.weight = self.embedding.weight

    def initialise(self, generator: torch.Generator) -> None:
        """Normal weights of ``init_std``, zero biases, norms at one; see ``init_std``."""
        std = self.config.init_std
        assert std is not None, "the configuration fills init_std"
        small = std / (2 * self.config.n_layers) ** 0.5
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim == 1:
                nn.init.ones_(parameter)
            else:
                scale = small if name.endswith("projection.weight") else std
                nn.init.normal_(parameter, std=scale, generator=generator)

    def forward(
        self, tokens: Int[Tensor, "B T"], forward: Forward | None = None
    ) -> Float[Tensor, "B T V"]:
        """The logits of the next token at every position; T is at most ``input_length``."""
        forward = Forward() if forward is None else forward
        length = tokens.shape[-1]
        if length > self.input_length:
            raise ValueError(f"{length} tokens given; this model reads at most {self.input_length}")
        x = forward.site("embed", forward.kernels.embed(tokens, self.embedding.weight))
        if self.config.position == "learned":
            positions = self.positional_embedding.weight[:length]  # (T, D)
            x = x + forward.site("pos_embed", positions.expand_as(x))
        x = forward.dropout(x, self.config.dropout, self.training)
        for number, block in enumerate(self.blocks):
            x = block(x, forward.within(f"blocks.{number}"))
        x = forward.site("ln_final", self.norm(x))
        return forward.site("logits", self.unembedding(x))


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.residual = config.residual
        self.p = config.dropout
        if config.attention is not None:
            self.norm1 = _norm(config)
            self.attention = Attention(config, config.attention)
        if config.mlp is not None:
            self.norm2 = _norm(config)
            self.mlp = Mlp(config, config.mlp)
        self.has_attention, self.has_mlp = config.attention is not None, config.mlp is not None

    def forward(self, x: Float[Tensor, "B T D"], forward: Forward) -> Float[Tensor, "B T D"]:
        """The residual stream after this block."""
        x = forward.site("resid_pre", x)
        if self.has_attention:
            out = self.attention(self.norm1(x), forward.within("attn"))
            out = forward.site("attn_out", forward.dropout(out, self.p, self.training))
            x = x + out if self.residual else out
        x = forward.site("resid_mid", x)
        if self.has_mlp:
            out = self.mlp(self.norm2(x), forward.within("mlp"))
            out = forward.site("mlp_out", forward.dropout(out, self.p, self.training))
            x = x + out if self.residual else out
        return forward.site("resid_post", x)


def _norm(config: TransformerConfig) -> nn.Module:
    if config.norm == "none":
        return nn.Identity()
    return nn.LayerNorm(config.d_model, bias=config.bias)
