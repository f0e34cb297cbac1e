"""A block: attention and MLP, each with its norm, residual path and scale. Axes: B, T, S, D.

Q is the number of output positions: all T, or the last ones.
"""

from jaxtyping import Float
from torch import Tensor, nn

from ablab.model.attention import Attention, Inputs
from ablab.model.block_config import BlockConfig
from ablab.model.forward import Forward
from ablab.model.mlp import Mlp
from ablab.model.norm import apply_norm, normalized, stream_norm
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
            inputs = self._attention_inputs(x, forward, source, first)
            out = self.attention(inputs, forward.within("attn"), first=first)
            x = x[:, first:] if first else x
            x = self._joined(x, self._scaled(out, self.scale1, "attn_out", forward))
            x = x if self.pre else apply_norm(self.norm1, x, "ln1", forward)
        elif first:
            x = x[:, first:]
        x = forward.site("resid_mid", x)
        if self.has_mlp:
            own = forward.site("mlp_in", x.clone()) if forward.wants("mlp_in") else x
            own = apply_norm(self.norm2, own, "ln2", forward) if self.pre else own
            out = self.mlp(own, forward.within("mlp"))
            x = self._joined(x, self._scaled(out, self.scale2, "mlp_out", forward))
            x = x if self.pre else apply_norm(self.norm2, x, "ln2", forward)
        return forward.site("resid_post", x)

    def _attention_inputs(
        self, x: Tensor, forward: Forward, source: Tensor | None, first: int
    ) -> Inputs:
        """What queries, keys and values are computed from.

        An input with a site of its own (``q_input``, ``k_input``, ``v_input``) is repeated for
        each head there, and then normalized by itself.
        """
        own = apply_norm(self.norm1, x, "ln1", forward) if self.pre else x
        norm = self.norm1 if self.pre else None
        heads, groups = self.attention.n_heads, self.attention.n_kv_heads
        q = own[:, first:] if first else own  # keys and values cover all positions
        k = v = own if source is None else source
        if forward.wants("q_input"):
            q = _by_head("q_input", x[:, first:], heads, norm, forward)
        # A source of another part of the model is normalized there.
        before, norm = (x, norm) if source is None else (source, None)
        if forward.wants("k_input"):
            k = _by_head("k_input", before, groups, norm, forward)
        if forward.wants("v_input"):
            v = _by_head("v_input", before, groups, norm, forward)
        return Inputs(q, k, v)

    def _scaled(self, out: Tensor, scale: Constant | None, name: str, forward: Forward) -> Tensor:
        """The output of a part after layer scale and dropout, at its site."""
        if scale is not None:
            out = out * scale.weight
        return forward.site(name, forward.dropout(out, self.p, self.training))

    def _joined(self, x: Tensor, out: Tensor) -> Tensor:
        """The residual stream after a part."""
        return x + out if self.residual else out


def _by_head(
    site: str, x: Tensor, heads: int, norm: nn.Module | None, forward: Forward
) -> Float[Tensor, "B T H D"]:
    """An input of attention for each head, which is replaced before it is normalized."""
    each = forward.site(site, x.unsqueeze(2).repeat(1, 1, heads, 1))
    return each if norm is None else normalized(norm, each)


def _layer_scale(config: BlockConfig) -> Constant | None:
    """A learned factor per channel; None if the block has no layer scale."""
    return None if config.layer_scale is None else Constant(config.d_model, config.layer_scale)
