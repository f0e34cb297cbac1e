"""What pydantic finds wrong with settings, as problems that a user can act on."""

from dataclasses import replace
from typing import Any

from ablab.config import Config, InputError, Problem, nearest
from ablab.experiments.setting_keys import keys_of, suggest_key
from ablab.experiments.tree import Origins, Path


def problem_of(part: str, cls: type[Config], error: Any, origins: Origins) -> Problem:
    """Converts a pydantic error to a problem that a user can act on."""
    path: Path = (part, *(str(item) for item in error["loc"]))
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
