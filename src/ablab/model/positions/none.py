"""No position encoding: only the causal mask carries order (Kazemnejad et al., 2023, "NoPE")."""

from ablab.model.config import POSITIONS
from ablab.model.parts import AttentionPosition


@POSITIONS.register("none")
class NoPosition(AttentionPosition):
    """No position encoding."""
