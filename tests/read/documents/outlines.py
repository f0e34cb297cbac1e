"""Schemas without their texts: what a script relies on.

``python -m tests.read.documents.outlines`` writes the outlines of formats that have none yet. That
of a format is not written again: fields may be added to it, but none may change.
"""

import json
from pathlib import Path
from typing import Any

from ablab.read.documents import DOCUMENTS, schema

FOLDER = Path(__file__).parent / "formats"
_MEANT = ("type", "enum", "const", "$ref", "minItems", "maxItems")


def outline(made: dict[str, Any]) -> dict[str, Any]:
    """What each field of a schema may be, by its place; a field of an object must be there."""
    found: dict[str, Any] = {}
    _add(found, "", {key: value for key, value in made.items() if key != "$defs"})
    for name, each in made["$defs"].items():
        _add(found, f"{name}:", each)
    return found


def _add(found: dict[str, Any], place: str, made: dict[str, Any]) -> None:
    found[place] = {key: made[key] for key in _MEANT if key in made}
    for name, each in made.get("properties", {}).items():
        found[f"{place}.{name} is required"] = name in made["required"]
        _add(found, f"{place}.{name}", each)
    for key in ("items", "additionalProperties"):
        if key in made:
            _add(found, f"{place}[{key}]", made[key])
    for key in ("prefixItems", "anyOf"):
        for number, each in enumerate(made.get(key, ())):
            _add(found, f"{place}[{key} {number}]", each)


def name_of(made: dict[str, Any]) -> str:
    """The name of the file of a format: ``ablab effects 1`` is ``effects_1``."""
    return str(made["title"]).removeprefix("ablab ").replace(" ", "_")


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for each in DOCUMENTS:
        made = schema(each)
        file = FOLDER / f"{name_of(made)}.json"
        if not file.exists():
            file.write_text(json.dumps(outline(made), indent=1) + "\n")


if __name__ == "__main__":
    main()
