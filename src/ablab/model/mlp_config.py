"""Settings of the MLP. Does not import torch."""

from typing import Annotated, Any, Literal

from ablab.config import Component, Config, Neutral
from ablab.model.config import ACTIVATIONS, NORMS


class MlpConfig(Config):
    """Settings of the MLP; ``model.mlp=null`` removes the MLP."""

    activation: Annotated[str, Component(ACTIVATIONS)] = "gelu"
    """The activation of the hidden layer; a name, or the import path of a module class."""
    output_projection: bool = True
    """Whether a second linear layer follows. Without it, ``d_mlp`` must equal ``d_model``."""
    gated: Annotated[bool, Neutral(False)] = False
    """Whether the hidden layer is multiplied by a second one without an activation (Shazeer, 2020):
    SwiGLU with silu, GEGLU with gelu, ReGLU with relu."""
    norm: Annotated[str, Component(NORMS), Neutral("none")] = "none"
    """A norm of the hidden layer, by default after its activation (Shleifer, Weston and Ott,
    2021)."""
    norm_place: Annotated[Literal["after", "before"], Neutral("after")] = "after"
    """``after`` normalizes the output of the activation, W_out norm(act(W_in x)); ``before`` its
    input, W_out act(norm(W_in x)), and of a gated MLP, act(norm(W_gate x)) · (W_in x)."""

    def identity(self) -> dict[str, Any]:
        """Leaves out the place of a norm that does not exist."""
        identity = super().identity()
        if self.norm == "none":
            identity.pop("norm_place", None)
        return identity
