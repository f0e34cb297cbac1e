"""No activation: x."""

from torch import nn

from ablab.model.config import ACTIVATIONS


@ACTIVATIONS.register("none")
class Identity(nn.Identity):
    """x."""
