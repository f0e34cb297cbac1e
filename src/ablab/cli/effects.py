"""``ablab effects``: compares the values of an experiment's settings."""

from typing import Any

import click

from ablab.cli.common import (
    echo,
    json_option,
    print_json,
    print_table,
    progress,
    quiet_option,
    say,
    store_option,
    stored_argument,
)


@click.command()
@stored_argument("experiment")
@click.option("--of", "key", metavar="KEY", help="The setting to compare; all by default.")
@click.option(
    "--measure",
    metavar="TEXT",
    help="The measure to compare; by default the experiment's answer, or the final held-out loss.",
)
@click.option(
    "--scale",
    default="auto",
    show_default=True,
    metavar="auto|difference|ratio",
    help="Differences or ratios; auto uses ratios if values span more than a factor of 30 "
    "or are skewed.",
)
@click.option(
    "--margin",
    type=float,
    metavar="X",
    help="Equivalence margin: the largest negligible difference. Choose it before you see results.",
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

    Runs that learnt, finished or reached a step are counted first; levels are compared among them.
    The seed is the unit of analysis. EXPERIMENT is the name of a stored experiment or its
    YAML file.
    """
    from ablab.read.documents.formats import effects_document
    from ablab.read.effects.stored import experiment_effects
    from ablab.store import Store

    opened = Store(store)
    with progress(quiet, "comparing runs"):
        found = experiment_effects(
            opened,
            opened.experiment(experiment),
            key,
            measure,
            scale,  # type: ignore[arg-type]
            margin,
        )
    if as_json:
        print_json(effects_document(experiment, found))
        return
    _print(found, experiment)


def _print(found: Any, experiment: str) -> None:
    from ablab.config import counted
    from ablab.read.effects import (
        best_values_sentence,
        interaction_sentence,
        robust_table,
        scaling_sentence,
        trend_sentence,
    )

    runs, seeds = counted(found.runs, "run"), counted(found.seeds, "seed")
    missing = f"; {found.missing} without a value" if found.missing else ""
    say(f"{experiment}: {found.measure} of {runs}, {seeds}{missing}")
    if found.missing == found.runs:
        echo("No run has a value, so there is nothing to compare.")
        return
    shown = ", ".join(
        f"{key}={value}" + (" (the first value)" if key in found.first else "")
        for key, value in found.base.items()
    )
    if found.factorial:
        say(f"base: {shown}")
    single = len(found.base) == 1
    tables = [("Each value", found.factorial)]
    if not single:
        tables = [
            ("Averaged over the values of the other settings", found.factorial),
            ("All other settings at their base values", found.marginal),
        ]
    for title, comparisons in tables:
        if not comparisons:
            continue
        echo(f"\n{title}:")
        _print_table(comparisons, found.scale)
    header, rows = robust_table(found.robust)
    if rows:
        at_base = "" if single else ", all other settings at their base values"
        echo(f"\nBeside the verdicts, not corrected{at_base}:")
        print_table(header, rows, texts=["value", "vs"], groups=["setting", "vs"])
    for sentence in (
        *(interaction_sentence(each, found.measure) for each in found.interactions),
        *(scaling_sentence(each) for each in found.scalings),
        *(trend_sentence(each, found.measure) for each in found.trends_alone),
        *(best_values_sentence(each, found.measure) for each in found.best_values),
    ):
        echo("")
        say(sentence)
    echo("")
    _print_notes(found)


def _print_notes(found: Any) -> None:
    """What the tables and sentences need to be understood."""
    compared = {each.key for each in found.factorial}
    if found.trends and not compared.issuperset(found.of):
        say(
            "Settings with many numbers have one test of a trend, in place of a comparison of each "
            "value; --of KEY compares each."
        )
    if compared:
        say(
            "Intervals are for single comparisons; p-values are corrected for the number of "
            "comparisons in the table (Holm's method)."
        )
    for line in found.notes():
        say(line)
    if not compared:
        return
    if found.margin is None and found.scale == "ratio":
        say(
            "Undecided does not mean equal: --scale ratio --margin 1.1 tests for no difference by "
            "more than a factor of 1.1."
        )
    elif found.margin is None:
        say("Undecided does not mean equal: --margin X tests for no difference larger than X.")


def _print_table(comparisons: Any, scale: str) -> None:
    from ablab.config import counted
    from ablab.read.effects.sentences import interval, number, p_value, verdict_words

    print_table(
        ["setting", "value", "vs", scale, "95% interval", "adjusted p", "seeds", "verdict"],
        [
            (
                each.key,
                str(each.value),
                str(each.reference),
                "none" if each.difference is None else number(each.difference),
                interval(each.interval),
                p_value(each.p_adjusted),
                str(each.seeds)
                + (f" ({counted(each.missing, 'pair')} missing)" if each.missing else ""),
                verdict_words(each),
            )
            for each in comparisons
        ],
        texts=["value", "vs", "seeds", "verdict"],
        groups=["setting", "vs"],
    )
