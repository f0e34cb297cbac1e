"""``ablab compare``: several experiments on one page, or two runs side by side."""

from typing import Any

import click

from ablab.cli.common import (
    echo,
    json_option,
    print_json,
    print_table,
    quiet_option,
    say,
    store_option,
    stored_argument,
)


@click.command()
@stored_argument("targets", nargs=-1, required=True, metavar="EXPERIMENT EXPERIMENT … | RUN RUN")
@click.option(
    "--measure",
    metavar="TEXT",
    help="The measure of the table; by default that of the questions, if all have the same one, "
    "else final(eval_loss) or final(train_loss).",
)
@click.option("--also", multiple=True, metavar="DIR",
              help="Another store to search; can be repeated.")  # fmt: skip
@click.option(
    "--name", metavar="NAME", help="The name of the page; by default, the targets' names."
)
@store_option
@json_option
@quiet_option
def compare(
    targets: tuple[str, ...],
    measure: str | None,
    also: tuple[str, ...],
    name: str | None,
    store: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare experiments on one page, or two runs side by side.

    Writes compare-NAME/index.html and compare.md in the logbook, with your own conclusions above,
    which are kept. Reads only what is stored.
    """
    from ablab.logbook.compare_page import Request, write_comparison
    from ablab.logbook.compare_page import compare as made
    from ablab.store import Store

    opened = Store(store)
    request = Request(targets, measure, also, name)
    folder = request.folder
    found = made(opened, request)
    page = write_comparison(opened, request, found)
    if as_json:
        print_json(_as_data(found, str(page)))
        return
    _print(found, str(page), folder)


def _as_data(found: Any, page: str) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "page": page,
        "parts": [
            {"name": part.name, "question": part.question, "answer": part.sentences,
             "state": part.state, "entry": part.entry}
            for part in found.parts
        ],
        "findings": found.findings,
        **found.data,
    }  # fmt: skip


def _print(found: Any, page: str, folder: str) -> None:
    from ablab.config import visible

    for part in found.parts:
        say(visible(part.name), bold=True)
        for sentence in part.sentences:
            say(visible(sentence), indent=2)
    say("")
    for sentence in found.findings:
        say(visible(sentence))
    for table in found.tables:
        say("")
        say(visible(table.title), bold=True)
        if table.rows:
            print_table(table.header, table.rows, table.texts)
        if table.note:
            say(visible(table.note))
    say("")
    echo(visible(page))
    say(f'conclusions: ablab note {visible(folder)} "…"')
