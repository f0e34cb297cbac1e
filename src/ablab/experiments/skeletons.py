"""Writes new experiments and tasks, with comments, for a user to change."""

import ast
import keyword
import re
import shlex
import sys
from importlib import resources
from importlib.machinery import PathFinder
from pathlib import Path

from ruamel.yaml import YAML

from ablab.config import InputError, Problem, check_path
from ablab.config.files import write_text_atomically
from ablab.experiments.header import NAME_RULE, is_name


def new_experiment(name: str, task_file: Path | None = None) -> list[Path]:
    """Writes a commented experiment, and a task of one's own with its test.

    Args:
        name: The experiment's name, or the path of its file; ``.yaml`` is added if it is missing.
        task_file: The Python file of a new task; None for an experiment with a shipped task. The
            name of its class is that of the file.

    Returns:
        The files: the experiment, then the task and its test.

    Raises:
        InputError: A name cannot be used, or a file exists already; then nothing is written.
        WriteError: A file cannot be written.
    """
    path = Path(name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    if not is_name(path.stem):
        problem = "an experiment cannot have this name"
        raise InputError(Problem(problem, given=path.stem, expected=NAME_RULE))
    words = {"NAME": path.stem, "QUOTED": _yaml(path.stem), "PATH": shlex.quote(str(path))}
    contents = {path: "experiment.yaml"}
    if task_file is not None:
        words |= _task_words(task_file)
        test = task_file.with_name(f"test_{task_file.name}")
        contents = {
            path: "task_experiment.yaml",
            task_file: "task.py.txt",
            test: "test_task.py.txt",
        }
    for each in contents:
        check_path(each)
        if each.exists():
            raise InputError(
                Problem(f"{each} exists already", given=str(each), expected="a new name")
            )
        if not each.parent.is_dir():
            raise InputError(Problem(f"there is no folder {each.parent}", given=str(each)))
    for each, template in contents.items():
        text = _template(template)
        pattern = re.compile(rf"\b({'|'.join(words)})(?=\b|Config\b)")
        write_text_atomically(each, pattern.sub(lambda found: words[found[1]], text))
    return list(contents)


def _template(name: str) -> str:
    folder = resources.files("ablab").joinpath("experiments").joinpath("templates")
    return folder.joinpath(name).read_text(encoding="utf-8")


def _yaml(name: str) -> str:
    """A name in YAML; in quotes where it would be a number, a date, true or null."""
    return name if YAML(typ="rt").load(name) == name else f'"{name}"'


def _task_words(file: Path) -> dict[str, str]:
    """What replaces the words of the templates of a task and its test."""
    module = file.stem
    if file.suffix != ".py" or not module.isidentifier() or keyword.iskeyword(module):
        raise _unusable(
            "the file of a task must be a Python module",
            file,
            "a file such as my_task.py: letters, digits and '_'",
        )
    if file.parent != Path():
        raise _unusable(
            "a task is found by its import path, from the folder in which ablab is called",
            file,
            f"a file in this folder, such as {file.name}",
        )
    name = "".join(word[:1].upper() + word[1:] for word in module.split("_"))
    if not name.isidentifier() or keyword.iskeyword(name):
        expected = "a name that begins with a letter"
        if keyword.iskeyword(name):
            expected = f"another name, such as my_{file.name}"
        raise _unusable("a class cannot be named after this file", file, expected)
    check_path(file)
    if not file.exists() and _hides(module):
        raise _unusable(
            f"{file} would hide the module {module}, or be hidden by it",
            file,
            f"another name, such as my_{file.name}",
        )
    taken = _imported(_template("task.py.txt"))
    for own in (name, f"{name}Config"):
        if own in taken:
            raise _unusable(
                f"the class {own} would have the name of one that a task imports",
                file,
                f"another name, such as my_{file.name}",
            )
    return {"MODULE": module, "CLASS": name, "FILE": file.name}


def _hides(module: str) -> bool:
    """Whether there is another module of this name."""
    return module in sys.stdlib_module_names or PathFinder.find_spec(module) is not None


def _imported(source: str) -> set[str]:
    """The names that a module imports."""
    nodes = ast.walk(ast.parse(source))
    imports = [each for each in nodes if isinstance(each, ast.Import | ast.ImportFrom)]
    return {alias.asname or alias.name for node in imports for alias in node.names}


def _unusable(message: str, file: Path, expected: str) -> InputError:
    return InputError(Problem(message, given=str(file), expected=expected))
