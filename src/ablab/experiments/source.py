"""Reads experiments from recipes, YAML files, or mappings in Python."""

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from ablab.config import InputError, Problem, is_file, nearest
from ablab.experiments.limits import check_depth
from ablab.experiments.sizes import Size, read_sizes
from ablab.experiments.tree import Origins
from ablab.experiments.tree import Path as KeyPath
from ablab.experiments.unquoted_calls import load_calls

_MAX_NODES = 100_000
_MAX_BYTES = 10_000_000
_MAX_BRACKETS = 200  # open at a time, those in texts included
_BRACKET = re.compile(r"[\[\]{}]")


@dataclass(frozen=True)
class Recipe:
    """A shipped experiment.

    Attributes:
        name: The name.
        question: The question it asks.
        logbook: The logbook that it reproduces, if any.
        sizes: The sizes by name; empty if it has only one.
    """

    name: str
    question: str
    logbook: str | None
    sizes: dict[str, Size]


def shipped() -> list[Recipe]:
    """The shipped experiments, sorted by name."""
    found = []
    for file in sorted(_recipe_folder().iterdir(), key=lambda file: file.name):
        if file.name.endswith(".yaml"):
            text = file.read_text(encoding="utf-8")
            tree, origins = _parse(text, file.name, load=_load_once)
            name = file.name.removesuffix(".yaml")
            sizes = read_sizes(tree.get("sizes"), origins)
            found.append(Recipe(name, str(tree["question"]), tree.get("logbook"), sizes))
    return found


def recipes() -> dict[str, str]:
    """The names of the shipped experiments, with their questions."""
    return {recipe.name: recipe.question for recipe in shipped()}


def read_source(source: str | Path | Mapping[str, Any]) -> tuple[dict[str, Any], Origins]:
    """The tree of an experiment as written, and the source of each value.

    Raises:
        InputError: There is no such recipe or file, or it is not a YAML mapping.
    """
    if isinstance(source, Mapping):
        return dict(source), Origins()
    name = str(source)
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or is_file(path):
        return _parse(_read(path), name, stem=path.stem)
    text = recipe_text(name, "recipe and no file", "or the path of a YAML file")
    return _parse(text, f"recipe {name}", stem=name, load=_load_once)


def recipe_text(name: str, missing: str = "recipe", alternative: str = "") -> str:
    """The file of a shipped experiment.

    Args:
        name: The name.
        missing: What does not exist under this name, for the message.
        alternative: What the name could be instead, for the message.

    Raises:
        InputError: There is no such recipe.
    """
    known = sorted(file.name.removesuffix(".yaml") for file in _recipe_folder().iterdir()
                   if file.name.endswith(".yaml"))  # fmt: skip
    if name not in known:
        raise InputError(
            Problem(
                f"there is no {missing} called {name!r}",
                given=name,
                expected=", ".join(filter(None, ["one of " + ", ".join(known), alternative])),
                suggestion=nearest(name, known),
            )
        )
    found: str = (_recipe_folder() / f"{name}.yaml").read_text(encoding="utf-8")
    return found


def _recipe_folder() -> Any:
    return resources.files("ablab").joinpath("recipes")


def _read(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():  # reading a pipe or a device might never end
            raise InputError(Problem(f"{path} is not a file", given=str(path)))
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            expected = f"at most {_MAX_BYTES:,} bytes"
            raise InputError(Problem(f"{path} is too large", given=str(path), expected=expected))
        return content.decode("utf-8")
    except OSError as error:
        raise InputError(
            Problem(f"cannot read {path}: {error.strerror}", given=str(path))
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(Problem(f"{path} is not UTF-8 text", given=str(path))) from error


def _load(text: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of anchors that are used twice, which YAML allows
        return YAML(typ="rt").load(text)


@cache
def _load_once(text: str) -> Any:
    """The tree of a shipped recipe, which callers do not change. Parsing takes most of the time."""
    return _load(text)


def _parse(
    text: str, name: str, stem: str | None = None, load: Callable[[str], Any] = _load
) -> tuple[dict[str, Any], Origins]:
    depth = 0
    for bracket in _BRACKET.finditer(text):  # the parser takes long to give up
        depth += 1 if bracket[0] in "[{" else -1
        if depth > _MAX_BRACKETS:
            raise InputError(Problem("not valid YAML: nested too deeply", source=name))
    try:
        tree = load_calls(text, load)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f", line {mark.line + 1}"
        raise InputError(
            Problem(f"not valid YAML: {error.problem or error.context}", source=f"{name}{line}")
        ) from error
    except RecursionError as error:
        problem = Problem("not valid YAML: nested too deeply", source=name)
        raise InputError(problem) from error
    except Exception as error:  # the parser raises errors of many kinds for damaged input
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(Problem(f"not valid YAML: {reason}", source=name)) from error
    if not isinstance(tree, CommentedMap):
        raise InputError(
            Problem(
                "an experiment is a mapping of settings",
                source=name,
                given=type(tree).__name__,
                expected="name:, question:, task:, model:, train:, grid:, seeds:",
            )
        )
    check_depth(tree, name)
    origins = Origins(name)
    plain = _plain(tree, (), name, origins)
    if stem is not None:
        plain.setdefault("name", stem)
    return plain, origins


def _plain(node: Any, path: KeyPath, name: str, origins: Origins) -> Any:
    """Converts ruamel's tree to plain values, and records the line of every key in ``origins``."""
    origins.count += 1
    if origins.count > _MAX_NODES:  # aliases of aliases of aliases …
        raise InputError(Problem(f"more than {_MAX_NODES} values", source=name))
    if isinstance(node, CommentedMap | CommentedSeq) and node.tag.value:
        raise InputError(Problem(f"YAML tags are not allowed: {node.tag.value}", source=name))
    if isinstance(node, CommentedMap):
        result = {}
        for key, value in node.items():
            inner = (*path, str(key))
            # A key from a merge (<<) has no line of its own.
            place = (node.lc.data or {}).get(key)
            line = node.lc.line if place is None else place[0]
            origins.add(inner, f"{name}, line {line + 1}")
            result[str(key)] = _plain(value, inner, name, origins)
        return result
    if isinstance(node, list):
        return [_plain(item, path, name, origins) for item in node]
    if isinstance(node, bool):
        return bool(node)
    for kind in (int, float, str):  # ruamel uses subclasses that remember the notation
        if isinstance(node, kind):
            return kind(node)
    return node
