"""Checks of the parts that users write: what a part lacks, with the lines to add.

A part is named by its import path. From Python, the function or class itself can be given in place
of the path if it can be imported.
"""

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ablab.config.errors import InputError, Problem
from ablab.config.registry import load_object

EXAMPLES = {
    "task": (
        "class MyConfig(ablab.tasks.config.TaskConfig): ...",
        "",
        "class MyTask(ablab.tasks.base.Task):",
        "    Config = MyConfig",
    ),
    "model": ("class MyModel(torch.nn.Module):", "    def __init__(self, vocab_size): ..."),
}
"""How a task and a model are written, for errors."""


def part_error(key: str, path: str, message: str, *lines: str) -> InputError:
    """The error of a part that lacks something.

    Args:
        key: The setting that names the part.
        path: Its import path.
        message: What is wrong with it, as the rest of a sentence that begins with its path.
        lines: The lines to add.
    """
    return InputError(Problem(f"{key}: {path} {message}", key, given=path, lines=tuple(lines)))


def check_members(found: Any, path: str, key: str) -> None:
    """Checks that a class defines all that its base class asks for.

    Args:
        found: The class; anything else is accepted.
        path: Its import path.
        key: The setting that names it.

    Raises:
        InputError: Methods or properties are missing.
    """
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if not missing:
        return
    lines = [f"class {found.__name__}(…):"]
    for name in missing:
        lines += _to_add(name, inspect.getattr_static(found, name))
    raise part_error(key, path, f"lacks {', '.join(missing)}", *lines)


def _to_add(name: str, member: Any) -> list[str]:
    """The lines that define an abstract member: its decorator, and its first line."""
    decorators = {property: "property", classmethod: "classmethod", staticmethod: "staticmethod"}
    named = next((text for kind, text in decorators.items() if isinstance(member, kind)), None)
    function: Any = member.fget if isinstance(member, property) else member
    function = getattr(function, "__func__", function)
    try:
        arguments = ", ".join(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # not a function, or one written in C
        arguments = "self"
    about = inspect.getdoc(function) if callable(function) else None
    remark = f"  # {about.splitlines()[0]}" if about else ""
    first = [f"    @{named}"] if named else []
    return [*first, f"    def {name}({arguments}): ...{remark}"]


def check_arguments(
    function: Callable[..., Any],
    given: Sequence[str],
    path: str,
    key: str,
    *lines: str,
    named: Sequence[str] = (),
) -> None:
    """Checks that a function can be called with some arguments in this order.

    Args:
        function: The function.
        given: The names of the arguments.
        path: Its import path.
        key: The setting that names it.
        lines: How such a function is written, for the error.
        named: Further arguments, which it gets by name.

    Raises:
        InputError: It cannot.
    """
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):  # some functions written in C have none
        return
    try:
        signature.bind(*given, **{name: name for name in named})
    except TypeError as error:
        call = ", ".join([*given, *(f"{name}={name}" for name in named)])
        raise part_error(key, path, f"cannot be called with {call} ({error})", *lines) from error


def check_function(path: str, given: Sequence[str], optional: str, key: str, *lines: str) -> None:
    """Checks that an import path names a function of some arguments.

    Args:
        path: The import path; a name without a colon is not checked.
        given: The names of the arguments, in order.
        optional: One more argument, which it gets by name if it has it.
        key: The setting that names it.
        lines: How such a function is written, for the error.

    Raises:
        InputError: It does not.
    """
    if ":" in path:
        function = load_object(path, key)
        named = [optional] if has_argument(function, optional) else []
        check_arguments(function, given, path, key, *lines, named=named)


def has_argument(function: Callable[..., Any], name: str) -> bool:
    """Whether a function has an argument of that name."""
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _other_reason(module: str, name: str, component: Any) -> str | None:
    """Why a named component cannot be imported from its module; None if it can be."""
    try:
        found = vars(importlib.import_module(module))
    except Exception as error:  # whatever the module raises
        return f"the module {module} cannot be imported ({type(error).__name__}: {error})"
    if name not in found:
        return f"{module} has no {name}"
    return None if found[name] is component else f"{module} has another {name}"


def import_path(component: Any) -> str:
    """The import path of a function or class that is given itself.

    Raises:
        InputError: It cannot be imported: it is a lambda, is defined inside a function, or belongs
            to a script or a notebook.
    """
    module, name = component.__module__, component.__qualname__
    reason = None
    if name == "<lambda>":
        reason = "a lambda has no name"
    elif "." in name:
        reason = "it is defined inside a function or class"
    elif module == "__main__":
        reason = "it belongs to a script or a notebook"
    else:
        reason = _other_reason(module, name, component)
    if reason is None:
        return f"{module}:{name}"
    raise InputError(
        Problem(
            f"{name} cannot be imported by other processes: {reason}",
            given=f"{module}.{name}",
            expected="the import path of a function or class in a file of its own",
            lines=("# mymod.py", "def my_part(…): ...", "", '"mymod:my_part"  # the import path'),
        )
    )
