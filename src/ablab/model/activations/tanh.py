"""tanh(x) = (exp(x) - exp(-x)) / (exp(x) + exp(-x))."""

from torch import nn

from ablab.model.config import ACTIVATIONS


@ACTIVATIONS.register("tanh")
class Tanh(nn.Tanh):
    """tanh(x)."""
