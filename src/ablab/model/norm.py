"""Creates the norms of a model from its settings, and applies them."""

import inspect
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
_NAMED = "ablab_named"  # the setting and the import path of a user's norm, on the norm
_LINES = (
    "class MyNorm(torch.nn.Module):",
    "    def __init__(self, width, bias):",
    "        super().__init__()",
    "",
    "    def forward(self, x):  # (…, width), and so is the result",
)


def create_norm(kind: str, width: int, bias: bool, eps: float | None, key: str = _KEY) -> nn.Module:
    """Creates a norm over a last axis of some width.

    Args:
        kind: The norm's name or import path.
        width: The size of the axis.
        bias: Whether it has a bias, if norms of this kind can have one.
        eps: ε, the term that keeps its denominator above zero; None for the norm's default.
        key: The setting that names the norm, for errors.

    Raises:
        InputError: ``eps`` is given for a user's norm that does not take it, or a user's norm is
            not a module that is made from a width and a bias.
    """
    found = NORMS.find(kind)
    if ":" in kind:
        check_arguments(found, ["width", "bias"], kind, key, *_LINES)
    norm = _created(found, kind, width, bias, eps)
    if not isinstance(norm, nn.Module):
        what = f"gives {type(norm).__name__}; expected a torch.nn.Module"
        raise part_error(key, kind, what, *_LINES)
    if ":" in kind:
        vars(norm)[_NAMED] = (key, kind)
    return norm


def check_norms(model: nn.Module) -> None:
    """Checks that the users' norms of a model that is to be trained use the bias as one.

    A model that is loaded is not checked: earlier releases trained it all the same.

    Raises:
        InputError: The second argument of one may be left out, but is no bias.
    """
    named = (vars(each).get(_NAMED) for each in model.modules())
    for key, kind in dict.fromkeys(each for each in named if each is not None):
        _check_bias(NORMS.find(kind), kind, key)


def _check_bias(found: Any, kind: str, key: str) -> None:
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = inspect.signature(found, follow_wrapped=False).parameters.values()
    except (TypeError, ValueError):  # some classes written in C have none
        return
    for second in [each for each in parameters if each.kind in by_place][1:2]:
        if second.name != "bias" and second.default is not second.empty:
            what = f"would get the bias as {second.name}; its second argument must be bias"
            raise part_error(key, kind, what, *_LINES)


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


def block_norm(config: BlockConfig, kind: str, width: int, key: str) -> nn.Module:
    """Creates a norm of a block, with the block's ``norm_eps`` and ``norm_bias``."""
    return create_norm(kind, width, config.norms_have_bias, config.norm_eps, key)


def stream_norm(config: BlockConfig) -> nn.Module:
    """Creates a norm of the residual stream."""
    return block_norm(config, config.norm, config.d_model, _KEY)


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
    return normalized(norm, x)


def normalized(norm: nn.Module, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
    """The normalized vectors.

    Raises:
        InputError: The norm gives something of another shape.
    """
    normed: Tensor = norm(x)
    shape = tuple(normed.shape) if isinstance(normed, Tensor) else type(normed).__name__
    if shape != tuple(x.shape):
        key, path = vars(norm).get(_NAMED, (_KEY, type(norm).__name__))
        what = f"gives {shape} for {tuple(x.shape)}; expected the same shape"
        raise part_error(key, path, what, *_LINES)
    return normed


def has_scale(norm: DividingNorm) -> bool:
    """Whether ``scale`` and ``divide`` of a norm compute the same as its ``forward``."""
    found: bool | None = claim(type(norm), "ablab_divides", "forward", "scale", "divide")
    return found is True
