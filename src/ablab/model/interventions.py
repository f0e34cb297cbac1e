"""Reads and replaces tensors at the sites of a model.

Patterns are shell-style (``blocks.*.attn.pattern``); TransformerLens's names with ``hook_`` are
accepted (``blocks.0.attn.hook_pattern``). Optional sites are computed only if they are asked for:
by name, or by a pattern that matches no other site (``blocks.*.attn.result``, but not ``*``).
"""

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ablab.config import InputError, Problem, match_names
from ablab.model.base import Model
from ablab.model.forward import Forward, Tap
from ablab.model.site_names import plain_site

_NO_SITE = "the model has no site {}"


def sites(model: nn.Module, tokens: Int[Tensor, "B T"]) -> list[str]:
    """The names of the sites that every forward pass of ``model`` visits, in order.

    Args:
        model: Any model that ablab has made.
        tokens: Token ids; only the first sample is used.
    """
    return _visited(model, tokens, Forward())


def all_sites(model: nn.Module, tokens: Int[Tensor, "B T"]) -> list[str]:
    """The names of all sites of ``model``, including the optional ones, in order.

    Args:
        model: Any model that ablab has made.
        tokens: Token ids; only the first sample is used.
    """
    return _visited(model, tokens, Forward(all_sites=True))


def matching(
    model: nn.Module, tokens: Int[Tensor, "B T"], patterns: str | Iterable[str]
) -> list[str]:
    """The sites of ``model`` that match any of the patterns, in the order of the pass.

    Args:
        model: Any model that ablab has made.
        tokens: Token ids; only the first sample is used.
        patterns: Names or shell-style patterns. An optional site matches only a pattern that
            matches no other site.

    Raises:
        InputError: A pattern matches no site, or ablab has not made the model.
    """
    given = [plain_site(each) for each in ([patterns] if isinstance(patterns, str) else patterns)]
    usual = sites(model, tokens)
    wanted = [each for each in given if any(fnmatchcase(name, each) for name in usual)]
    if len(wanted) == len(given):
        return match_names(given, usual, _NO_SITE)
    every = all_sites(model, tokens)
    optional = [each for each in given if each not in wanted]
    found = {*match_names(wanted, usual, _NO_SITE), *match_names(optional, every, _NO_SITE)}
    return [name for name in dict.fromkeys(every) if name in found]


def watch(
    model: nn.Module, tokens: Int[Tensor, "B T"], patterns: Iterable[str]
) -> tuple[Float[Tensor, "B T V"], dict[str, Tensor]]:
    """The logits, and the tensors at every site that matches a pattern.

    The tensors are part of the computation graph, so ``torch.autograd.grad`` can differentiate with
    respect to them. Of a module that is called several times, it is the tensor of the first call,
    as for statistics; :func:`replace` changes all of them.

    Args:
        model: Any model that ablab has made.
        tokens: Token ids.
        patterns: Names or shell-style patterns of sites.

    Returns:
        The logits, and a dict from site to tensor in the order of the pass.

    Raises:
        InputError: A pattern matches no site, or ablab has not made the model.
    """
    seen: dict[str, Tensor] = {}

    def reader(name: str) -> Tap:
        def read(tensor: Tensor) -> Tensor:
            seen.setdefault(name, tensor)
            return tensor

        return read

    names = matching(model, tokens, patterns)
    logits = model(tokens, Forward(taps={name: reader(name) for name in names}))
    return logits, seen


def replace(
    model: nn.Module, tokens: Int[Tensor, "B T"], replacements: Mapping[str, Tap]
) -> Float[Tensor, "B T V"]:
    """The logits with tensors at sites replaced.

    Args:
        model: Any model that ablab has made.
        tokens: Token ids.
        replacements: A mapping from the name or a pattern of sites to a function of the tensor,
            which returns a tensor of the same shape.

    Raises:
        InputError: A name matches no site, a function returns a different shape, or ablab has not
            made the model.
    """
    taps: dict[str, Tap] = {}
    for pattern, function in replacements.items():
        for name in matching(model, tokens, pattern):
            taps[name] = _same_shape(name, function)
    logits: Tensor = model(tokens, Forward(taps=taps))
    return logits


def gradients(
    model: nn.Module,
    tokens: Int[Tensor, "B T"],
    loss: Callable[[Float[Tensor, "B T V"]], Float[Tensor, ""]],
    patterns: Iterable[str],
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """A loss, and its gradient at every site that matches a pattern.

    Args:
        model: Any model that ablab has made with parameters that require gradients.
        tokens: Token ids.
        loss: A function of the logits that returns a scalar.
        patterns: Names or shell-style patterns of sites.

    Returns:
        The value of the loss, and a dict from site to its gradient, with the shape of the site.

    Raises:
        InputError: A pattern matches no site, or ablab has not made the model.
    """
    logits, seen = watch(model, tokens, patterns)
    value = loss(logits)
    found = torch.autograd.grad(
        value, list(seen.values()), allow_unused=True, materialize_grads=True
    )
    return value.detach(), dict(zip(seen, found, strict=True))


def _visited(model: nn.Module, tokens: Int[Tensor, "B T"], forward: Forward) -> list[str]:
    """The sites that a pass over the first sample visits.

    Raises:
        InputError: It is another module.
    """
    if not isinstance(model, Model):
        raise InputError(
            Problem(
                "the sites of a module are known if ablab has made the model",
                given=type(model).__name__,
                expected="the model of a stored run (ablab.open(…).run(…).model()), also of your "
                "own module: model.kind=module:Class",
            )
        )
    with torch.no_grad():
        model(tokens[:1], forward)
    return forward.visited


def _same_shape(name: str, function: Tap) -> Tap:
    def checked(tensor: Tensor) -> Tensor:
        result = function(tensor)
        if result.shape != tensor.shape:
            raise InputError(
                Problem(
                    f"the replacement at {name!r} has a different shape",
                    given=str(tuple(result.shape)),
                    expected=str(tuple(tensor.shape)),
                )
            )
        return result

    return checked
