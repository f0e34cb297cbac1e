"""Settings of the MLP. Does not import torch."""

from typing import Annotated

from ablab.config import Component, Config, Neutral
from ablab.model.config import ACTIVATIONS, NORMS


class MlpConfig(Config):
    """Settings of the MLP; ``model.mlp=null`` leaves the MLP out."""

    activation: Annotated[str, Component(ACTIVATIONS)] = "gelu"
    """The hidden layer's activation; or an import path to a module's class without arguments."""
    output_projection: bool = True
    """Whether a second linear layer follows; without it the MLP is one layer and ``d_mlp`` must
    equal ``d_model``."""
    gated: Annotated[bool, Neutral(False)] = False
    """Whether the hidden layer is multiplied by another, which has no activation (Shazeer, 2020:
    SwiGLU with silu, GEGLU with gelu, ReGLU with relu)."""
    norm: Annotated[str, Component(NORMS), Neutral("none")] = "none"
    """A norm of the hidden layer, after its activation (Shleifer, Weston and Ott, 2021)."""
