"""``ablab check``: checks a store for missing or damaged files, and repairs it."""

from collections.abc import Sequence
from typing import Any

import click

from ablab.cli.common import (
    echo,
    json_option,
    print_json,
    progress,
    quiet_option,
    say,
    say_command,
    say_each,
    store_option,
)


@click.command()
@click.option(
    "--repair",
    is_flag=True,
    help="Set damaged files aside (in damaged/, nothing is deleted) and runs back to where they "
    "are sound, so that ablab run trains the rest again.",
)
@store_option
@json_option
@quiet_option
def check(store: str, as_json: bool, quiet: bool, repair: bool) -> int:
    """Check every file of the store: is it what was written?

    Says which runs and steps are damaged, and how to get them back.
    """
    from ablab.store import Store, StoreError

    opened = Store(store, verify=False)
    from ablab.store.check import check_store
    from ablab.store.index_repair import repair_index
    from ablab.store.repair import repair_store
    from ablab.store.repair_plan import Action, plan_repair

    with progress(quiet, "repairing the store" if repair else "checking the store"):
        if repair:
            opened.close()
            corrected = repair_index(opened.path)
            opened = Store(store, verify=False)
            try:
                _, actions = repair_store(opened)
            except StoreError:
                for each in corrected.done:  # which stays done
                    say(each, err=True)
                raise
            actions = [*(Action(each) for each in corrected.done), *actions]
            found = check_store(opened)
        else:
            found = check_store(opened)
            actions = plan_repair(opened, found).actions
    if as_json:
        print_json(
            {
                "problems": found.problems,
                "leftovers": [str(path) for path in found.leftovers],
                "runs": found.runs,
                "parts": found.parts,
                "snapshots": found.snapshots,
                "uncovered": [str(path) for path in found.uncovered],
                "damaged": [
                    {"file": str(each.path), "kind": each.kind, "reason": each.reason,
                     "what": each.whose}
                    for each in found.damages
                ],
                "repaired" if repair else "repairs": [vars(each) for each in actions],
            }
        )  # fmt: skip
    else:
        _print(opened, found, actions, repair)
    return 1 if found.problems else 0


def _print(opened: Any, found: Any, actions: Sequence[Any], repaired: bool) -> None:
    from ablab.config import counted

    if not repaired:
        say_each(found.problems)
    if actions:
        echo("repaired:" if repaired else "ablab check --repair would do this:")
        say_each((each.what for each in actions), 2)
        commands = dict.fromkeys(each.then for each in actions if each.then)
        if commands:
            echo("then run:")
            for command in commands:
                say_command(command, 2)
    if repaired:
        say_each(found.problems)
    if found.leftovers:
        leftovers = counted(len(found.leftovers), "unused file")
        echo(f"{leftovers}, as interrupted work leaves (harmless)")
    if found.uncovered:
        files = counted(len(found.uncovered), "file")
        say(
            f"{files} of an earlier release have no digest; ablab check --repair records one for "
            "each that can be read"
        )
    problems = counted(len(found.problems), "problem") if found.problems else "no problems"
    say(
        f"{opened.path}: {problems} found; {counted(found.runs, 'run')}, "
        f"{counted(found.parts, 'metrics part')}, {counted(found.snapshots, 'snapshot')}"
    )
