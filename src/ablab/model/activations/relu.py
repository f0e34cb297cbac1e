"""ReLU(x) = max(x, 0) (Nair and Hinton, 2010)."""

from torch import nn

from ablab.model.config import ACTIVATIONS


@ACTIVATIONS.register("relu")
class ReLU(nn.ReLU):
    """max(x, 0)."""
