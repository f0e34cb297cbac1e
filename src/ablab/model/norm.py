"""Creates the norms of a model from its settings."""

from torch import nn

from ablab.config import InputError, Problem
from ablab.model.block_config import BlockConfig
from ablab.model.config import NORMS


def create_norm(kind: str, width: int, bias: bool, eps: float | None) -> nn.Module:
    """Creates a norm over a last axis of some width.

    Args:
        kind: The norm's name or import path.
        width: The size of the axis.
        bias: Whether it has a bias, if norms of this kind can have one.
        eps: ε, the term that keeps its denominator above zero; None for the norm's default.

    Raises:
        InputError: ``eps`` is given for a user's norm that does not take it.
    """
    found = NORMS.find(kind)
    if eps is None:
        norm: nn.Module = found(width, bias)
        return norm
    try:
        norm = found(width, bias, eps=eps)
    except TypeError as error:
        if NORMS.ships(found) or "eps" not in str(error):
            raise
        raise InputError(
            Problem(
                f"the norm {kind} does not take eps",
                "model.norm_eps",
                given=eps,
                expected="null, or a norm with an argument eps",
            )
        ) from error
    return norm


def block_norm(config: BlockConfig, kind: str, width: int) -> nn.Module:
    """Creates a norm of a block, with the block's ``norm_eps`` and ``norm_bias``."""
    return create_norm(kind, width, config.norms_have_bias, config.norm_eps)


def stream_norm(config: BlockConfig) -> nn.Module:
    """Creates a norm of the residual stream."""
    return block_norm(config, config.norm, config.d_model)
