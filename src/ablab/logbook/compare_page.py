"""Writes the page of a comparison, and keeps the user's conclusions in it."""

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from ablab.config import InputError, Problem, nearest
from ablab.config.files import write_text_atomically
from ablab.logbook.compare_experiments import compare_experiments
from ablab.logbook.compare_runs import compare_runs, is_run
from ablab.logbook.comparison import Comparison
from ablab.logbook.listing import COMPARISON, write_logbook
from ablab.logbook.notes import BEGIN, end_line, entry_notes, notes_are_whole, with_note
from ablab.logbook.page import assets, templates
from ablab.store.digests import read_text_digested, write_texts_digested
from ablab.store.index import StoreError
from ablab.store.paths import entry_path
from ablab.store.set_aside import copy_aside
from ablab.store.store import Store, timestamp

PREFIX = "compare-"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,119}")
_LONGEST = 120


@dataclass(frozen=True)
class Request:
    """What is compared.

    Attributes:
        targets: The experiments, or two runs.
        measure: The measure; None for the default.
        also: The paths of further stores.
        name: The name of the page; None to make it from the targets.
    """

    targets: tuple[str, ...]
    measure: str | None = None
    also: tuple[str, ...] = ()
    name: str | None = None

    @property
    def folder(self) -> str:
        """The name of the page's folder.

        Raises:
            InputError: The given name cannot name a folder.
        """
        if self.name is not None:
            if not _NAME.fullmatch(self.name):
                raise InputError(
                    Problem("this cannot name a page", "--name", given=self.name,
                            expected="letters, digits, '-', '_' and '.', at most 120 of them")
                )  # fmt: skip
            return f"{PREFIX}{self.name.removeprefix(PREFIX)}"
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", "-vs-".join(self.targets))
        return f"{PREFIX}{plain[:_LONGEST]}"

    @property
    def command(self) -> str:
        """The command that compares them again."""
        words = ["ablab", "compare", *self.targets]
        words += ["--measure", self.measure] if self.measure is not None else []
        words += [word for path in self.also for word in ("--also", path)]
        words += ["--name", self.name] if self.name is not None else []
        return shlex.join(words)


def compare(store: Store, request: Request) -> Comparison:
    """Compares experiments, or two runs; reads only what is stored, and writes no page.

    Raises:
        InputError: Something is unknown or given twice, experiments and runs are mixed, or there is
            nothing to compare.
        StoreError: A store is missing, or metrics are missing or damaged.
    """
    if len(request.targets) < 2:
        raise InputError(
            Problem("there is nothing to compare with", given=" ".join(request.targets),
                    expected="two or more experiments, or two runs")
        )  # fmt: skip
    stores = [store, *(Store(path, write=False) for path in request.also)]
    runs = [name for name in request.targets if not _is_experiment(stores, name)
            and any(is_run(each, name) for each in stores)]  # fmt: skip
    if not runs:
        return compare_experiments(stores, request.targets, request.measure)
    experiments = [name for name in request.targets if _is_experiment(stores, name)]
    if experiments:
        raise InputError(
            Problem("experiments are compared with experiments, and runs with runs",
                    given=f"the experiment {experiments[0]} and the run {runs[0]}",
                    expected="either experiments or two runs")
        )  # fmt: skip
    if request.measure is not None:
        raise InputError(
            Problem("two runs are compared without a measure", "--measure", given=request.measure,
                    expected="experiments")
        )  # fmt: skip
    return compare_runs(stores, request.targets)


