"""Reading and replacing tensors at a model's sites.

Patterns are shell-style (``blocks.*.attn.pattern``); TransformerLens's names with ``hook_`` are
accepted (``blocks.0.attn.hook_pattern``).
"""

from collections.abc import Callable, Iterable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ablab.config import InputError, Problem, match_names
from ablab.model.base import Model
from ablab.model.forward import Forward, Tap
from ablab.model.site_names import plain_site


def sites(model: Model, tokens: Int[Tensor, "B T"]) -> list[str]:
    """The names of the sites that a forward pass of ``model`` visits, in order."""
    forward = Forward()
    with torch.no_grad():
        model(tokens[:1], forward)
    return forward.visited


def matching(patterns: Iterable[str], names: list[str]) -> list[str]:
    """The ``names`` that any of the patterns matches, in their own order.

    Raises:
        InputError: A pattern matches none of them.
    """
    given = [patterns] if isinstance(patterns, str) else patterns
    return match_names(map(plain_site, given), names, "the model has no site {}")


def watch(
    model: Model, tokens: Int[Tensor, "B T"], patterns: Iterable[str]
) -> tuple[Float[Tensor, "B T V"], dict[str, Tensor]]:
    """The logits, and the tensors at every site that a pattern matches.

    The tensors are those that the pass itself used, so ``torch.autograd.grad`` reaches them.

    Args:
        model: Any ablab model.
        tokens: Token numbers.
        patterns: Names or shell-style patterns of sites.

    Returns:
        The logits, and a dict from site to tensor in the pass's order.

    Raises:
        InputError: A pattern matches no site.
    """
    seen: dict[str, Tensor] = {}

    def reader(name: str) -> Tap:
        def read(tensor: Tensor) -> Tensor:
            seen[name] = tensor
            return tensor

        return read

    names = matching(patterns, sites(model, tokens))
    logits = model(tokens, Forward(taps={name: reader(name) for name in names}))
    return logits, seen


def replace(
    model: Model, tokens: Int[Tensor, "B T"], replacements: Mapping[str, Tap]
) -> Float[Tensor, "B T V"]:
    """The logits when tensors at sites are replaced.

    Args:
        model: Any ablab model.
        tokens: Token numbers.
        replacements: From a site's name, or a pattern, to a function of the tensor there that
            returns one of the same shape.

    Raises:
        InputError: A name matches no site, or a function returns another shape.
    """
    names = sites(model, tokens)
    taps: dict[str, Tap] = {}
    for pattern, function in replacements.items():
        for name in matching([pattern], names):
            taps[name] = _same_shape(name, function)
    logits: Tensor = model(tokens, Forward(taps=taps))
    return logits


def gradients(
    model: Model,
    tokens: Int[Tensor, "B T"],
    loss: Callable[[Float[Tensor, "B T V"]], Float[Tensor, ""]],
    patterns: Iterable[str],
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """A loss, and its gradient at every site that a pattern matches.

    Args:
        model: Any ablab model with parameters that require gradients.
        tokens: Token numbers.
        loss: A function of the logits that returns a scalar.
        patterns: Names or shell-style patterns of sites.

    Returns:
        The loss's value, and a dict from site to a gradient of that site's shape.

    Raises:
        InputError: A pattern matches no site.
    """
    logits, seen = watch(model, tokens, patterns)
    value = loss(logits)
    found = torch.autograd.grad(
        value, list(seen.values()), allow_unused=True, materialize_grads=True
    )
    return value.detach(), dict(zip(seen, found, strict=True))


def _same_shape(name: str, function: Tap) -> Tap:
    def checked(tensor: Tensor) -> Tensor:
        result = function(tensor)
        if result.shape != tensor.shape:
            raise InputError(
                Problem(
                    f"the replacement at {name!r} has another shape",
                    given=str(tuple(result.shape)),
                    expected=str(tuple(tensor.shape)),
                )
            )
        return result

    return checked
