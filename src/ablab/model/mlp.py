"""The position-wise MLP. Axes: B, T, D, M."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from ablab.model.block_config import BlockConfig
from ablab.model.config import ACTIVATIONS
from ablab.model.forward import Forward
from ablab.model.norm import block_norm, normalized
from ablab.model.roles import Role


class Mlp(nn.Module):
    """W_out norm(act(W_in x + b_in)) + b_out.

    Gated: W_out norm(act(W_gate x + b_gate) · (W_in x + b_in)) + b_out (Shazeer, "GLU variants
    improve transformer", 2020). Without an output projection, there is no W_out and b_out. With
    ``norm_place: before``, the norm is that of the activation's input: W_out act(norm(W_in x +
    b_in)) + b_out, and the site ``pre`` comes after it.
    """

    ablab_roles: ClassVar = {"projection.weight": Role.RESIDUAL_OUTPUT}
    ablab_position_wise = True

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        own = config.mlp
        assert own is not None, "a block without an MLP does not create it"
        assert config.d_mlp is not None, "the configuration fills d_mlp"
        self.linear = nn.Linear(config.d_model, config.d_mlp, bias=config.bias)
        self.gate = nn.Linear(config.d_model, config.d_mlp, bias=config.bias) if own.gated else None
        self.activation: nn.Module = ACTIVATIONS.find(own.activation)()
        self.norm = block_norm(config, own.norm, config.d_mlp, "model.mlp.norm")
        self.norm_first = own.norm_place == "before"
        self.projection = (
            nn.Linear(config.d_mlp, config.d_model, bias=config.bias)
            if own.output_projection
            else None
        )

    def forward(self, x: Float[Tensor, "B T D"], forward: Forward) -> Float[Tensor, "B T D"]:
        """The output of the MLP for every position."""
        pre = self.linear(x) if self.gate is None else self.gate(x)  # (B, T, M)
        pre = normalized(self.norm, pre) if self.norm_first else pre
        hidden = self.activation(forward.site("pre", pre))
        if self.gate is not None:
            hidden = hidden * forward.site("pre_linear", self.linear(x))
        hidden = forward.site("post", hidden)
        hidden = hidden if self.norm_first else normalized(self.norm, hidden)
        out: Tensor = hidden if self.projection is None else self.projection(hidden)
        return out
