"""Creates the norms of a model from its settings, and applies them."""

from jaxtyping import Float
from torch import Tensor, nn

from ablab.config import InputError, Problem
from ablab.model.block_config import BlockConfig
from ablab.model.config import NORMS
from ablab.model.forward import Forward
from ablab.model.parts import DividingNorm
from ablab.model.roles import claim


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


def apply_norm(
    norm: nn.Module, x: Float[Tensor, "*B D"], name: str, forward: Forward
) -> Float[Tensor, "*B D"]:
    """The normalized vectors; the norm's scale passes the optional site ``NAME.scale``.

    Norms that do not divide by one number per vector, such as ``none``, do not have that site.

    Args:
        norm: The norm.
        x: The vectors.
        name: The name of the norm in sites.
        forward: The pass.
    """
    site = f"{name}.scale"
    if forward.wants(site) and isinstance(norm, DividingNorm) and has_scale(norm):
        return norm.divide(x, forward.site(site, norm.scale(x)))
    normed: Tensor = norm(x)
    return normed


def has_scale(norm: DividingNorm) -> bool:
    """Whether ``scale`` and ``divide`` of a norm compute the same as its ``forward``."""
    found: bool | None = claim(type(norm), "ablab_divides", "forward", "scale", "divide")
    return found is True
