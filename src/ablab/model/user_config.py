"""Settings of a user's module, derived from its constructor. Does not import torch."""

import inspect
from functools import lru_cache
from typing import Any, ClassVar

from pydantic import create_model

from ablab.config import Config
from ablab.model.config import ModelConfig

GIVEN = ("vocab_size", "input_length", "source_length")  # arguments that the task determines

FORWARD = "    def forward(self, tokens): ...  # (B, T) -> logits (B, T, V)"
_RESERVED = frozenset({"kind", *dir(ModelConfig), "arguments"})
_PLAIN = (str, int, float, bool, list, dict, tuple, type(None))


class UserModelConfig(ModelConfig):
    """Settings of :class:`ablab.model.user.UserModel`, with a subclass for each module."""

    implementation: ClassVar[str] = "ablab.model.user:UserModel"

    @property
    def import_path(self) -> str:
        """The import path of the class that wraps the module."""
        return self.implementation

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the constructor, except those that the task determines."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "kind"}


@lru_cache(maxsize=64)
def user_config(module: Any) -> type[UserModelConfig]:
    """A configuration class with a setting for each argument of a module's constructor.

    Args:
        module: The class. Its arguments ``vocab_size``, ``input_length`` and ``source_length`` are
            not settings, because the task determines them.

    Raises:
        ValueError: An argument cannot be a setting.
    """
    fields: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(module).parameters.items()):
        if name in GIVEN:
            continue
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ValueError(
                f"the argument {parameter} of {module.__name__} cannot be a setting; "
                f"expected named arguments"
            )
        if name in _RESERVED or name.startswith(("_", "model_")):
            raise ValueError(f"{module.__name__} has an argument {name}, which is a reserved name")
        if not isinstance(parameter.default, _PLAIN) and parameter.default is not parameter.empty:
            raise ValueError(
                f"the default {name}={parameter.default!r} of {module.__name__} cannot be a "
                f"setting; expected a number, text, true or false, null, a list or a mapping"
            )
        known = parameter.annotation is not parameter.empty
        annotation = parameter.annotation if known else Any
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[name] = (annotation, default)
    made: type[UserModelConfig] = create_model(
        f"{module.__name__}Config",
        __base__=UserModelConfig,
        __module__=module.__module__,
        **fields,
    )
    return made


def config_of(found: Any) -> type[Config] | None:
    """The settings class of an imported object; None if it is not a model.

    This is the object's ``Config``, or for any other ``torch.nn.Module`` a class derived from the
    arguments of its constructor.

    Raises:
        ValueError: It has an argument that cannot be a setting.
    """
    own = getattr(found, "Config", None)
    if inspect.isclass(own) and issubclass(own, ModelConfig):
        return own
    is_module = inspect.isclass(found) and any(
        (base.__module__, base.__name__) == ("torch.nn.modules.module", "Module")
        for base in found.__mro__
    )
    return user_config(found) if is_module else None
