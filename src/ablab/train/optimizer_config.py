"""The base class of optimizer settings, and the registry of optimizers. Does not import torch.

Settings that several optimizers have are settings of training (``train.betas``). An optimizer uses
such a setting by defining a field of the same name, with its own default. All other fields are the
optimizer's own settings, given together with its kind: ``optimizer: {kind: NAME, rho: 0.1}``.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, ClassVar

from pydantic import create_model
from pydantic_core import PydanticCustomError

from ablab.config import (
    Config,
    InputError,
    Problem,
    Registry,
    component_source,
    load_object,
    nearest,
)
from ablab.config.own_parts import check_members, part_error

OPTIMIZERS = Registry("optimizer", "ablab.train.optimizers", suffix="_config")
SHARED = ("weight_decay", "decay", "betas", "eps", "momentum", "nesterov")
KEY = "train.optimizer"


@dataclass(frozen=True)
class PerRun:
    """Marks a setting that may differ between the runs of a stack; only ``scalars`` may use it."""


@dataclass(frozen=True)
class Own:
    """Marks a setting as the optimizer's own although a setting of training has its name."""


class OptimizerConfig(Config):
    """The settings of an optimizer; a subclass gives the import path of the optimizer."""

    implementation: ClassVar[str] = ""
    formerly_used_names: ClassVar[bool] = False  # in place of roles

    kind: str
    """The registered name of the optimizer, or the import path of a class."""

    @property
    def import_path(self) -> str:
        """The import path of the optimizer class."""
        return self.kind if ":" in self.kind else self.implementation

    @property
    def stackable(self) -> bool:
        """Whether the optimizer can update several runs at once; imports torch."""
        return bool(load_object(self.import_path, KEY).stackable)

    @property
    def stack_settings(self) -> str | dict[str, Any]:
        """Its name, and those of its own settings that must be equal within a stack."""
        return self._named(
            {
                name: value
                for name, value in self.model_dump(mode="json").items()
                if not _is_marked(type(self), name, PerRun)
            }
        )

    def identity(self) -> dict[str, Any]:
        """Its name and own settings, and the source digest of a user's optimizer.

        The settings of training that it uses are not included.
        """
        identity = {"optimizer": self._named(super().identity())}
        if ":" in self.kind:
            found = load_object(self.kind, KEY)
            classes = [type(self)] if "Config" in vars(found) else []
            identity["optimizer_source"] = component_source(self.kind, KEY, *classes)
        return identity

    def _named(self, settings: Mapping[str, Any]) -> str | dict[str, Any]:
        """The kind, together with the optimizer's own settings if it has any."""
        own = {name: settings[name] for name in own_settings(type(self)) if name in settings}
        return {"kind": self.kind} | own if own_settings(type(self)) else self.kind


def own_settings(cls: type[OptimizerConfig]) -> list[str]:
    """The names of the optimizer's own settings."""
    shared = shared_settings(cls)
    return [name for name in cls.model_fields if name != "kind" and name not in shared]


def shared_settings(cls: type[OptimizerConfig]) -> dict[str, Any]:
    """The settings of training that an optimizer uses, with its defaults."""
    return dict(_shared_settings(cls))


@lru_cache(maxsize=256)
def _shared_settings(cls: type[OptimizerConfig]) -> dict[str, Any]:
    return {
        name: cls.model_fields[name].default
        for name in SHARED
        if name in cls.model_fields and not _is_marked(cls, name, Own)
    }


def optimizer_class(kind: str) -> type[OptimizerConfig]:
    """The configuration class of an optimizer, by its name or import path.

    Raises:
        InputError: The import path does not give an optimizer.
        PydanticCustomError: There is no optimizer with this name.
    """
    if ":" not in kind:
        if kind not in OPTIMIZERS.names():
            names = " or ".join(repr(each) for each in OPTIMIZERS.names())
            raise PydanticCustomError("literal_error", "unknown optimizer", {"expected": names})
        found: type[OptimizerConfig] = OPTIMIZERS.find(kind, KEY)
        return found
    named: Any = load_object(kind, KEY)
    own = getattr(named, "Config", None)
    if inspect.isclass(own) and issubclass(own, OptimizerConfig):
        check_members(named, kind, KEY)
        return own
    base = _torch_base(named)
    if base is not None:
        if named.step is base.step:
            raise part_error(KEY, kind, "has no step", *_STEP)
        return torch_settings(named)
    raise InputError(
        Problem(
            f"{KEY}: {kind} is not an optimizer",
            KEY,
            given=kind,
            expected="a class of ablab.train.optimizer.Optimizer, or one of torch.optim.Optimizer",
            lines=(f"class {kind.partition(':')[2]}(torch.optim.Optimizer):", *_INIT, *_STEP),
        )
    )


