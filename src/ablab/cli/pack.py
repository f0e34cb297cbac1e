"""``ablab pack`` and ``ablab unpack``: results that travel in one file."""

from pathlib import Path
from typing import Any

import click

from ablab.cli.common import (
    echo,
    json_option,
    print_json,
    progress,
    quiet_option,
    say,
    store_option,
    stored_argument,
)


@click.command()
@stored_argument("experiment")
@store_option
@click.option("--to", "to", metavar="FILE", help="The file; by default DATE-NAME.ablab.zip here.")
@click.option(
    "--snapshots",
    type=click.Choice(["last", "all"]),
    default="last",
    show_default=True,
    help="Which snapshots to include, of each run.",
)
@json_option
@quiet_option
def pack(
    experiment: str, store: str, to: str | None, snapshots: Any, as_json: bool, quiet: bool
) -> None:
    """Write EXPERIMENT with its runs as one file, to be sent to someone.

    The file has the metrics, the last snapshots, findings, expectations, notes, the environment and
    the entry. ablab unpack adds it to a store. Runs may be trained meanwhile.
    """
    from ablab.config import counted, visible
    from ablab.store import Store
    from ablab.store.packs import SUFFIX
    from ablab.store.packs import pack as write
    from ablab.store.paths import plain_name

    opened = Store(store, write=False)
    record = opened.experiment(experiment)
    name = f"{record.created[:10]}-{record.name}"  # a stranger's store may have any
    path = Path(to or plain_name(opened.path, name) + SUFFIX)
    with progress(quiet, "packing"):
        size, done = write(opened, record, path, snapshots)
    runs = len(done.added) + len(done.present)
    if as_json:
        print_json(
            {"experiment": record.name, "runs": runs, "file": str(path), "bytes": size,
             "refused": done.refused}
        )  # fmt: skip
        return
    echo(visible(f"{path}: {counted(runs, 'run')}, {size / 2**20:.1f} MiB"))
    for line in done.summary[1:]:
        say(f"not packed: {line}")


@click.command()
@click.argument("file")
@store_option
@json_option
@quiet_option
def unpack(file: str, store: str, as_json: bool, quiet: bool) -> None:
    """Add the experiments of FILE, or of another store's folder, to a store.

    Runs are identified by their ids. What the store has of a run stays; if its losses differ from
    those of FILE, nothing is added to it, and the reason is named. No code of FILE is run.
    """
    from dataclasses import asdict

    from ablab.store import Store
    from ablab.store.packs import unpack as read

    with progress(quiet, "unpacking"):
        done, records = read(Path(file), Path(store))
    for line in done.summary if not as_json else ():
        say(line)
    from ablab.logbook.entry import write_entry

    opened = Store(store)
    with progress(quiet, "writing the entries"):
        entries = [write_entry(opened, record) for record in records]
    if as_json:
        pages = [{"experiment": each.name, "entry": str(each.page)} for each in entries]
        print_json(asdict(done) | {"experiments": pages})
        return
    for each in entries:
        echo(f"{each.name}: {each.page}")
