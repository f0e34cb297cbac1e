"""``ablab logbook`` and ``ablab note``: write entries and notes."""

import click

from ablab.cli.common import echo, json_option, print_json, progress, quiet_option, store_option


@click.command()
@click.argument("experiment", required=False)
@store_option
@json_option
@quiet_option
def logbook(experiment: str | None, store: str, as_json: bool, quiet: bool) -> None:
    """Write or rewrite the entry of EXPERIMENT, or of every experiment."""
    from ablab.config import ticking, visible
    from ablab.store import Store

    opened = Store(store)
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
@click.argument("experiment")
@click.argument("text")
@store_option
@json_option
@quiet_option
def note(experiment: str, text: str, store: str, as_json: bool, quiet: bool) -> None:
    """Add a note (Markdown) to the entry of EXPERIMENT."""
    from ablab.config import InputError, Problem, visible
    from ablab.store import Store

    opened = Store(store)
    if not text.strip():
        raise InputError(Problem("the note is empty", expected="a sentence, in quotes"))
    record = opened.experiment(experiment)
    opened.note(record.id, text.strip())
    from ablab.logbook.entry import write_entry

    with progress(quiet, "writing the entry"):
        entry = write_entry(opened, record)
    if as_json:
        print_json({"experiment": entry.name, "entry": str(entry.page)})
        return
    echo(f"added to {visible(str(entry.page))}")
