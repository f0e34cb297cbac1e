"""``ablab check``: checks a store for missing or damaged files."""

import click

from ablab.cli.common import echo, json_option, print_json, quiet_option, store_option


@click.command()
@store_option
@json_option
@quiet_option
def check(store: str, as_json: bool, quiet: bool) -> int:
    """Check the store for missing or damaged files."""
    from ablab.config import counted, visible
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
            echo(visible(problem))
        if found.leftovers:
            leftovers = counted(len(found.leftovers), "unused file")
            echo(f"{leftovers} from interrupted work (harmless)")
        problems = counted(len(found.problems), "problem") if found.problems else "no problems"
        echo(
            f"{opened.path}: {problems} found; {counted(found.runs, 'run')}, "
            f"{counted(found.parts, 'metrics part')}, {counted(found.snapshots, 'snapshot')}"
        )
    return 1 if found.problems else 0
