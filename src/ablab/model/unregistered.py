"""Finds tensors and modules that are attributes of a model but not registered with it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

_TORCHS_OWN = frozenset(vars(nn.Module()))  # attributes for registered tensors, modules and hooks
_DEPTH = 3  # maximum nesting of containers


@dataclass(frozen=True)
class Loose:
    """A tensor or module that is not a parameter, buffer or submodule of the model.

    Attributes:
        name: The path to it (``blocks.0.gains[1]``).
        value: The tensor or the module.
    """

    name: str
    value: Tensor | nn.Module

    @property
    def trains(self) -> bool:
        """Whether it should be trained: it, or a parameter in it, requires a gradient."""
        if isinstance(self.value, Tensor):
            return self.value.requires_grad and self.value.is_leaf
        return any(parameter.requires_grad for parameter in self.value.parameters())

    @property
    def size(self) -> int:
        """The number of its entries."""
        if isinstance(self.value, Tensor):
            return self.value.numel()
        return sum(parameter.numel() for parameter in self.value.parameters())


def loose_tensors(model: nn.Module) -> list[Loose]:
    """Unregistered tensors and modules in plain attributes, lists, tuples and dicts."""
    registered = {id(tensor) for tensor in [*model.parameters(), *model.buffers()]}
    modules = {id(module) for module in model.modules()}
    found: dict[int, Loose] = {}
    for prefix, module in model.named_modules():
        for attribute, value in vars(module).items():
            if attribute in _TORCHS_OWN:
                continue
            name = f"{prefix}.{attribute}" if prefix else attribute
            for place, thing in _inside(name, value, _DEPTH):
                known = id(thing) in registered or id(thing) in modules
                if not known and not _holds_only(thing, registered):
                    found.setdefault(id(thing), Loose(place, thing))
    return list(found.values())


def _inside(name: str, value: Any, depth: int) -> Iterator[tuple[str, Tensor | nn.Module]]:
    if isinstance(value, Tensor | nn.Module):
        yield name, value
    elif depth and isinstance(value, dict):
        for key, inner in value.items():
            yield from _inside(f"{name}[{key!r}]", inner, depth - 1)
    elif depth and isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _inside(f"{name}[{number}]", inner, depth - 1)


def _holds_only(thing: Tensor | nn.Module, registered: set[int]) -> bool:
    """Whether a module holds registered tensors only."""
    if isinstance(thing, Tensor):
        return False
    return all(id(tensor) in registered for tensor in [*thing.parameters(), *thing.buffers()])
