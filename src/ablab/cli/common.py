"""Shared by all commands: options and output."""

import itertools
import json
import math
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

if TYPE_CHECKING:
    from ablab.execute.status import Status

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
_DOCUMENT = "ablab.document"  # in the context of a command: where its JSON document goes


def _only_a_document(context: click.Context, _: click.Parameter, value: bool) -> bool:
    """Sends what users' code prints to standard error, so that it is not part of the document."""
    if value and _DOCUMENT not in context.meta:
        context.meta[_DOCUMENT] = sys.stdout
        context.with_resource(redirect_stdout(sys.stderr))
    return value


json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    callback=_only_a_document,
    help="Print one JSON document and nothing else.",
)
source_option = click.option(
    "--source",
    default="stored",
    show_default=True,
    type=click.Choice(["stored", "current"]),
    help="Users' code in the model: that which trained the run, or that which can be imported now.",
)
quiet_option = click.option("--quiet", is_flag=True, help="Hide progress.")


where_option = click.option(
    "--where",
    multiple=True,
    metavar="CELL",
    help="Only the runs of a cell, now: key=value, …; can be repeated.",
)
break_leases_option = click.option(
    "--break-leases",
    is_flag=True,
    help="Take the runs that other processes have leased, such as a stopped one.",
)


def stored_name(_: click.Context, __: click.Parameter, value: Any) -> Any:
    """Names of stored experiments instead of YAML files; the callback of a parameter."""
    if isinstance(value, tuple):
        return tuple(map(name_in, value))
    return value if value is None else name_in(value)


def name_in(target: str) -> str:
    """The name of the experiment in a YAML file, which may be the file's own; else the target."""
    from ablab.config import is_file

    path = Path(target)
    if path.suffix not in (".yaml", ".yml") or not is_file(path):
        return target
    from ablab.experiments.source import read_source

    return str(read_source(path)[0]["name"])


def stored_argument(name: str, **options: Any) -> Callable[[F], F]:
    """An argument that names a stored experiment; if it is a YAML file, by the name therein.

    Args:
        name: The argument.
        options: What :func:`click.argument` takes.
    """
    return click.argument(name, callback=stored_name, **options)


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
            help="Where to train: in_process, worker_processes, ray (a cluster), or module:Class.",
        ),
        click.option(
            "--address",
            metavar="HOST:PORT",
            help="The Ray cluster to train on; that of this machine by default.",
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


@contextmanager
def progress(quiet: bool, what: str) -> "Iterator[Status]":
    """Within this context, standard error shows what is being done, if it takes long.

    Results are printed after it, since a terminal shows the line below everything else.

    Args:
        quiet: Whether to show only warnings.
        what: What is being done, unless the code says more (:func:`ablab.config.doing`).
    """
    from ablab.config import doing
    from ablab.execute.status import status

    with status(quiet) as shown, doing(what):
        yield shown


def echo(text: object, nl: bool = True, err: bool = False) -> None:
    """Prints text; control characters other than line breaks and tabs are shown as escapes.

    Names in a store may be somebody else's, and a terminal obeys control characters.
    """
    from ablab.config import visible_lines

    click.echo(visible_lines(str(text)), nl=nl, err=err)


def print_json(data: Any) -> None:
    """Prints one JSON document; non-finite numbers become null."""
    from ablab.config.plain_data import plain_data

    text = json.dumps(plain_data(data), indent=1, ensure_ascii=False, allow_nan=False)
    with _document():
        click.echo(text.translate(_JSON_ESCAPES))


def print_json_list(items: Iterable[Any]) -> None:
    """Prints what :func:`print_json` does of a list, one item after another."""
    from ablab.config.plain_data import plain_data

    separator = "["
    for item in items:
        text = json.dumps(plain_data(item), indent=1, ensure_ascii=False, allow_nan=False)
        lines = text.translate(_JSON_ESCAPES).replace("\n", "\n ")
        with _document():
            click.echo(f"{separator}\n {lines}", nl=False)
        separator = ","
    with _document():
        click.echo("[]" if separator == "[" else "\n]")


def _document() -> AbstractContextManager[object]:
    """Prints into the JSON document of the command, if it has one."""
    context = click.get_current_context(silent=True)
    found: TextIO | None = None if context is None else context.meta.get(_DOCUMENT)
    return nullcontext() if found is None else redirect_stdout(found)


def print_table(
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    texts: Sequence[str] = (),
    groups: Sequence[str] = (),
    indent: int = 0,
) -> None:
    """Prints a table that fits the terminal, or 80 columns in a file or a pipe.

    No cell is cut: see :mod:`ablab.config.table`.

    Args:
        header: The names of the columns.
        rows: The cells.
        texts: The columns whose cells may be continued on the next line.
        groups: The columns that may be headings of groups of rows instead.
        indent: The spaces before each line.
    """
    from ablab.config.table import output_width, table_lines

    for line in table_lines(header, rows, output_width() - indent, texts=texts, groups=groups):
        text = " " * indent + line.text if line.text else ""
        click.echo(click.style(text, bold=True) if line.is_heading else text)


def say(
    text: str, indent: int = 0, hanging: int = 2, err: bool = False, bold: bool = False
) -> None:
    """Prints a sentence; in a terminal, it is continued on the next lines, between words.

    In a file or a pipe a sentence is one line, so that it can be searched for.

    Args:
        text: The sentence.
        indent: The spaces before it.
        hanging: The further spaces before the lines on which it is continued.
        err: Whether it is printed on standard error.
        bold: Whether it is a heading.
    """
    shown = _lines(text, indent, hanging, sys.stderr if err else sys.stdout)
    click.echo(click.style(shown, bold=True) if bold else shown, err=err)


def say_each(texts: Iterable[str], indent: int = 0) -> None:
    """Prints many sentences, as :func:`say` does each, a thousand at a time."""
    texts = iter(texts)
    while some := list(itertools.islice(texts, 1_000)):
        click.echo("\n".join(_lines(text, indent, 2, sys.stdout) for text in some))


def _lines(text: str, indent: int, hanging: int, stream: TextIO) -> str:
    """The lines of a sentence."""
    from ablab.config import visible
    from ablab.config.table import output_width, wrapped

    space, text = " " * indent, visible(text)
    lines = [text]
    if stream.isatty():
        lines = wrapped(text, output_width(stream) - indent, hanging)
    return "\n".join(space + line for line in lines)


def say_command(command: str, indent: int = 0, before: str = "") -> None:
    """Prints a command to copy; in a terminal, lines that are continued end with a backslash."""
    from ablab.config import visible
    from ablab.config.table import output_width

    width = output_width() - len(" \\") if sys.stdout.isatty() else math.inf
    lines = [" " * indent + before]
    for number, word in enumerate(map(shlex.quote, shlex.split(command))):
        if number and len(f"{lines[-1]} {word}") > width:
            lines.append(" " * (indent + 4) + word)
        else:
            lines[-1] += f" {word}" if number else word
    click.echo(" \\\n".join(map(visible, lines)))
