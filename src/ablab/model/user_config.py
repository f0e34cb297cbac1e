"""Settings of a user's own module, read off its constructor. Does not import torch."""

import inspect
from functools import lru_cache
from typing import Any, ClassVar

from pydantic import create_model

from ablab.config import Config
from ablab.model.config import ModelConfig

GIVEN = ("vocab_size", "input_length", "source_length")  # which ablab knows from the task

_RESERVED = frozenset({"kind", *dir(ModelConfig), "arguments"})
_PLAIN = (str, int, float, bool, list, dict, tuple, type(None))


class UserModelConfig(ModelConfig):
    """Settings of :class:`ablab.model.user.UserModel`; a subclass has those of one module."""

    implementation: ClassVar[str] = "ablab.model.user:UserModel"

    @property
    def import_path(self) -> str:
        """Where the class is that holds the module."""
        return self.implementation

    @property
    def arguments(self) -> dict[str, Any]:
        """What the module's constructor is given beside what the task says."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "kind"}


@lru_cache(maxsize=64)
def user_config(module: Any) -> type[UserModelConfig]:
    """A configuration class with a setting for each argument of a module's constructor.

    Args:
        module: The class. Arguments called ``vocab_size``, ``input_length`` and ``source_length``
            are no settings: ablab gives them.

    Raises:
        ValueError: It has an argument that no setting can be made of.
    """
    fields: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(module).parameters.items()):
        if name in GIVEN:
            continue
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ValueError(
                f"{module.__name__} takes {parameter}, which no settings can be read off; give its "
                f"arguments by name"
            )
        if name in _RESERVED or name.startswith(("_", "model_")):
            raise ValueError(f"{module.__name__} has an argument {name}, a name that ablab needs")
        if not isinstance(parameter.default, _PLAIN) and parameter.default is not parameter.empty:
            raise ValueError(
                f"{module.__name__} has the default {name}={parameter.default!r}, which cannot be "
                f"written down; settings are numbers, text, true or false, null, lists, mappings"
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
    """The configuration class of what an import path names; None where it is no model.

    A class that has a ``Config`` of its own is configured by it; any other ``torch.nn.Module`` by
    the arguments of its constructor.
    """
    own = getattr(found, "Config", None)
    if inspect.isclass(own) and issubclass(own, ModelConfig):
        return own
    is_module = inspect.isclass(found) and any(
        (base.__module__, base.__name__) == ("torch.nn.modules.module", "Module")
        for base in found.__mro__
    )
    return user_config(found) if is_module else None
