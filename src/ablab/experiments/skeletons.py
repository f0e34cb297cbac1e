"""Writes new experiments and tasks, with comments, for a user to change."""

import keyword
import re
from importlib import resources
from pathlib import Path

from ablab.config import InputError, Problem
from ablab.config.files import write_text_atomically

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


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
    if _NAME.fullmatch(path.stem) is None:
        raise InputError(
            Problem(
                "an experiment cannot have this name",
                given=path.stem,
                expected="letters, digits, '.', '_' and '-'",
            )
        )
    words = {"NAME": path.stem}
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
        if each.exists():
            raise InputError(
                Problem(f"{each} exists already", given=str(each), expected="a new name")
            )
        if not each.parent.is_dir():
            raise InputError(Problem(f"there is no folder {each.parent}", given=str(each)))
    folder = resources.files("ablab").joinpath("experiments").joinpath("templates")
    for each, template in contents.items():
        text = folder.joinpath(template).read_text(encoding="utf-8")
        pattern = re.compile(rf"\b({'|'.join(words)})(?=\b|Config\b)")
        write_text_atomically(each, pattern.sub(lambda found: words[found[1]], text))
    return list(contents)


def _task_words(file: Path) -> dict[str, str]:
    module = file.stem
    if file.suffix != ".py" or not module.isidentifier() or keyword.iskeyword(module):
        raise InputError(
            Problem(
                "the file of a task must be a Python module",
                given=str(file),
                expected="a file such as my_task.py: letters, digits and '_'",
            )
        )
    if file.parent != Path():
        raise InputError(
            Problem(
                "a task is found by its import path, from the folder in which ablab is called",
                given=str(file),
                expected=f"a file in this folder, such as {file.name}",
            )
        )
    words = module.split("_")
    return {
        "MODULE": module,
        "CLASS": "".join(word[:1].upper() + word[1:] for word in words),
        "FILE": file.name,
    }
