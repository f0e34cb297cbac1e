"""Settings of the MLP. Does not import torch."""

from typing import Annotated

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
    """A norm of the hidden layer after its activation (Shleifer, Weston and Ott, 2021)."""
