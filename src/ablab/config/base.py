"""The base class of all typed configurations, and which of their fields enter a run's id."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from ablab.config.source_digest import component_source
from ablab.config.variants import Component


class Config(BaseModel):
    """A typed, frozen part of an experiment; unknown keys and non-finite numbers are errors."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
    )

    def __hash__(self) -> int:
        """Hashes the representation, since fields can contain mappings, which are not hashable."""
        return hash(repr(self))

    def identity(self) -> dict[str, Any]:
        """The settings that affect training, as plain data for hashing."""
        return identity_of(self)


@dataclass(frozen=True)
class NotInIdentity:
    """Marks a field that does not affect training (``Annotated[int, NotInIdentity()]``)."""


@dataclass(frozen=True)
class Neutral:
    """Marks a field that a later release added: it enters the identity only if it is not neutral.

    The ids of runs that were trained before the field existed therefore stay the same.
    """

    value: Any


def identity_of(config: Config) -> dict[str, Any]:
    """The fields of ``config`` that enter the identity, including nested configurations.

    Keys are the names of the fields; values are JSON-serializable.
    """
    result: dict[str, Any] = {}
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        marks = [mark for mark in field.metadata if isinstance(mark, NotInIdentity | Neutral)]
        if any(isinstance(mark, NotInIdentity) for mark in marks):
            continue
        if any(isinstance(mark, Neutral) and mark.value == value for mark in marks):
            continue
        result[name] = value.identity() if isinstance(value, Config) else _plain(value)
        if any(isinstance(mark, Component) for mark in field.metadata) and ":" in value:
            result[f"{name}_source"] = component_source(value, name)
    return result


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
