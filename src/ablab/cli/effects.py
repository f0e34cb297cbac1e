"""The command that compares an experiment's settings."""

from typing import Any

import click

from ablab.cli.common import json_option, print_json, print_table, quiet_option, store_option


@click.command()
@click.argument("experiment")
@click.option("--of", "key", metavar="KEY", help="The setting to ask about; all by default.")
@click.option(
    "--measure",
    metavar="TEXT",
    help="What to compare; final(eval_loss) where it was taken, else final(train_loss).",
)
@click.option(
    "--scale",
    default="auto",
    show_default=True,
    metavar="auto|difference|ratio",
    help="Differences, or ratios; auto takes ratios of what spans more than a factor of 30.",
)
@click.option(
    "--margin",
    type=float,
    metavar="X",
    help="A difference too small to matter, decided before looking: tests for none larger than X.",
)
@store_option
@json_option
@quiet_option
def effects(
    experiment: str,
    key: str | None,
    measure: str | None,
    scale: str,
    margin: float | None,
    store: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare the values of an experiment's settings, with intervals and verdicts.

    Runs are paired by seed and by the other settings; a seed counts once. EXPERIMENT is the name of
    a stored one.
    """
    from ablab.read.effects.stored import experiment_effects
    from ablab.store import Store

    opened = Store(store)
    found = experiment_effects(
        opened,
        opened.experiment(experiment),
        key,
        measure,
        scale,  # type: ignore[arg-type]
        margin,
    )
    if as_json:
        print_json({"experiment": experiment, **found.as_data()})
        return
    _print(found, experiment)


def _print(found: Any, experiment: str) -> None:
    from ablab.read.effects import interaction_sentence, scaling_sentence

    missing = f"; {found.missing} of them have no value and are left out" if found.missing else ""
    click.echo(f"{experiment}: {found.measure} of {found.runs} runs, {found.seeds} seeds{missing}")
    shown = ", ".join(
        f"{key}={value}" + (" (the first value)" if key in found.first else "")
        for key, value in found.base.items()
    )
    click.echo(f"base: {shown}")
    single = len(found.base) == 1
    tables = [("By seed", found.factorial)]
    if not single:
        tables = [
            ("By seed, averaged over all values of the other settings", found.factorial),
            ("By seed, all other settings at their base values", found.marginal),
        ]
    for title, comparisons in tables:
        click.echo(f"\n{title}:")
        _print_table(comparisons, found.scale)
    for each in found.interactions:
        click.echo(f"\n{interaction_sentence(each, found.measure)}", nl=False)
    click.echo("\n" * bool(found.interactions), nl=False)
    for each in found.scalings:
        click.echo(f"\n{scaling_sentence(each)}")
    click.echo(
        "\nAn interval is that of one comparison; p values are adjusted for all of a table (Holm)."
    )
    if found.margin is None:
        click.echo("Undecided is not equal: --margin X tests for no difference larger than X.")


def _print_table(comparisons: Any, scale: str) -> None:
    from ablab.read.effects.sentences import interval, number, p_value, verdict_words

    print_table(
        ["setting", "value", "beside", scale, "95% interval", "adjusted p", "seeds", "verdict"],
        [
            (
                each.key,
                str(each.value),
                str(each.reference),
                "none" if each.difference is None else number(each.difference),
                interval(each.interval),
                p_value(each.p_adjusted),
                str(each.seeds) + (f" ({each.missing} pairs missing)" if each.missing else ""),
                verdict_words(each),
            )
            for each in comparisons
        ],
    )
