"""Which of the possibilities of a schema occur in documents."""

from typing import Any


def possible(made: dict[str, Any]) -> set[str]:
    """Each field of a schema, by its place, as null and as something else, and each listed value.

    A field is something else in a list that is not empty, too.
    """
    found: set[str] = set()
    for name, each in [("", made), *made["$defs"].items()]:
        for field, inner in each.get("properties", {}).items():
            found |= _kinds(f"{name}.{field}", inner)
    return found


def _kinds(place: str, made: dict[str, Any]) -> set[str]:
    types = made.get("type", "object")
    kinds = set([types] if isinstance(types, str) else types)
    found = {f"{place} is null"} if "null" in kinds or "anyOf" in made else set()
    if "enum" in made:
        return found | {f"{place} is {value}" for value in made["enum"] if value is not None}
    if kinds == {"boolean"}:
        return {f"{place} is False", f"{place} is True"}
    return found | {f"{place} is something"}


def occurring(made: dict[str, Any], document: Any) -> set[str]:
    """Those of :func:`possible` that occur in a document."""
    found: set[str] = set()
    _walk(made, made, "", document, found)
    return found


def _walk(
    whole: dict[str, Any], made: dict[str, Any], name: str, value: Any, found: set[str]
) -> None:
    made = next((each for each in made.get("anyOf", ()) if "$ref" in each), made)
    if "$ref" in made:
        name = made["$ref"].removeprefix("#/$defs/")
        made = whole["$defs"][name]
    if isinstance(value, list):
        for each in value:
            _walk(whole, made.get("items", {}), name, each, found)
    if not isinstance(value, dict):
        return
    for field, inner in made.get("properties", {}).items():
        given = value[field]
        place = f"{name}.{field}"
        listed = "enum" in inner or isinstance(given, bool) or given is None
        if listed:
            found.add(f"{place} is {'null' if given is None else given}")
        elif given not in ([], {}):
            found.add(f"{place} is something")
        _walk(whole, inner, name, given, found)
    for each in value.values() if "properties" not in made else ():
        _walk(whole, made.get("additionalProperties", {}), name, each, found)
