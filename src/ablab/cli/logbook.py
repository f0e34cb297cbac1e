"""``ablab logbook`` and ``ablab note``: write entries and notes."""

from typing import Any

import click

from ablab.cli.common import (
    echo,
    json_option,
    print_json,
    progress,
    quiet_option,
    store_option,
    stored_argument,
)


@click.command()
@stored_argument("experiment", required=False)
@store_option
@json_option
@quiet_option
def logbook(experiment: str | None, store: str, as_json: bool, quiet: bool) -> None:
    """Write or rewrite the entry of EXPERIMENT, or of every experiment.

    EXPERIMENT can also be a comparison, such as compare-A-vs-B.
    """
    from ablab.config import ticking, visible
    from ablab.store import Store

    opened = Store(store)
    if experiment is not None and _is_comparison(opened, experiment):
        _rewrite(opened, experiment, None, as_json)
        return
    records = opened.experiments() if experiment is None else [opened.experiment(experiment)]
    from ablab.logbook.entry import write_entry

    with progress(quiet, "writing entries"):
        entries = [
            write_entry(opened, record)
            for record in ticking(records, len(records), "writing", "entry", "entries")
        ]
    if as_json:
        print_json([{"experiment": each.name, "entry": str(each.page)} for each in entries])
        return
    for each in entries:
        echo(visible(f"{each.name}: {each.page}"))
    if not entries:
        echo("this store has no experiments yet")


@click.command()
@stored_argument("experiment")
@click.argument("text")
@store_option
@json_option
@quiet_option
def note(experiment: str, text: str, store: str, as_json: bool, quiet: bool) -> None:
    """Add a note (Markdown) to the entry of EXPERIMENT, or to the conclusions of a comparison.

    The name of a comparison is that of its folder, such as compare-A-vs-B.
    """
    from ablab.config import InputError, Problem, visible
    from ablab.store import Store

    opened = Store(store)
    if not text.strip():
        raise InputError(Problem("the note is empty", expected="a sentence, in quotes"))
    if _is_comparison(opened, experiment):
        _rewrite(opened, experiment, text.strip(), as_json)
        return
    record = opened.experiment(experiment)
    opened.note(record.id, text.strip())
    from ablab.logbook.entry import write_entry

    with progress(quiet, "writing the entry"):
        entry = write_entry(opened, record)
    if as_json:
        print_json({"experiment": entry.name, "entry": str(entry.page)})
        return
    echo(f"added to {visible(str(entry.page))}")


def _is_comparison(store: Any, name: str) -> bool:
    """Whether a name is that of a comparison, and not of an experiment or its entry."""
    from ablab.logbook.compare_page import is_comparison

    known = any(name in (each.name, each.entry) for each in store.experiments())
    return not known and is_comparison(store, name)


def _rewrite(store: Any, name: str, note: str | None, as_json: bool) -> None:
    from ablab.config import visible
    from ablab.logbook.compare_page import rewrite_comparison

    page = rewrite_comparison(store, name, note)
    if as_json:
        print_json({"comparison": name, "page": str(page)})
        return
    echo(visible(f"{name}: {page}" if note is None else f"added to {page}"))
