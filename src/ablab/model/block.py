"""A block: attention and MLP, each with its norm, residual path and scale. Axes: B, T, S, D.

Q is the number of output positions: all T, or the last ones.
"""

from jaxtyping import Float
from torch import Tensor, nn

from ablab.model.attention import Attention
from ablab.model.block_config import BlockConfig
from ablab.model.forward import Forward
from ablab.model.mlp import Mlp
from ablab.model.norm import stream_norm
from ablab.model.parts import Constant


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); post-norm has the norms after the sums.

    Args:
        config: The block's settings.
        n_keys: The maximum number of tokens that it reads.
        causal: Whether a position sees only itself and earlier ones.
    """

    ablab_position_wise = True

    def __init__(self, config: BlockConfig, n_keys: int, causal: bool = True) -> None:
        super().__init__()
        self.residual, self.pre = config.residual, config.norm_place == "pre"
        self.p = config.dropout
        if config.attention is not None:
            self.norm1 = stream_norm(config)
            self.attention = Attention(config, n_keys, causal)
            self.scale1 = _layer_scale(config)
        if config.mlp is not None:
            self.norm2 = stream_norm(config)
            self.mlp = Mlp(config)
            self.scale2 = _layer_scale(config)
        self.has_attention, self.has_mlp = config.attention is not None, config.mlp is not None

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        forward: Forward,
        source: Float[Tensor, "B S D"] | None = None,
        *,
        first: int = 0,
    ) -> Float[Tensor, "B Q D"]:
        """The residual stream after this block, at the positions from ``first`` on.

        Args:
            x: The residual stream before it.
            forward: The pass.
            source: The source of keys and values (cross-attention); None for ``x`` itself.
            first: The first output position; for earlier ones, only keys and values are computed.
                Not with ``source``.
        """
        x = forward.site("resid_pre", x)
        if self.has_attention:
            own = self.norm1(x) if self.pre else x
            if first:  # keys and values cover all positions
                own, source = own[:, first:], own
            out = self.attention(own, forward.within("attn"), source, first=first)
            x = x[:, first:] if first else x
            x = self._joined(x, out, self.scale1, self.norm1, "attn_out", forward)
        elif first:
            x = x[:, first:]
        x = forward.site("resid_mid", x)
        if self.has_mlp:
            out = self.mlp(self.norm2(x) if self.pre else x, forward.within("mlp"))
            x = self._joined(x, out, self.scale2, self.norm2, "mlp_out", forward)
        return forward.site("resid_post", x)

    def _joined(
        self,
        x: Tensor,
        out: Tensor,
        scale: Constant | None,
        norm: nn.Module,
        name: str,
        forward: Forward,
    ) -> Tensor:
        """Combines the input and the output of a part."""
        if scale is not None:
            out = out * scale.weight
        out = forward.site(name, forward.dropout(out, self.p, self.training))
        x = x + out if self.residual else out
        return x if self.pre else norm(x)


def _layer_scale(config: BlockConfig) -> Constant | None:
    """A learned factor per channel; None if the block has no layer scale."""
    return None if config.layer_scale is None else Constant(config.d_model, config.layer_scale)
