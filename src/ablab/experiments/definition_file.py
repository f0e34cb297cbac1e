"""An experiment's definition as a YAML file, from which the same runs can be made again."""

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap


def definition_yaml(definition: Mapping[str, Any], about: str = "") -> str:
    """A definition as YAML: ``experiment(FILE)`` then has the same runs.

    Args:
        definition: The experiment as plain data, with its size applied.
        about: A comment for the top of the file, in lines.
    """
    writer = YAML()
    writer.width = 100
    writer.allow_unicode = True
    file = io.StringIO()
    plain = _plain(definition)
    if "cells" in plain:  # a line for each
        plain["cells"] = [_line(cell) for cell in plain["cells"]]
    writer.dump(plain, file)
    comment = "".join(f"# {line}\n" for line in about.splitlines())
    return comment + file.getvalue()


def _line(cell: dict[str, Any]) -> CommentedMap:
    found = CommentedMap(cell)
    found.fa.set_flow_style()
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
