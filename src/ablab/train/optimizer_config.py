"""What the settings of every optimizer have, and the registry of optimizers. Does not import torch.

A setting that several optimizers have is one of training's (``train.betas``): an optimizer takes it
by a field of the same name, whose default is what it means where nothing is given. Every other
field is the optimizer's own, and is given beside its kind: ``optimizer: {kind: NAME, rho: 0.1}``.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, ClassVar

from pydantic import create_model
from pydantic_core import PydanticCustomError

from ablab.config import Config, InputError, Problem, Registry, load_object, nearest, source_digest

OPTIMIZERS = Registry("optimizer", "ablab.train.optimizers", suffix="_config")
SHARED = ("weight_decay", "decay", "betas", "eps", "momentum", "nesterov")
KEY = "train.optimizer"


@dataclass(frozen=True)
class PerRun:
    """Marks a setting in which the runs of one stack may differ: a number for ``scalars``."""


@dataclass(frozen=True)
class Own:
    """Marks a setting that is the optimizer's own although its name is one of training's."""


class OptimizerConfig(Config):
    """An optimizer's settings; a subclass names the class that it configures by import path."""

    implementation: ClassVar[str] = ""
    went_by_names: ClassVar[bool] = False  # of parameters, where it now goes by their roles

    kind: str
    """The optimizer's registered name, or an import path to a class of the user's own."""

    @property
    def import_path(self) -> str:
        """Where the class is that this configures: a user's own is named by ``kind`` itself."""
        return self.kind if ":" in self.kind else self.implementation

    @property
    def stackable(self) -> bool:
        """Whether it updates several runs at once; imports torch."""
        return bool(load_object(self.import_path, KEY).stackable)

    @property
    def stack_settings(self) -> str | dict[str, Any]:
        """Its name and the settings of its own that all runs of a stack share."""
        return self._named(
            {
                name: value
                for name, value in self.model_dump(mode="json").items()
                if not _is_marked(type(self), name, PerRun)
            }
        )

    def identity(self) -> dict[str, Any]:
        """Its name and own settings, and the source of a user's; those of training are not here."""
        identity = {"optimizer": self._named(super().identity())}
        if ":" in self.kind:
            found = load_object(self.kind, KEY)
            classes = [type(self)] if "Config" in vars(found) else []
            identity["optimizer_source"] = source_digest(found, *classes)
        return identity

    def _named(self, settings: Mapping[str, Any]) -> str | dict[str, Any]:
        """The kind, with the optimizer's own among some settings where it has any."""
        own = {name: settings[name] for name in own_settings(type(self)) if name in settings}
        return {"kind": self.kind} | own if own_settings(type(self)) else self.kind


def own_settings(cls: type[OptimizerConfig]) -> list[str]:
    """The settings that are the optimizer's own."""
    shared = shared_settings(cls)
    return [name for name in cls.model_fields if name != "kind" and name not in shared]


def shared_settings(cls: type[OptimizerConfig]) -> dict[str, Any]:
    """The settings of training that an optimizer has, with what they are where nothing is given."""
    return {
        name: cls.model_fields[name].default
        for name in SHARED
        if name in cls.model_fields and not _is_marked(cls, name, Own)
    }


def optimizer_class(kind: str) -> type[OptimizerConfig]:
    """The configuration class of an optimizer, by its name or import path.

    Raises:
        InputError: The import path is of no optimizer.
        PydanticCustomError: There is no optimizer of that name.
    """
    if ":" not in kind:
        if kind not in OPTIMIZERS.names():
            names = " or ".join(repr(each) for each in OPTIMIZERS.names())
            raise PydanticCustomError("literal_error", "unknown optimizer", {"expected": names})
        found: type[OptimizerConfig] = OPTIMIZERS.find(kind, KEY)
        return found
    found = load_object(kind, KEY)
    own = getattr(found, "Config", None)
    if inspect.isclass(own) and issubclass(own, OptimizerConfig):
        return own
    if inspect.isclass(found) and any(
        (base.__module__, base.__name__) == ("torch.optim.optimizer", "Optimizer")
        for base in found.__mro__
    ):
        return torch_settings(found)
    raise InputError(
        Problem(
            f"{KEY}: {kind} is not an optimizer",
            KEY,
            given=kind,
            expected="a class of ablab.train.optimizer.Optimizer, or one of torch.optim.Optimizer",
        )
    )


def check_optimizer(given: Any) -> tuple[str | dict[str, Any], type[OptimizerConfig]]:
    """What was given for ``train.optimizer`` with its own settings complete; and its class.

    Raises:
        ValueError: It is no optimizer, or has no such settings.
    """
    if isinstance(given, str):
        given = {"kind": given}
    if not isinstance(given, Mapping) or not isinstance(given.get("kind", ""), str):
        raise ValueError("expected an optimizer's name, or a mapping with its kind")
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
                    expected=f"one of {', '.join(own)}" if own else "no settings of its own",
                    suggestion=near and f"{KEY}.{near}",
                )
            )
    checked = cls.model_validate(settings).model_dump(mode="json")
    return ({"kind": kind} | {name: checked[name] for name in own} if own else kind), cls


class TorchOptimizerConfig(OptimizerConfig):
    """Settings of :class:`ablab.train.torch_optimizer.TorchOptimizer`, read off a constructor."""

    implementation: ClassVar[str] = "ablab.train.torch_optimizer:TorchOptimizer"

    @property
    def import_path(self) -> str:
        """Where the class is that holds the optimizer."""
        return self.implementation

    @property
    def arguments(self) -> dict[str, Any]:
        """What the constructor is given beside the parameters and the learning rate."""
        left_out = ("kind", "decay")
        return {
            name: getattr(self, name) for name in type(self).model_fields if name not in left_out
        }


# How torch computes the same: no settings of a run.
_HOW = frozenset(("params", "lr", "foreach", "fused", "capturable", "differentiable"))


@lru_cache(maxsize=64)
def torch_settings(optimizer: Any) -> type[TorchOptimizerConfig]:
    """A configuration class with a setting for each argument of a torch optimizer's constructor.

    Raises:
        InputError: It has an argument that no setting can be made of.
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
                    f"{KEY}: no settings can be read off {optimizer.__name__}'s {parameter}",
                    KEY,
                    expected="named arguments with plain defaults",
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
    """Whether an argument can be the setting of training that has its name."""
    if name == "betas":
        return isinstance(default, tuple) and len(default) == 2
    return isinstance(default, bool if name == "nesterov" else int | float)


def _is_marked(cls: type[OptimizerConfig], name: str, mark: type) -> bool:
    return any(isinstance(each, mark) for each in cls.model_fields[name].metadata)
