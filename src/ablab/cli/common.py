"""Shared by all commands: options and output."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import click

# Control characters that JSON allows in strings, and some terminals obey.
_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}

F = TypeVar("F", bound=Callable[..., Any])


def _checked_store(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Rejects paths that no folder can have."""
    from ablab.config import InputError, Problem

    try:
        Path(value).exists()
        problem = None if value else "the path of the store is empty"
    except (OSError, ValueError) as error:
        problem = f"the path of the store is not valid ({getattr(error, 'strerror', error)})"
    if problem is not None:
        raise InputError(Problem(problem, "--store", given=value, expected="the path of a folder"))
    return value


def check_out(path: str | None) -> None:
    """Rejects an empty ``--out``, which would be the working directory."""
    from ablab.config import InputError, Problem

    if path is not None and not path.strip():
        raise InputError(Problem("--out is empty", "--out", given=path, expected="a path"))


def check_range(numbers: dict[str, int | None], limits: dict[str, int]) -> None:
    """Rejects numbers below 1 or above their limit.

    Args:
        numbers: The numbers by option; None if the option was not given.
        limits: The largest value of each option.
    """
    from ablab.config import InputError, Problem

    for name, value in numbers.items():
        if value is not None and value < 1:
            raise InputError(f"{name} {value} is below 1")
        if value is not None and value > limits[name]:
            expected = f"at most {limits[name]:,}"
            raise InputError(Problem(f"{name} is too large", name, given=value, expected=expected))


store_option = click.option(
    "--store",
    envvar="ABLAB_STORE",
    default="lab",
    callback=_checked_store,
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


def progress(quiet: bool) -> AbstractContextManager[None]:
    """Within this context, progress of work that takes long is shown on standard error."""
    from ablab.config.progress import listening

    return listening(None if quiet else lambda text: click.echo(f"{text} …", err=True))


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


def print_table(
    header: Sequence[str], rows: Iterable[Sequence[object]], wrapped: Sequence[str] = ()
) -> None:
    """Prints a table; columns of numbers are right-aligned.

    In a terminal, a table that is too wide is cut off, except for the columns in ``wrapped``, whose
    texts are continued on the next lines.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    rows = [["" if cell is None else cell for cell in row] for row in rows]
    for place, name in enumerate(header):
        numeric = bool(rows) and all(isinstance(row[place], int | float | str) for row in rows)
        numeric = numeric and any(isinstance(row[place], int | float) for row in rows)
        table.add_column(
            _cell(name),
            justify="right" if numeric else "left",
            no_wrap=name not in wrapped,
            overflow="fold" if name in wrapped else "ellipsis",
        )
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
