"""``ablab settle``: adds seeds until the questions of an experiment are settled."""

from typing import Any

import click

from ablab.cli.common import (
    break_leases_option,
    execution_options,
    json_option,
    quiet_option,
    store_option,
)
from ablab.cli.train import run


@click.command("settle")
@click.argument("experiment")
@click.argument("overrides", nargs=-1)
@click.option(
    "--from",
    "first",
    type=int,
    metavar="N",
    help="Seeds to begin with; by default those of the experiment, at least 3.",
)
@click.option(
    "--to",
    "last",
    type=int,
    metavar="N",
    help="The most seeds of a variant; by default the experiment's limit, or 40.",
)
@store_option
@execution_options
@break_leases_option
@json_option
@quiet_option
def settle_command(
    experiment: str,
    overrides: tuple[str, ...],
    first: int | None,
    last: int | None,
    store: str,
    as_json: bool,
    quiet: bool,
    **choices: Any,
) -> int:
    """Add seeds until each question of an experiment is settled, or the limit is reached.

    EXPERIMENT is a recipe or a YAML file. Its questions are its expectations, or else the effects
    of its settings. Seeds are added in rounds, and only to the variants whose question is open. The
    same as ablab run EXPERIMENT with seeds: {from: N, to: N}. Runs that are already trained are not
    trained again.
    """

    def seeds_of(definition: Any) -> Any:
        from ablab.experiments.seeds import settling_seeds

        return settling_seeds(definition, first, last)

    assert run.callback is not None, "it is a command"
    code: int = run.callback(experiment, overrides, store, as_json, quiet, seeds_of, **choices)
    return code
