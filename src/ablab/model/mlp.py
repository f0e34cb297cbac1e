"""The position-wise MLP. Axes: B, T, D, M."""

from jaxtyping import Float
from torch import Tensor, nn

from ablab.model.forward import Forward
from ablab.model.transformer_config import MlpConfig, TransformerConfig


class Mlp(nn.Module):
    """W_out gelu(W_in x + b_in) + b_out; without an output projection, gelu(W_in x + b_in)."""

    def __init__(self, config: TransformerConfig, mlp: MlpConfig) -> None:
        super().__init__()
        assert config.d_mlp is not None, "the configuration fills d_mlp"
        self.linear = nn.Linear(config.d_model, config.d_mlp, bias=config.bias)
        self.activation = nn.GELU()
        self.projection = (
            nn.Linear(config.d_mlp, config.d_model, bias=config.bias)
            if mlp.output_projection
            else None
        )

    def forward(self, x: Float[Tensor, "B T D"], forward: Forward) -> Float[Tensor, "B T D"]:
        """The MLP's output for every position."""
        hidden = forward.site("pre", self.linear(x))  # (B, T, M)
        hidden = forward.site("post", self.activation(hidden))
        return hidden if self.projection is None else self.projection(hidden)
