"""No positions: order is known by the causal mask alone (Kazemnejad et al., 2023, "NoPE")."""

from ablab.model.config import POSITIONS
from ablab.model.parts import AttentionPosition


@POSITIONS.register("none")
class NoPosition(AttentionPosition):
    """Nothing says where a token stands."""
