"""``ablab claims``: compares the claims of logbooks with the results in a store."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ablab.cli.common import (
    echo,
    execution_options,
    json_option,
    make_options,
    print_json,
    print_table,
    progress,
    quiet_option,
    say,
    store_option,
)


@click.command()
@click.argument("names", nargs=-1, metavar="[RECIPE|LOGBOOK …]")
@click.option("--run", "running", is_flag=True, help="Train missing runs first.")
@click.option(
    "--size", metavar="NAME", help="The size of the recipes: quick (the default) or full."
)
@click.option(
    "--settle",
    "settled",
    type=int,
    metavar="N",
    help="With --run, add seeds, up to N, until claims are settled; else show those settled so.",
)
@click.option(
    "--prices",
    is_flag=True,
    help="Show what the claims that failed or were not run would cost at a larger size "
    "(--size, by default full), the cheapest first; train nothing.",
)
@click.option("--write", "page", type=click.Path(dir_okay=False), metavar="FILE",
              help="Write the page, as Markdown.")  # fmt: skip
@click.option("--also", multiple=True, metavar="DIR",
              help="Another store to search; can be repeated.")  # fmt: skip
@click.option("--ship", type=click.Path(dir_okay=False), hidden=True,
              help="Write the results that ablab ships, as JSON.")  # fmt: skip
@store_option
@execution_options
@json_option
@quiet_option
def claims(
    names: tuple[str, ...],
    running: bool,
    size: str | None,
    settled: int | None,
    prices: bool,
    page: str | None,
    also: tuple[str, ...],
    ship: str | None,
    store: str,
    as_json: bool,
    quiet: bool,
    **choices: Any,
) -> int:
    """Show the claims of recipes, each with its figure, our figure and interval, and the verdict.

    A name is a recipe, a logbook (for all of its recipes) or a YAML file; by default, all recipes
    with claims. With --run, each recipe is trained first, as by ablab run; with --settle, as by
    ablab settle. Without a store, the results that ablab ships are shown.
    """
    options = make_options(**choices)
    from ablab.config import InputError, Problem, ticking
    from ablab.logbook.claims.further import with_further
    from ablab.logbook.claims.of_recipes import chosen, claims_of, corrected, tally
    from ablab.logbook.claims.page import write_page
    from ablab.logbook.claims.shipped import as_data, write_shipped
    from ablab.store import Store

    wanted = chosen(names)
    nothing_yet = not also and not Path(store).exists()
    writes = page is not None or ship is not None
    usual = size in (None, "quick") and settled is None
    if prices:
        if running or writes or settled is not None:
            raise InputError(
                Problem(
                    "--prices goes with none of --run, --settle and --write",
                    "--prices",
                    expected="--prices alone, with --size, --store and --also",
                )
            )
        _show_prices(wanted, size or "full", store, also, options, as_json, quiet)
        return 0
    asks_for_shipped = nothing_yet and not running and not writes and usual
    if asks_for_shipped and _show_shipped(wanted, store, as_json):
        return 0
    code = 0
    lacking: dict[str, str] = {}
    if running:
        code, lacking = _run_missing(wanted, size, settled, store, options, quiet)
    stores = [Store(store)] if (Path(store) / "index.sqlite").is_file() else []
    stores += [Store(each, write=False) for each in also]
    with progress(quiet, "comparing claims with results"):
        found = [
            with_further(stores, name, claims_of(stores, name, size, lacking.get(name), settled))
            for name in ticking(wanted, len(wanted), "comparing", "recipe")
        ]
        if page is not None:
            named = ["ablab", "claims", *names, *(["--size", size] if size else [])]
            named += ["--settle", str(settled)] if settled else []
            write_page(found, Path(page), shlex.join([*named, "--write", page]))
        found, families = corrected(found)
        if ship is not None:
            write_shipped(found, families, Path(ship))
    if as_json:
        print_json({"tally": tally(found), **as_data(found, families)})
        return code
    if any(each.claims for each in found):
        _print_claims([each.as_data() for each in found], tally(found))
    else:
        say("no claims of a logbook: " + ", ".join(each.name for each in found))
    _print_remarks(found, families)
    return code


def _print_remarks(found: Sequence[Any], families: Mapping[str, Any]) -> None:
    """What chance makes of the claims of each logbook, and what cannot be run here."""
    for name, members in families.items():
        if chance := members.sentence("claim"):
            say(f"{name}: {chance}")
    for each in found:
        if each.lacking:
            say(f"{each.name} cannot be run here: {each.lacking}", err=True)


def _print_claims(recipes: list[dict[str, Any]], tally: str) -> None:
    print_table(
        ["recipe", "claim", "its figure", "ours", "verdict", "corrected"],
        [
            (each["recipe"], claim["claim"], claim["figure"] or "", claim["ours"],
             claim["state"], claim["corrected"] or "")
            for each in recipes
            for claim in each["claims"]
        ],
        texts=["claim", "its figure", "ours"],
        groups=["recipe"],
    )  # fmt: skip
    echo("")
    say(tally)
    further = [
        (each["recipe"], other["evidence"], claim["claim"], claim["seeds"], claim["ours"],
         claim["state"])
        for each in recipes
        for other in each.get("further", ())
        for claim in other["claims"]
    ]  # fmt: skip
    if further:
        echo("")
        print_table(
            ["recipe", "by", "claim", "seeds", "ours", "verdict"],
            further,
            texts=["by", "claim", "ours"],
            groups=["recipe", "by"],
        )
        echo("")


def _show_shipped(wanted: list[str], store: str, as_json: bool) -> bool:
    """Shows the shipped results of recipes; False if there are none of some of them."""
    from ablab.logbook.claims.shipped import shipped_claims

    found = shipped_claims(wanted)
    if len(found.recipes) < len(wanted):
        return False
    if as_json:
        print_json({"tally": found.tally, **vars(found)})
        return True
    _print_claims(found.recipes, found.tally)
    for name, members in found.logbooks.items():
        if members["sentence"]:
            say(f"{name}: {members['sentence']}")
    say(
        f"There is no store {store!r} yet: these are results that ablab ships, compared on "
        f"{found.made} by ablab {found.version}. ablab claims --run trains the recipes here."
    )
    return True


def _show_prices(
    wanted: list[str],
    size: str,
    store: str,
    also: tuple[str, ...],
    options: Any,
    as_json: bool,
    quiet: bool,
) -> None:
    """Shows what open claims cost at a size."""
    from ablab.config import doing

    with progress(quiet, "planning"):
        with doing("loading PyTorch"):
            from ablab.logbook.claims.of_recipes import claims_of
            from ablab.logbook.claims.prices import claim_prices, open_claims
            from ablab.logbook.claims.shipped import open_shipped
            from ablab.store import Store
        stores = [Store(store)] if (Path(store) / "index.sqlite").is_file() else []
        stores += [Store(each, write=False) for each in also]
        usual = {name: claims_of(stores, name, None) for name in wanted if stores}
        known = open_claims({n: each for n, each in usual.items() if each.record is not None})
        others = [name for name in wanted if name not in known]
        found = claim_prices(open_shipped(others) | known, size, store, options)
    if as_json:
        print_json(
            {
                "size": size,
                "prices": [each.as_data() for each in found.prices],
                "hours": found.hours,
                "lacking": dict(found.lacking),
            }
        )
        return
    if found.prices:
        print_table(
            ["recipe", "claim", "now", "cells", "runs", "run-steps", "core-hours", "together"],
            [
                (each.recipe, each.claim, each.state, "; ".join(each.cells) or "all", each.runs,
                 f"{each.run_steps:,}", f"{each.hours:.2g}", f"{each.together:.2g}")
                for each in found.prices
            ],
            texts=["claim", "now", "cells"],
            groups=["recipe"],
        )  # fmt: skip
        echo("")
        count = len(found.prices)
        say(
            f"{count} claim{'s' * (count > 1)} at the size {size}: about "
            f"{found.hours:.2g} core-hours together, from the plan of this machine; runs that "
            "several claims need count once"
        )
        say("the cheapest first: " + shlex.join(found.prices[0].command))
    else:
        say(f"no claim that failed or was not run has a size {size}")
    for name, reason in found.lacking.items():
        say(f"{name} cannot be planned here: {reason}", err=True)


def _run_missing(
    names: list[str],
    size: str | None,
    settled: int | None,
    store: str,
    options: Any,
    quiet: bool,
) -> tuple[int, dict[str, str]]:
    """Trains the missing runs of each recipe in turn.

    Returns:
        The highest exit code, and for each recipe that cannot be run here, the reason.
    """
    with progress(quiet, "loading PyTorch"):
        from ablab.analysis.request import requests_of
        from ablab.api import Result, with_analyses
        from ablab.config import InputError, doing, is_file
        from ablab.execute.pause import pause_on_signals
        from ablab.execute.progress import Reporter
        from ablab.execute.tune import train_experiment
        from ablab.experiments import experiment
        from ablab.logbook.claims.of_recipes import runnable
        from ablab.read.rounds import READERS

    paused = pause_on_signals()
    code, lacking = 0, {}
    for number, name in enumerate(names, 1):
        try:
            asked = runnable(name, size, settled)
        except InputError as error:
            if any(problem.key == "size" for problem in error.problems):
                raise
            if is_file(Path(name)):
                experiment(name)  # what is wrong with the file itself is an error
            lacking[name] = "; ".join(problem.message for problem in error.problems)
            continue
        if not quiet:
            echo(f"{name} ({number} of {len(names)})", err=True)
        chosen = asked.definition.get("size")
        command = ["ablab", "run", name, *([f"size={chosen}"] if chosen else [])]
        if settled is not None:
            command = ["ablab", "settle", *command[2:], "--to", str(settled)]
        with progress(quiet, f"running {name}") as shown:
            told = shlex.join(command)
            requests = requests_of(asked.definition)
            trained = train_experiment(
                asked, store, options, told, Reporter(shown), paused, READERS
            )
            trained, analyzed = with_analyses(trained, requests, shown, paused)
            code = code if analyzed else 1
            with doing("writing the entry"):
                result = Result.of(trained)
        if not result.complete:
            echo("interrupted; run the same command again to continue", err=True)
            return 130, lacking
        if any(record.status in ("failed", "diverged") for record in result.runs):
            echo(f"{name}: some runs failed or diverged", err=True)
            code = 1
    return code, lacking