def write_comparison(
    store: Store, request: Request, found: Comparison, note: str | None = None
) -> Path:
    """Writes the page of a comparison, and ``LOGBOOK.md``; the user's conclusions stay unchanged.

    Args:
        store: The store, to whose logbook the page belongs.
        request: What was asked for.
        found: The comparison.
        note: A text to add to the conclusions.

    Returns:
        The page.

    Raises:
        InputError: There is a page with this name that compares something else.
        StoreError: A file cannot be written.
    """
    folder = request.folder
    _check_same(store, folder, request)
    path = entry_path(store.path, folder, "compare.md")
    conclusions = entry_notes(path, [])
    if note is not None:
        conclusions = with_note(conclusions, timestamp(), note)
    if not notes_are_whole(path):  # a damaged file may hold the only copy of the user's words
        copy_aside(store, path)
    content = {
        "found": found,
        "title": " vs ".join(part.name for part in found.parts),
        "command": request.command,
        "folder": folder,
        "notes": conclusions,
        "notes_html": MarkdownIt("commonmark", {"html": False}).render(conclusions),
        "notes_begin": BEGIN,
        "notes_end": end_line(0),
        "titles": found.drawn.titles,
        "figures": found.drawn.figures,
        "plot": found.drawn.plot,
    }
    known = templates()
    text = known.get_template("compare.md.j2").render(content)
    page = known.get_template("compare.html.j2").render(content | {"assets": assets()})
    about = {
        "targets": list(request.targets),
        "measure": request.measure,
        "also": list(request.also),
        "name": request.name,
        "title": content["title"],
        "findings": found.findings,
        "command": request.command,
    }
    write_text_atomically(path, text)
    texts = {
        entry_path(store.path, folder, "figures", f"{name}.svg"): drawing
        for name, drawing in found.drawn.figures.items()
    }
    to = entry_path(store.path, folder, "index.html")
    texts |= {to: page, entry_path(store.path, folder, COMPARISON): json.dumps(about, indent=1)}
    write_texts_digested(store, texts)
    write_logbook(store)
    return to


def is_comparison(store: Store, folder: str) -> bool:
    """Whether this is the folder of a comparison that was written, such as ``compare-A-vs-B``."""
    return folder in comparison_folders(store)


def comparison_folders(store: Store) -> list[str]:
    """The folders of all comparisons."""
    return sorted(path.parent.name for path in _described(store))


def rewrite_comparison(store: Store, folder: str, note: str | None = None) -> Path:
    """Writes the page of a comparison again, from what was asked for; returns it.

    Raises:
        StoreError: There is no such comparison, or its description is damaged.
    """
    if not is_comparison(store, folder):
        known = comparison_folders(store)
        raise StoreError(
            Problem(f"there is no comparison {folder!r}", given=folder,
                    expected="one of " + ", ".join(known) if known else "ablab compare writes one",
                    suggestion=nearest(folder, known))
        )  # fmt: skip
    request = _request(store, folder)
    return write_comparison(store, request, compare(store, request), note)


def _described(store: Store) -> Iterator[Path]:
    folder = store.path / "logbook"
    return (path for path in folder.glob(f"{PREFIX}*/{COMPARISON}") if path.is_file())


def _request(store: Store, folder: str) -> Request:
    path = entry_path(store.path, folder, COMPARISON)
    try:
        known: dict[str, Any] = json.loads(read_text_digested(store, path))
        asked = Request(
            tuple(known["targets"]), known["measure"], tuple(known["also"]), known["name"]
        )
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(
            Problem("the description of a comparison is damaged", given=str(path),
                    expected="what ablab compare wrote; the same command writes it again")
        ) from error  # fmt: skip
    return asked


def _check_same(store: Store, folder: str, request: Request) -> None:
    """Refuses to put another comparison below conclusions that are about something else."""
    if not is_comparison(store, folder):
        return
    try:
        known = _request(store, folder)
    except StoreError:  # damaged: it is written again
        return
    if sorted(known.targets) != sorted(request.targets):
        raise InputError(
            Problem(
                f"{folder} compares {', '.join(known.targets)}",
                "--name",
                given=request.folder.removeprefix(PREFIX),
                expected="another name; conclusions are kept with what they are about",
            )
        )


def _is_experiment(stores: Sequence[Store], name: str) -> bool:
    return any(
        name in (record.name, record.entry) for store in stores for record in store.experiments()
    )
