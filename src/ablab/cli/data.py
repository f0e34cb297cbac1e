"""``ablab data``: lists, fetches and locates corpora."""

import sysconfig
from pathlib import Path

import click

from ablab.cli.common import echo, json_option, print_json, progress, quiet_option, say


@click.group(invoke_without_command=True)
@json_option
@quiet_option
@click.pass_context
def data(context: click.Context, as_json: bool, quiet: bool) -> None:
    """List the corpora, fetch one, or print its path."""
    context.obj = as_json
    if context.invoked_subcommand is None:
        _list(as_json)


@data.command("list")
@json_option
@quiet_option
@click.pass_obj
def list_corpora(outer: bool, as_json: bool, quiet: bool) -> None:
    """List the corpora and their paths."""
    _list(as_json or outer)


@data.command()
@click.argument("name")
@json_option
@quiet_option
@click.pass_obj
def fetch(outer: bool, name: str, as_json: bool, quiet: bool) -> None:
    """Download a corpus into your cache and verify its digest."""
    from ablab.tasks.corpora import PYTHON_STDLIB, fetch_corpus, find_corpus

    if name == PYTHON_STDLIB:
        click.echo(f"{name} is part of Python; there is nothing to download", err=True)
        path = Path(sysconfig.get_paths()["stdlib"])
    else:
        with progress(quiet, f"looking for {name}") as shown:
            path = find_corpus(name) or fetch_corpus(name, tell=shown.message)
    if as_json or outer:
        print_json({"name": name, "path": str(path)})
    else:
        click.echo(path)


@data.command()
@click.argument("name")
@json_option
@quiet_option
@click.pass_obj
def path(outer: bool, name: str, as_json: bool, quiet: bool) -> None:
    """Print the path of a corpus."""
    from ablab.config import InputError, Problem
    from ablab.tasks.corpora import DOWNLOADS, PYTHON_STDLIB, downloaded_path, find_corpus

    if name == PYTHON_STDLIB:
        found: Path | None = Path(sysconfig.get_paths()["stdlib"])
    else:
        found = find_corpus(name)
    if found is None:
        raise InputError(
            Problem(
                f"{name} has not been downloaded",
                given=name,
                expected=f"run ablab data fetch {name}, or put the file "
                f"({DOWNLOADS[name].size:,} bytes) at {downloaded_path(name)}",
            )
        )
    if as_json or outer:
        print_json({"name": name, "path": str(found)})
    else:
        click.echo(found)


def _list(as_json: bool) -> None:
    from ablab.config import visible
    from ablab.tasks.corpora import DOWNLOADS, PYTHON_STDLIB, PYTHON_STDLIB_ABOUT, find_corpus

    entries = [(PYTHON_STDLIB, PYTHON_STDLIB_ABOUT, "part of Python")]
    for name, download in DOWNLOADS.items():
        found = find_corpus(name)
        entries.append(
            (name, f"{download.about}, {download.size:,} bytes", str(found or "not downloaded"))
        )
    if as_json:
        print_json([{"name": n, "about": a, "where": w} for n, a, w in entries])
        return
    for name, about, where in entries:
        say(f"{name:16} {about}", hanging=17)
        echo(f"{'':16} {visible(where)}")
