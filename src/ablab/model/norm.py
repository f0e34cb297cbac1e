"""Creates the norms of a model from its settings, and applies them."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ablab.config import InputError, Problem
from ablab.config.own_parts import check_arguments, part_error
from ablab.model.block_config import BlockConfig
from ablab.model.config import NORMS
from ablab.model.forward import Forward
from ablab.model.parts import DividingNorm
from ablab.model.roles import claim

_KEY = "model.norm"
_LINES = (
    "class MyNorm(torch.nn.Module):",
    "    def __init__(self, width, bias):",
    "        super().__init__()",
    "",
    "    def forward(self, x):  # (…, width), and so is the result",
)


def create_norm(kind: str, width: int, bias: bool, eps: float | None) -> nn.Module:
    """Creates a norm over a last axis of some width.

    Args:
        kind: The norm's name or import path.
        width: The size of the axis.
        bias: Whether it has a bias, if norms of this kind can have one.
        eps: ε, the term that keeps its denominator above zero; None for the norm's default.

    Raises:
        InputError: ``eps`` is given for a user's norm that does not take it, or a user's norm is
            not a module that is made from a width and a bias.
    """
    found = NORMS.find(kind)
    if ":" in kind:
        check_arguments(found, ["width", "bias"], kind, _KEY, *_LINES)
    norm = _created(found, kind, width, bias, eps)
    if not isinstance(norm, nn.Module):
        what = f"gives {type(norm).__name__}; expected a torch.nn.Module"
        raise part_error(_KEY, kind, what, *_LINES)
    return norm


def _created(found: Any, kind: str, width: int, bias: bool, eps: float | None) -> Any:
    if eps is None:
        return found(width, bias)
    try:
        return found(width, bias, eps=eps)
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
    shape = tuple(normed.shape) if isinstance(normed, Tensor) else type(normed).__name__
    if shape != tuple(x.shape):
        what = f"gives {shape} for {tuple(x.shape)}; expected the same shape"
        raise part_error(_KEY, type(norm).__name__, what, *_LINES)
    return normed


def has_scale(norm: DividingNorm) -> bool:
    """Whether ``scale`` and ``divide`` of a norm compute the same as its ``forward``."""
    found: bool | None = claim(type(norm), "ablab_divides", "forward", "scale", "divide")
    return found is True
