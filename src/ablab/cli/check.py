"""``ablab check``: whether everything in a store is present and undamaged."""

import click

from ablab.cli.common import json_option, print_json, quiet_option, store_option


@click.command()
@store_option
@json_option
@quiet_option
def check(store: str, as_json: bool, quiet: bool) -> int:
    """Check that everything in the store is there and whole."""
    from ablab.store import Store

    opened = Store(store)
    from ablab.store.check import check_store

    found = check_store(opened)
    if as_json:
        print_json(
            {
                "problems": found.problems,
                "leftovers": [str(path) for path in found.leftovers],
                "runs": found.runs,
                "parts": found.parts,
                "snapshots": found.snapshots,
            }
        )
    else:
        for problem in found.problems:
            click.echo(problem)
        if found.leftovers:
            click.echo(f"{len(found.leftovers)} files of work that was cut short (harmless)")
        verdict = f"{len(found.problems)} problems" if found.problems else "sound"
        click.echo(
            f"{opened.path}: {verdict}; {found.runs} runs, {found.parts} parts of metrics, "
            f"{found.snapshots} snapshots"
        )
    return 1 if found.problems else 0
