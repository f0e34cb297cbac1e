"""GELU(x) = x Φ(x), Φ the standard normal distribution (Hendrycks and Gimpel, 2016)."""

from torch import nn

from ablab.model.config import ACTIVATIONS


@ACTIVATIONS.register("gelu")
class GELU(nn.GELU):
    """x Φ(x), computed exactly with the error function."""