_INIT = (
    "    def __init__(self, params, lr=1e-3):",
    "        super().__init__(params, {'lr': lr})",
)
_STEP = (
    "    @torch.no_grad()",
    "    def step(self):",
    "        for group in self.param_groups:",
    "            for p in group['params']:",
    "                p -= group['lr'] * p.grad",
)


def _torch_base(found: Any) -> Any:
    """The class ``torch.optim.Optimizer`` if an object is a subclass of it; else None."""
    for base in found.__mro__ if inspect.isclass(found) else ():
        if (base.__module__, base.__name__) == ("torch.optim.optimizer", "Optimizer"):
            return base
    return None


def check_optimizer(given: Any) -> tuple[str | dict[str, Any], type[OptimizerConfig]]:
    """The value of ``train.optimizer`` with all own settings filled in, and its settings class.

    Raises:
        ValueError: There is no such optimizer, or it does not have these settings.
    """
    if isinstance(given, str):
        given = {"kind": given}
    if not isinstance(given, Mapping) or not isinstance(given.get("kind", ""), str):
        raise ValueError("expected the name of an optimizer, or a mapping with its kind")
    settings = {"kind": "adamw", **given}
    kind = str(settings["kind"])
    cls = optimizer_class(kind)
    own = own_settings(cls)
    for name in settings.keys() - {"kind"}:
        if name in shared_settings(cls):
            raise InputError(
                Problem(
                    f"{KEY}.{name} is not a setting",
                    f"{KEY}.{name}",
                    given=settings[name],
                    suggestion=f"train.{name}",
                )
            )
        if name not in own:
            near = nearest(name, own)
            raise InputError(
                Problem(
                    f"{KEY}.{name} is not a setting of {kind}",
                    f"{KEY}.{name}",
                    given=settings[name],
                    expected=f"one of {', '.join(own)}" if own else "no own settings",
                    suggestion=near and f"{KEY}.{near}",
                )
            )
    checked = cls.model_validate(settings).model_dump(mode="json")
    return ({"kind": kind} | {name: checked[name] for name in own} if own else kind), cls


class TorchOptimizerConfig(OptimizerConfig):
    """Settings of a torch optimizer, from the arguments of its constructor."""

    implementation: ClassVar[str] = "ablab.train.torch_optimizer:TorchOptimizer"

    @property
    def import_path(self) -> str:
        """The import path of the class that wraps the optimizer."""
        return self.implementation

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the constructor, except the parameters and the learning rate."""
        left_out = ("kind", "decay")
        return {
            name: getattr(self, name) for name in type(self).model_fields if name not in left_out
        }


# The parameters and the learning rate, and arguments that only choose an implementation.
_HOW = frozenset(("params", "lr", "foreach", "fused", "capturable", "differentiable"))


@lru_cache(maxsize=64)
def torch_settings(optimizer: Any) -> type[TorchOptimizerConfig]:
    """A settings class with a field for each argument of a torch optimizer's constructor.

    Raises:
        InputError: An argument cannot be a setting.
    """
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(optimizer).parameters.items():
        if name in _HOW:
            continue
        default = parameter.default
        named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if not named or not isinstance(
            default, str | int | float | tuple | list | type(None) | type
        ):
            raise InputError(
                Problem(
                    f"{KEY}: the argument {parameter} of {optimizer.__name__} cannot be a setting",
                    KEY,
                    expected="named arguments with plain defaults",
                    lines=_INIT,
                )
            )
        if default is parameter.empty:
            fields[name] = (Annotated[Any, Own()], ...)
        elif name in SHARED and _fits(name, default):
            fields[name] = (Any, default)
        else:
            fields[name] = (Annotated[Any, Own()], default)
    if "weight_decay" in fields:
        fields["decay"] = (str, "all")
    made: type[TorchOptimizerConfig] = create_model(
        f"{optimizer.__name__}Config",
        __base__=TorchOptimizerConfig,
        __module__=optimizer.__module__,
        **fields,
    )
    return made


def _fits(name: str, default: Any) -> bool:
    """Whether an argument has the type of the setting of training with its name."""
    if name == "betas":
        return isinstance(default, tuple) and len(default) == 2
    return isinstance(default, bool if name == "nesterov" else int | float)


def _is_marked(cls: type[OptimizerConfig], name: str, mark: type) -> bool:
    return any(isinstance(each, mark) for each in cls.model_fields[name].metadata)
