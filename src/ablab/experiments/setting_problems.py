"""What pydantic finds wrong with settings, as problems that a user can act on."""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ablab.config import Config, InputError, Problem, nearest
from ablab.experiments.setting_keys import keys_of, suggest_key
from ablab.experiments.tree import Origins, Path

# How pydantic names a type of a union in the location of an error; no setting has such a name.
_TYPE = re.compile(r"(constrained-)?(int|float|str|bool|none)|[a-z-]+\[.*\]|[A-Z]\w*Config")


def problems_of(
    part: str, cls: type[Config], errors: Iterable[Any], origins: Origins
) -> list[Problem]:
    """Converts pydantic's errors to problems that a user can act on, one for each key.

    A value that could have been of several types has an error for each of them.
    """
    found: dict[str, Problem] = {}
    for error in errors:
        problem = _problem_of(part, cls, error, origins)
        key = problem.key if _branch(error) is not None else None
        if key is None or key not in found:
            found[key or f"{len(found)}:{problem.message}"] = problem
            continue
        ways = [each for each in (found[key].expected, problem.expected) if each is not None]
        found[key] = replace(
            found[key],
            message=f"{key} has a wrong value",
            expected=", or ".join(dict.fromkeys(ways)) or None,
            suggestion=found[key].suggestion or problem.suggestion,
        )
    return list(found.values())


def _branch(error: Any) -> int | None:
    """The place at which pydantic names a type in the path of a setting; None if it does not."""
    if error["type"] == "extra_forbidden":  # the path ends with a name of the user's
        return None
    named = (n for n, item in enumerate(error["loc"]) if _TYPE.fullmatch(str(item)))
    return next(named, None)


def _problem_of(part: str, cls: type[Config], error: Any, origins: Origins) -> Problem:
    path: Path = (part, *(str(item) for item in error["loc"][: _branch(error)]))
    key = ".".join(path)
    source = origins.of(path)
    given = error["input"]
    match error["type"]:
        case "extra_forbidden":
            return _not_a_setting(Problem(f"{key} is not a setting", key, source, given), part, cls)
        case "literal_error":
            names = [name.strip("'") for name in _options(error["ctx"]["expected"])]
            return Problem(
                f"{key} has an unknown value",
                key,
                source,
                given,
                f"one of {', '.join(names)}",
                nearest(str(given), names),
            )
        case "missing":
            return Problem(f"{key} is missing", key, source)
        case "value_error" if isinstance(error["ctx"]["error"], InputError):
            (cause,) = error["ctx"]["error"].problems  # raised by a validator
            own = cause.key if cause.key and "." in cause.key else key
            return replace(cause, key=own, source=origins.inside(path) or source)
        case "value_error":
            text = str(error["ctx"]["error"])
            shown = {} if isinstance(given, dict | Config) else {"given": given}
            return Problem(f"{key}: {text}", key, origins.inside(path) or source, **shown)
        case _:
            message = str(error["msg"]).removeprefix("Input should be ")
            if error["type"] in ("model_type", "dict_type"):  # it names a class
                message = "a mapping of settings"
            return Problem(f"{key} has a wrong value", key, source, given, message)


def _not_a_setting(problem: Problem, part: str, cls: type[Config]) -> Problem:
    """The same with what was probably meant, or that it is a setting of another kind."""
    key = problem.key or ""
    near = suggest_key(key, list(keys_of(cls, part))) or suggest_key(key)
    if near != key:
        return replace(problem, suggestion=near)
    known = ", ".join(f"{part}.{name}" for name in cls.model_fields if name != "kind")
    message = f"{key} is not a setting of this {part}.kind"
    return replace(problem, message=message, expected=f"one of {known}")


def _options(text: str) -> list[str]:
    return text.replace(" or ", ", ").split(", ")
