"""SiLU(x) = x σ(x) (Elfwing, Uchibe and Doya, 2018; Ramachandran et al. call it swish)."""

from torch import nn

from ablab.model.config import ACTIVATIONS


@ACTIVATIONS.register("silu")
class SiLU(nn.SiLU):
    """x σ(x)."""
