"""Checks documents against schemas that forbid whatever they do not describe."""

import copy
import json
from typing import Any

from jsonschema import Draft202012Validator

from ablab.read.documents import schema


def closed(made: Any) -> Any:
    """A copy of a schema in which no object has further fields."""
    made = copy.deepcopy(made)
    _close(made)
    return made


def _close(made: Any) -> None:
    if isinstance(made, dict):
        if "properties" in made:
            assert "additionalProperties" not in made
            made["additionalProperties"] = False
        for each in made.values():
            _close(each)
    elif isinstance(made, list):
        for each in made:
            _close(each)


VALIDATORS = {name: Draft202012Validator(closed(schema(name))) for name in ("effects", "verdicts")}


def read(name: str, text: str) -> dict[str, Any]:
    """The document in a text; fails if it is no strict JSON, or not as its schema says."""

    def never(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    document = json.loads(text, parse_constant=never)
    assert problems(name, document) == []
    return document


def problems(name: str, document: Any) -> list[str]:
    """What is wrong with a document, by place."""
    return [f"{each.json_path}: {each.message}" for each in VALIDATORS[name].iter_errors(document)]
