"""The base class of all typed configurations, and which of their fields enter a run's id."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from ablab.config.source_digest import component_source
from ablab.config.variants import Component


class Config(BaseModel):
    """A typed, frozen part of an experiment; unknown keys and non-finite numbers are errors."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_default=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_values_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """Rejects true and false in place of a number, which pydantic takes for 1 and 0."""
        if _has_bool(value) and not _takes_bool(cls, str(info.field_name)):
            raise PydanticCustomError("no_bool", "Input should be a number, not true or false")
        return value

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
    for name, neutral, is_component in _identity_fields(type(config)):
        value = getattr(config, name)
        if any(mark.value == value for mark in neutral):
            continue
        result[name] = _plain(value)
        if is_component and value is not None and ":" in value:
            result[f"{name}_source"] = component_source(value, name)
    return result


def _has_bool(value: Any) -> bool:
    """Whether a value is true or false, or a list that contains one."""
    return isinstance(value, bool) or (
        isinstance(value, list | tuple) and any(_has_bool(item) for item in value)
    )


@lru_cache(maxsize=1024)
def _takes_bool(cls: type[Config], field: str) -> bool:
    """Whether a field's type mentions no numbers, or mentions booleans too."""
    found = set(_types(cls.model_fields[field].annotation))
    return not found & {int, float} or bool in found


def _types(annotation: Any) -> Iterator[Any]:
    """All types that an annotation mentions; the values of literals are left out."""
    if get_origin(annotation) is Literal:
        yield from (type(value) for value in get_args(annotation))
        return
    yield annotation
    for inner in get_args(annotation):
        yield from _types(inner)


@lru_cache(maxsize=256)
def _identity_fields(cls: type[Config]) -> tuple[tuple[str, tuple[Neutral, ...], bool], ...]:
    """The fields that can enter the identity: name, neutral values, whether it is a component."""
    return tuple(
        (
            name,
            tuple(mark for mark in field.metadata if isinstance(mark, Neutral)),
            any(isinstance(mark, Component) for mark in field.metadata),
        )
        for name, field in cls.model_fields.items()
        if not any(isinstance(mark, NotInIdentity) for mark in field.metadata)
    )


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value.identity() if isinstance(value, Config) else value
