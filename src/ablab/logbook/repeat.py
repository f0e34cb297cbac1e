"""What repeats an experiment: its whole definition as a YAML file, and the command that runs it."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ablab.experiments.definition_file import definition_yaml
from ablab.store.expected import stamped
from ablab.store.paths import DEFINITION, repeating
from ablab.store.run_rows import settings_with_own_code
from ablab.store.sources import archived_texts
from ablab.store.store import ExperimentRecord, Store

_LONGEST = 30_000  # characters of a file that a page shows
_MOST = 200_000  # ... and of all of them


@dataclass(frozen=True)
class Repeat:
    """How to repeat an experiment.

    Attributes:
        definition: The text of ``experiment.yaml``.
        command: The command that runs it, from the folder that contains the store; None before the
            entry is written.
        folder: The name of the store's folder.
        modules: The import paths that the definition names and of which the page has no copy.
        copied: Those of which it has one.
        files: The names and texts of ``experiment.yaml`` and of the copied source files of the
            runs' own components; None in place of a text that is too long for a page.
    """

    definition: str
    command: str | None
    folder: str
    modules: list[str]
    copied: list[str]
    files: list[tuple[str, str | None]]


def repeat(store: Store, record: ExperimentRecord) -> Repeat:
    """How to repeat an experiment; ``record.entry`` names the folder of its entry."""
    whole = whole_definition(store, record)
    folder = store.path.resolve().name
    command = None
    if record.entry is not None:
        path, folder = repeating(store.path, record.entry)
        command = f"ablab run {shlex.quote(path)} --store {shlex.quote(folder)}"
    about = f"All settings of {record.name} that were given, with the size applied."
    if command is not None:
        about += f"\nThe same runs again: {command}"
    modules = sorted(_import_paths({key: whole.get(key) for key in _PARTS}))
    definition = definition_yaml(whole, about)
    texts = {DEFINITION: definition} | archived_texts(
        store.path, settings_with_own_code(store, record)
    )
    files = _shortened(texts)
    there = {name for name, text in files if text is not None}
    copied = [each for each in modules if there.intersection(_file_names(each))]
    rest = [each for each in modules if each not in copied]
    return Repeat(definition, command, folder, rest, copied, files)


def _shortened(texts: Mapping[str, str]) -> list[tuple[str, str | None]]:
    """The files, as many as a page can show; packages' empty ``__init__`` files are left out."""
    left, files = _MOST, []
    for name, text in texts.items():
        if text.strip():
            fits = len(text) <= min(_LONGEST, left)
            left -= len(text) if fits else 0
            files.append((name, text if fits else None))
    return files


def _file_names(path: str) -> tuple[str, str]:
    """The names that the file of an import path can have."""
    module = path.partition(":")[0].rpartition("/")[2].replace(".", "/")
    return f"{module}.py", f"{module}/__init__.py"


_PARTS = ("task", "model", "train", "watch", "grid")


def whole_definition(store: Store, record: ExperimentRecord) -> dict[str, Any]:
    """A stored definition with the answer and the expectations that were written down later.

    Expectations that were written after results existed say so.
    """
    whole = dict(record.definition)
    if record.registration is not None and record.registration.answer is not None:
        whole["answer"] = record.registration.answer
    expected = list(whole.get("expect", []))
    for each in stamped(store, record):
        data = each.expectation.as_data()
        place = expected.index(data) if data in expected else len(expected)
        expected[place:] = [
            data | ({"after_results": True} if each.late else {}), *expected[place + 1 :]
        ]  # fmt: skip
    if expected:
        whole["expect"] = expected
    return whole


def _import_paths(value: Any) -> set[str]:
    """The texts ``module:name`` among the values and keys of plain data."""
    if isinstance(value, dict):
        return set().union(*(_import_paths(each) for each in (*value, *value.values())))
    if isinstance(value, list | tuple):
        return set().union(*map(_import_paths, value))
    if not isinstance(value, str) or value.count(":") != 1:
        return set()
    module, _, name = value.partition(":")
    parts = module.rpartition("/")[2].split(".")  # a statistic can name its reducer
    return {value} if all(each.isidentifier() for each in [*parts, name]) else set()
