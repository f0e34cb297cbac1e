"""Shared by all commands: options and output."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

# Control characters that JSON allows in strings, and some terminals obey.
_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}

F = TypeVar("F", bound=Callable[..., Any])

store_option = click.option(
    "--store",
    envvar="ABLAB_STORE",
    default="lab",
    show_default=True,
    metavar="DIR",
    help="The folder of the store.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document and nothing else."
)
source_option = click.option(
    "--source",
    default="stored",
    show_default=True,
    type=click.Choice(["stored", "current"]),
    help="Users' code in the model: that which trained the run, or that which can be imported now.",
)
quiet_option = click.option("--quiet", is_flag=True, help="Hide progress.")


def execution_options(function: F) -> F:
    """The options of commands that plan or train."""
    for option in (
        click.option("--retry", is_flag=True, help="Retry runs that failed or diverged."),
        click.option(
            "--compile",
            "compiling",
            default="auto",
            show_default=True,
            metavar="auto|on|off",
            help="Compile training steps: if it pays, always, or never.",
        ),
        click.option(
            "--engine",
            default="auto",
            show_default=True,
            metavar="auto|solo|stack",
            help="Train runs one by one (solo), or runs of equal shape together (stack).",
        ),
        click.option(
            "--workers",
            type=int,
            metavar="N",
            help="Worker processes; chosen by the plan by default.",
        ),
        click.option(
            "--executor",
            default="auto",
            show_default=True,
            metavar="NAME",
            help="How to run processes: in_process, worker_processes, or module:Class.",
        ),
        click.option(
            "--device",
            default="auto",
            show_default=True,
            metavar="auto|cpu|cuda|mps",
            help="The device to train on.",
        ),
    ):
        function = option(function)
    return function


def make_options(**choices: Any) -> Any:
    """Returns the options as :class:`ablab.execute.options.Options`."""
    from ablab.execute.options import Options

    return Options(**choices)


def echo(text: object, nl: bool = True, err: bool = False, bold: bool = False) -> None:
    """Prints text; control characters other than line breaks and tabs are shown as escapes.

    Names in a store may be somebody else's, and a terminal obeys control characters.
    """
    from ablab.config import visible_lines

    shown = visible_lines(str(text))
    click.echo(click.style(shown, bold=True) if bold else shown, nl=nl, err=err)


def print_json(data: Any) -> None:
    """Prints one JSON document; non-finite numbers become null."""
    text = json.dumps(_plain(data), indent=1, ensure_ascii=False, allow_nan=False)
    click.echo(text.translate(_JSON_ESCAPES))


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table; columns of numbers are right-aligned."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    rows = [["" if cell is None else cell for cell in row] for row in rows]
    for place, name in enumerate(header):
        numeric = bool(rows) and all(isinstance(row[place], int | float | str) for row in rows)
        numeric = numeric and any(isinstance(row[place], int | float) for row in rows)
        table.add_column(_cell(name), justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:  # do not truncate in a file or a pipe
        console = Console(highlight=False, markup=False, emoji=False, width=10_000)
        console.width = console.measure(table).maximum
    console.print(table)


def _cell(value: object) -> str:
    from ablab.config import visible

    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.5g}"
    return visible(str(value))


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
