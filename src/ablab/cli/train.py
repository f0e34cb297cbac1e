"""``ablab run``, and what ``ablab settle`` shares with it."""

import shlex
import sys
from collections.abc import Callable
from typing import Any

import click

from ablab.cli.common import (
    break_leases_option,
    execution_options,
    json_option,
    make_options,
    print_json,
    print_table,
    progress,
    quiet_option,
    say,
    store_option,
    where_option,
)


def _load_readers() -> None:
    """Loads what reads results, which takes seconds."""
    import ablab.api  # noqa: F401


def _next_round(store: Any, record: Any) -> Any:
    from ablab.read.rounds import next_round

    return next_round(store, record)


def _trial_values(store: Any, record: Any, measure: str) -> Any:
    from ablab.read.tuning import trial_values

    return trial_values(store, record, measure)


@click.command()
@click.argument("experiment")
@click.argument("overrides", nargs=-1)
@store_option
@execution_options
@where_option
@break_leases_option
@json_option
@quiet_option
def run(
    experiment: str,
    overrides: tuple[str, ...],
    store: str,
    as_json: bool,
    quiet: bool,
    seeds_of: Callable[[Any], Any] | None = None,
    **choices: Any,
) -> int:
    """Plan, train and store an experiment, and write its logbook entry.

    EXPERIMENT is the name of a recipe or a YAML file. OVERRIDES set values (train.lr=1e-3) or add
    axes to the grid (model.d_model=8,16). Runs that are already trained are not trained again.
    """
    options = make_options(**choices)
    from ablab.config import doing
    from ablab.experiments import experiment as read_experiment

    with progress(quiet, "starting") as shown:
        with doing("reading the experiment"):
            asked = read_experiment(experiment, *overrides)
            if seeds_of is not None:  # those of another command, and not of the experiment
                asked = read_experiment(experiment, *overrides, seeds=seeds_of(asked.definition))
            asked.resolve()
        with doing("loading PyTorch"):  # and what reads results only later, so that it starts soon
            from ablab.execute.orchestrate import orchestrate
            from ablab.execute.pause import pause_on_signals
            from ablab.execute.progress import Reporter
            from ablab.execute.tune import Readers, rounds_of
        command = shlex.join(["ablab", *sys.argv[1:]])
        requests = []
        if asked.definition.get("analyze"):  # an unknown analysis is said before training
            from ablab.analysis.request import requests_of

            requests = requests_of(asked.definition)
        paused = pause_on_signals()
        reporter = Reporter(shown)
        rounds = rounds_of(asked, store, options, reporter, Readers(_next_round, _trial_values))
        for part, where, how in rounds:
            rounds.done = orchestrate(part, where, how, command, reporter, paused, _load_readers)
        trained = rounds.result
        with doing("writing the entry"):
            from ablab.api import Result, with_analyses
        trained, analyzed = with_analyses(trained, requests, shown, paused)
        with doing("writing the entry"):
            result = Result.of(trained)
            _ = result.summary, result.tuning, result.settled  # read while progress is shown
    _show(result, as_json)
    statuses = {record.status for record in result.runs}
    any_failed = not statuses.isdisjoint(("failed", "diverged"))
    if not result.complete:
        say("interrupted; run the same command again to continue", err=True)
        return 130
    if any_failed:
        say(
            "some runs failed or diverged; list them with ablab runs, retry them with --retry",
            err=True,
        )
    return 1 if any_failed or not analyzed else 0


def _show(result: Any, as_json: bool) -> None:
    """Shows a result: the final values of each variant, and what else was found."""
    summary, tuning = result.summary, result.tuning
    if as_json:
        print_json(
            {
                "experiment": result.experiment.name,
                "entry": str(result.entry),
                "complete": result.complete,
                "trained": result.trained,
                "variants": [each.as_data() for each in summary],
                **({} if result.settled is None else {"questions": result.settled.as_data()}),
                **({} if result.halving is None else {"halving": result.halving.as_data()}),
                "runs": [vars(record) for record in result.runs],
                **({} if tuning is None else {"tuning": tuning.as_data()}),
            }
        )
    else:
        from ablab.read.summary import early_note, table

        header, rows = table(summary)
        keys = header[: header.index("parameters")]
        print_table(header, rows, texts=[*keys, "runs"], groups=keys)
        if note := early_note(summary):
            click.echo()
            say(note)
        if result.settled is not None:
            click.echo()
            print_questions(result.settled)
        if tuning is not None:
            from ablab.cli.tuning import print_tuning

            print_tuning(tuning)
        if result.halving is not None:
            click.echo()
            print_halving(result.halving)
        click.echo(f"\nentry: {result.entry}")


def print_halving(found: Any) -> None:
    """What halving decided after each rung, and what it saved."""
    header, rows = found.table()
    if rows:
        print_table(header, rows, texts=["variant", "outcome", "why"])
        click.echo()
    say(found.sentence)


def print_questions(found: Any) -> None:
    """The questions of an experiment that adds seeds, and what became of them."""
    header, rows = found.table()
    print_table(header, rows, texts=["question", "found"])
    click.echo()
    say(found.about)
