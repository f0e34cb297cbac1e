"""The JSON Schema of a type, and of a class with the attributes and properties that JSON has."""

import builtins
import types
import typing
from collections import abc
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from ablab.read.documents.attributes import attribute_descriptions, description
from ablab.read.documents.units import END_OVERFLOWS, OVERFLOWS, UNITS

Schema = dict[str, Any]

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
SETTING = "SettingValue"
SETTING_VALUE: Schema = {
    "description": "A value of a setting: a text, a number, true or false, or null where null is "
    "a value. Where the values of one setting are of mixed types, or lists or mappings, each is a "
    "text. Settings that vary together are one setting, whose values are texts.",
    "type": ["string", "number", "boolean", "null"],
}


class Definitions:
    """Collects the schemas of the classes of a document.

    Attributes:
        further: For each class, the names of properties and methods whose results are fields, too.
        found: The schemas, by the name of the class.
    """

    def __init__(self, further: Mapping[type, tuple[str, ...]]) -> None:
        self.further = further
        self.found: dict[str, Schema] = {}

    def of_class(self, cls: type) -> Schema:
        """The schema of the fields of a class: the attributes of a dataclass, and further ones."""
        hints, told = get_type_hints(cls), attribute_descriptions(cls)
        assert is_dataclass(cls), "documents are made of dataclasses"
        properties = {
            each.name: self._field(cls, each.name, hints[each.name], told[each.name])
            for each in fields(cls)
        }
        for name in self.further.get(cls, ()):
            member = getattr(cls, name)
            function = member.fget if isinstance(member, property) else member
            hint = get_type_hints(function)["return"]
            properties[name] = self._field(cls, name, hint, description(function))
        return {
            "description": description(cls),
            "type": "object",
            "properties": properties,
            "required": list(properties),
        }

    def _field(self, cls: type, name: str, hint: Any, text: str) -> Schema:
        """The schema of a field, with its description, its unit and when it is null."""
        place, made = f"{cls.__name__}.{name}", self.of_type(hint)
        if place in OVERFLOWS:
            made = _or_null(made)
            text += " Null if it is not finite."
        if place in END_OVERFLOWS:
            made["prefixItems"] = [_or_null(each) for each in made["prefixItems"]]
            text += " An end that is not finite is null."
        if has_numbers(made):
            text += f" Unit: {UNITS[place]}."
        return {"description": text, **made}

    def of_type(self, hint: Any) -> Schema:
        """The schema of a type annotation."""
        arguments = get_args(hint)
        match get_origin(hint):
            case None:
                return {"type": _PLAIN[hint]} if hint in _PLAIN else self._reference(hint)
            case typing.Literal:
                return {"type": "string", "enum": sorted(arguments)}
            case typing.Union | types.UnionType:
                (inner,) = (each for each in arguments if each is not type(None))
                return _or_null(self.of_type(inner))
            case builtins.dict | abc.Mapping:
                return {"type": "object", "additionalProperties": self.of_type(arguments[1])}
            case _:
                return self._array(arguments)

    def _reference(self, hint: Any) -> Schema:
        """A class, or the value of a setting, whose schema is kept once."""
        name = SETTING if hint is Any else hint.__name__
        if name not in self.found:
            self.found[name] = SETTING_VALUE if hint is Any else self.of_class(hint)
        return {"$ref": f"#/$defs/{name}"}

    def _array(self, arguments: tuple[Any, ...]) -> Schema:
        """A tuple of some types, or a tuple or list of any length."""
        if len(arguments) == 1 or arguments[1] is ...:
            return {"type": "array", "items": self.of_type(arguments[0])}
        each = [self.of_type(inner) for inner in arguments]
        return {"type": "array", "prefixItems": each, "minItems": len(each), "maxItems": len(each)}


def _or_null(made: Schema) -> Schema:
    """The schema of the same or null."""
    if "$ref" in made:
        return {"anyOf": [made, {"type": "null"}]}
    if isinstance(made["type"], list):
        return made
    enum = {"enum": [*made["enum"], None]} if "enum" in made else {}
    return {**made, "type": [made["type"], "null"], **enum}


def has_numbers(made: Schema) -> bool:
    """Whether there are numbers in the values of a field, apart from the values of settings."""
    kinds = made.get("type", ())
    if kinds in ("integer", "number") or not {"integer", "number"}.isdisjoint(kinds):
        return True
    inner = [*made.get("prefixItems", ()), made.get("items"), made.get("additionalProperties")]
    return any(has_numbers(each) for each in inner if each is not None)
