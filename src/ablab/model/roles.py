"""Roles of parameters, and properties that classes declare of themselves.

Training uses roles, never names. The roles of torch's layers are known; a class declares those of
its other parameters in ``ablab_roles``, by name or shell-style pattern relative to the module::

    class Mine(torch.nn.Module):
        ablab_roles = {"places": "embedding", "blocks.*.out.weight": "residual_output"}

Declarations of an outer module override those of its submodules.
"""

from collections.abc import Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from inspect import isroutine
from typing import Any

from torch import Tensor, nn

from ablab.config import InputError, Problem, nearest


class Role(StrEnum):
    """The role of a parameter."""

    EMBEDDING = "embedding"
    """Vectors looked up by token or position, or the latent vectors of a memory."""
    UNEMBEDDING = "unembedding"
    """The matrix that computes the logits."""
    RESIDUAL_OUTPUT = "residual_output"
    """A matrix whose output is added to the residual stream."""
    MATRIX = "matrix"
    """Any other matrix."""
    NORM = "norm"
    """The scale of a norm."""
    BIAS = "bias"
    """The bias of a layer or a norm."""
    VECTOR = "vector"
    """Any other parameter with at most one axis."""


_LAYER = {"weight": Role.MATRIX, "bias": Role.BIAS}
_NORM = {"weight": Role.NORM, "bias": Role.BIAS}
_TORCH: dict[type[nn.Module], dict[str, Role]] = {
    nn.Embedding: {"weight": Role.EMBEDDING},
    nn.EmbeddingBag: {"weight": Role.EMBEDDING},
    nn.Linear: _LAYER,
    nn.LayerNorm: _NORM,
    nn.RMSNorm: _NORM,
    nn.GroupNorm: _NORM,
}
_POSITION_WISE = (nn.Linear, nn.Identity, nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid)
_MISSING = object()


def parameter_roles(model: nn.Module) -> dict[str, Role]:
    """The role of each parameter, in ``named_parameters`` order.

    If modules share a parameter, a declared role takes precedence over an inferred one, and then
    the order of :class:`Role` decides: an embedding tied to an output layer is an embedding.

    Raises:
        InputError: A declaration has an unknown role or matches no parameter.
    """
    roles, declared = _roles_by_name(model)
    named = dict(model.named_parameters(remove_duplicate=False))
    names: dict[int, list[str]] = {}
    for name, parameter in named.items():
        names.setdefault(id(parameter), []).append(name)
    order = list(Role)
    return {
        name: min(
            ([roles[n] for n in names[id(p)] if n in declared]) or [roles[n] for n in names[id(p)]],
            key=order.index,
        )
        for name, p in model.named_parameters()
    }


def roles_by_name(model: nn.Module) -> dict[str, Role]:
    """The role under each name; a shared parameter has a role for each of its names."""
    return _roles_by_name(model)[0]


def declared_roles(module: nn.Module) -> dict[str, Role]:
    """The roles that a module itself declares, by the names of its parameters.

    Raises:
        InputError: A declaration has an unknown role or matches no parameter.
    """
    names = [name for name, _ in module.named_parameters(remove_duplicate=False)]
    roles: dict[str, Role] = {}
    for pattern, role in _declarations(module).items():
        found = [name for name in names if fnmatchcase(name, pattern)]
        if not found and not _is_left_out(module, pattern):
            raise InputError(
                Problem(
                    f"{type(module).__name__}.ablab_roles: it has no parameter {pattern!r}",
                    given=pattern,
                    expected="a name or pattern of " + ", ".join(names),
                    suggestion=nearest(pattern, names),
                )
            )
        roles |= dict.fromkeys(found, _role(module, pattern, role))
    return roles


def claim(cls: type, name: str, *methods: str) -> Any:
    """The value of a class attribute that declares a property of some methods.

    A subclass that overrides one of the methods inherits the declaration only if it repeats it;
    otherwise the result is None.

    Args:
        cls: The class.
        name: The attribute.
        methods: The methods that the property depends on; all methods by default.
    """
    for base in cls.__mro__:
        if name in vars(base):
            return vars(base)[name]
        if any(each in vars(base) for each in methods) or (not methods and _defines(base)):
            return None
    return None


def is_position_wise(part: object) -> bool:
    """Whether a part processes each position independently, so that positions can be skipped.

    In attention, these are the positions of queries; each still reads all of its keys. A class
    declares it by ``ablab_position_wise = True``; some of torch's classes are known.
    """
    for base in type(part).__mro__:
        if "ablab_position_wise" in vars(base):
            return bool(vars(base)["ablab_position_wise"])
        if base in _POSITION_WISE:
            return True
        if base in (nn.LayerNorm, nn.RMSNorm):
            assert isinstance(part, nn.LayerNorm | nn.RMSNorm)
            return len(part.normalized_shape) == 1
        if _defines(base):
            return False
    return False


def _roles_by_name(model: nn.Module) -> tuple[dict[str, Role], set[str]]:
    """The role under each name, and the names with a declared role."""
    modules = dict(model.named_modules(remove_duplicate=False))
    roles = {
        name: _inferred(modules[name.rpartition(".")[0]], name.rpartition(".")[2], parameter)
        for name, parameter in model.named_parameters(remove_duplicate=False)
    }
    declared: set[str] = set()
    for prefix in sorted(modules, key=lambda each: -len(each.split(".")) if each else 0):
        for name, role in declared_roles(modules[prefix]).items():
            full = f"{prefix}.{name}" if prefix else name
            roles[full] = role
            declared.add(full)
    return roles, declared


def _inferred(module: nn.Module, name: str, parameter: Tensor) -> Role:
    """The role of a module's own parameter, by torch's class or the number of axes."""
    for base, own in _TORCH.items():
        if isinstance(module, base) and name in own:
            return own[name]
    return Role.MATRIX if parameter.ndim > 1 else Role.VECTOR


def _declarations(module: nn.Module) -> dict[str, Any]:
    """The roles that a module and its classes declare, by pattern."""
    found: dict[str, Any] = {}
    for source in [*map(vars, reversed(type(module).__mro__)), vars(module)]:
        own = source.get("ablab_roles", {})
        if not isinstance(own, Mapping):
            raise InputError(
                Problem(
                    f"{type(module).__name__}.ablab_roles is not a mapping",
                    given=str(own),
                    expected='roles by parameter, such as {"places": "embedding"}',
                )
            )
        found |= own
    return found


def _role(module: nn.Module, pattern: str, role: Any) -> Role:
    try:
        return Role(role)
    except ValueError:
        raise InputError(
            Problem(
                f"{type(module).__name__}.ablab_roles: {pattern} has an unknown role",
                given=role,
                expected="one of " + ", ".join(Role),
                suggestion=nearest(str(role), Role),
            )
        ) from None


def _is_left_out(module: nn.Module, name: str) -> bool:
    """Whether a name belongs to an optional part that the module was built without."""
    here: Any = module
    for part in name.split("."):
        here = getattr(here, part, _MISSING)
        if here is None:
            return True
    return False


def _defines(cls: type) -> bool:
    """Whether a class defines any method or property."""
    return any(isroutine(value) or isinstance(value, property) for value in vars(cls).values())
