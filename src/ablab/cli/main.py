"""``ablab``: the command group, and how errors become exit codes."""

import io
import sys
import warnings
from pathlib import Path
from typing import NoReturn, TextIO

import click

from ablab import __version__
from ablab.cli import check, data, doctor, logbook, plan, show, train
from ablab.cli.analyses import analyses
from ablab.cli.analyze import analyze
from ablab.cli.claims import claims
from ablab.cli.common import echo, say
from ablab.cli.compare import compare
from ablab.cli.effects import effects
from ablab.cli.export import export, figure
from ablab.cli.generate import generate
from ablab.cli.new import new
from ablab.cli.pack import pack, unpack
from ablab.cli.read import expect, read
from ablab.cli.replay import replay
from ablab.cli.serve import serve
from ablab.cli.settle import settle_command

OK, SOME_FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
_PACKAGE = Path(__file__).parents[1]


class _Commands(click.Group):
    """A group that suggests the nearest command and lists commands in the order they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands with the first sentence of their help, which click would cut."""
        with formatter.section("Commands"):
            told = {name: each.get_short_help_str(1000) for name, each in self.commands.items()}
            formatter.write_dl(list(told.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from ablab.config import nearest

            near = nearest(args[0], self.commands)
            hint = f"\n  did you mean {near}?" if near else ""
            raise click.UsageError(f"no command {args[0]!r}{hint}", ctx) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ablab")
def ablab() -> None:
    """A lab bench for small transformers.

    Write a question as an experiment, train its complete grid, store all results and read the
    answer. Start with: ablab run addition, or ablab new NAME for an experiment of your own.
    """


for _command in (
    train.run,
    plan.plan,
    settle_command,
    new,
    show.recipes,
    show.runs,
    show.show,
    show.metrics,
    read,
    expect,
    claims,
    effects,
    compare,
    analyses,
    analyze,
    replay,
    generate,
    figure,
    logbook.logbook,
    logbook.note,
    export,
    pack,
    unpack,
    serve,
    doctor.doctor,
    data.data,
    check.check,
):
    ablab.add_command(_command)


def _check_arguments(arguments: list[str]) -> None:
    """Rejects arguments that are not text, which nothing can store or print."""
    for text in arguments:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
            raise click.UsageError(f"an argument is not UTF-8 text: {shown[:200]}") from error
        if "\0" in text:
            raise click.UsageError(f"an argument contains a null character: {text[:200]!r}")


def _say_problem(text: str) -> None:
    """Prints what is wrong, and below it what was given and expected."""
    first, *rest = text.splitlines()
    say(first, err=True)
    for line in rest:
        detail = line.lstrip()
        say(detail, len(line) - len(detail), hanging=len("expected  "), err=True)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Prints a warning of ablab's as a sentence, and others with their place in the code."""
    if category is UserWarning and Path(filename).is_relative_to(_PACKAGE):
        say(f"warning: {message}", err=True)
    else:
        echo(warnings.formatwarning(message, category, filename, lineno, line).rstrip(), err=True)


def main() -> NoReturn:
    """Runs a command and exits with its code."""
    try:
        _check_arguments(sys.argv[1:])
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            warnings.simplefilter("once", UserWarning, append=True)
            code = ablab.main(standalone_mode=False)
    except ValueError as error:
        from ablab.config import InputError

        if not isinstance(error, InputError):
            raise
        for problem in error.problems:
            _say_problem(f"error: {problem}")
        code = WRONG_INPUT
    except click.ClickException as error:
        from ablab.config.errors import shortened

        shown = io.StringIO()
        error.show(shown)
        click.echo(shortened(shown.getvalue()), nl=False, err=True)
        code = WRONG_INPUT
    except (click.Abort, KeyboardInterrupt):
        echo("interrupted", err=True)
        code = INTERRUPTED
    except RuntimeError as error:
        from ablab.execute.errors import ProcessError

        if not isinstance(error, ProcessError):
            raise
        echo(f"error: {error}", err=True)
        code = SOME_FAILED
    except BrokenPipeError:
        sys.stderr.close()
        code = OK
    sys.exit(code or OK)
