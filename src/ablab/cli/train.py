"""``ablab plan`` and ``ablab run``."""

import shlex
import sys
from typing import Any

import click

from ablab.cli.common import (
    execution_options,
    json_option,
    make_options,
    print_json,
    print_table,
    progress,
    quiet_option,
    store_option,
)


@click.command()
@click.argument("experiment")
@click.argument("overrides", nargs=-1)
@store_option
@execution_options
@click.option(
    "--break-leases",
    is_flag=True,
    help="Take the runs that other processes have leased, such as a stopped one.",
)
@json_option
@quiet_option
def run(
    experiment: str,
    overrides: tuple[str, ...],
    store: str,
    as_json: bool,
    quiet: bool,
    **choices: Any,
) -> int:
    """Plan, train and store an experiment, and write its logbook entry.

    EXPERIMENT is the name of a recipe or a YAML file. OVERRIDES set values (train.lr=1e-3) or add
    axes to the grid (model.d_model=8,16). Runs that are already trained are not trained again.
    """
    options = make_options(**choices)
    from ablab.experiments import experiment as read_experiment

    with progress(quiet):
        asked = read_experiment(experiment, *overrides).resolve()
    from ablab.api import Result
    from ablab.execute.orchestrate import orchestrate
    from ablab.execute.pause import pause_on_signals
    from ablab.execute.progress import make_reporter

    command = shlex.join(["ablab", *sys.argv[1:]])
    reporter, should_pause = make_reporter(quiet), pause_on_signals()
    with progress(quiet):
        trained = orchestrate(asked, store, options, command, reporter, should_pause)
    result = Result.of(asked, trained)
    statuses = [record.status for record in result.runs]
    any_failed = any(status in ("failed", "diverged") for status in statuses)
    if as_json:
        print_json(
            {
                "experiment": asked.name,
                "entry": str(result.entry),
                "complete": result.complete,
                "trained": result.trained,
                "variants": [summary.as_data() for summary in result.summary],
                "runs": [vars(record) for record in result.runs],
            }
        )
    else:
        from ablab.read.summary import table

        print_table(*table(result.summary))
        click.echo(f"\nentry: {result.entry}")
    if not result.complete:
        click.echo("interrupted; run the same command again to continue", err=True)
        return 130
    if any_failed:
        click.echo(
            "some runs failed or diverged; list them with ablab runs, retry them with --retry",
            err=True,
        )
    return 1 if any_failed else 0


@click.command()
@click.argument("experiment")
@click.argument("overrides", nargs=-1)
@store_option
@execution_options
@json_option
@quiet_option
def plan(
    experiment: str,
    overrides: tuple[str, ...],
    store: str,
    as_json: bool,
    quiet: bool,
    **choices: Any,
) -> None:
    """Show the grid, the stacks and the estimated time and memory; train nothing."""
    options = make_options(**choices)
    from ablab.experiments import experiment as read_experiment

    with progress(quiet or as_json):
        asked = read_experiment(experiment, *overrides).resolve()
    from ablab.config import counted
    from ablab.execute.early_stops import expected_stops
    from ablab.execute.observers import check_captures, check_queries
    from ablab.execute.orchestrate import against_stored, methods_before, steps_to_train
    from ablab.execute.plan import check_memory, make_plan
    from ablab.execute.plan_text import method_rows, remarks
    from ablab.execute.speeds import Speeds
    from ablab.watching.step_statistics import check_watching

    if not quiet and not as_json:
        click.echo("planning …", err=True)
    speeds = Speeds()
    with progress(quiet or as_json):
        check_memory(asked.runs)
        check_watching(asked.runs)
        check_queries(asked.runs)
        asked, news = against_stored(asked, store)
        if news is not None and not quiet:
            click.echo(news, err=True)
        runs = asked.runs
        left = steps_to_train(asked, store, options.retry)
        captured = check_captures([each for each in runs if each.id in left], store)
        before, stops = methods_before(asked, store), expected_stops(asked, store)
        planned = make_plan(runs, options, left, speeds, before, stops)
    speeds.save()
    labels = {each.id: variant.label for variant in asked.variants for each in variant.runs}
    stacks: list[dict[str, Any]] = [
        {
            "variants": list(dict.fromkeys(labels[each.id] for each in stack.runs)),
            "seeds": sorted({each.seed for each in stack.runs}),
            "runs": [each.id for each in stack.runs],
            "left": sum(each.id in left for each in stack.runs),
            "steps": max((left.get(each.id, 0) for each in stack.runs), default=0),
            "engine": stack.method.engine,
            "compiled": stack.method.compiled,
            "method": stack.method.title,
            "why": stack.why,
            "seconds": stack.seconds,
            "seconds_range": [stack.estimate.low, stack.estimate.high],
            "all_stacks_seconds": stack.all_stacks.seconds,
            "bytes": stack.bytes,
            "alternatives": [
                {"method": m, "seconds": s.seconds, "seconds_range": [s.low, s.high]}
                for m, s in stack.others
            ],
        }
        for stack in planned.stacks
    ]
    if as_json:
        print_json(
            {
                "experiment": asked.name,
                "runs": len(asked.runs),
                "left": len(left),
                "device": planned.device,
                "workers": planned.workers,
                "threads": planned.threads,
                "seconds": planned.seconds,
                "seconds_range": [planned.estimate.low, planned.estimate.high],
                "remarks": remarks(asked, planned, left),
                "bytes": _memory(planned, left),
                "captured_bytes": captured,
                "stacks": stacks,
                "estimates": speeds.estimates,
            }
        )
        return
    click.echo(f"{asked}\n")
    print_table(
        ["stack", "variant", "runs", "to train", "steps", "method", "time", "MiB", "why"],
        [
            (
                number,
                _several(stack["variants"]),
                len(stack["runs"]),
                stack["left"],
                stack["steps"],
                stack["method"],
                str(planned.stacks[number - 1].estimate),
                f"{stack['bytes'] / 2**20:.0f}",
                stack["why"],
            )
            for number, stack in enumerate(stacks, 1)
        ],
    )
    rows = method_rows(planned, left)
    if rows:
        click.echo("\nMethods, with the time for all listed stacks:")
        print_table(["stacks", "method", "time", ""], rows)
    click.echo(
        f"\n{len(left)} of {counted(len(asked.runs), 'run')} to train, "
        f"{counted(planned.workers, 'worker')} with {counted(planned.threads, 'thread')} "
        f"on {planned.device}: "
        f"about {planned.estimate}, {_memory(planned, left) / 2**20:,.0f} MiB"
    )
    for line in remarks(asked, planned, left):
        click.echo(line)
    if captured:
        click.echo(f"captures: about {captured / 1e6:,.1f} MB on disk")
    _print_estimates(speeds.estimates)


def _print_estimates(estimates: list[dict[str, Any]]) -> None:
    """How accurate the last estimates on this machine were."""
    recent = [each for each in estimates if each["estimated"] > 0 and each["measured"] > 0][-5:]
    if not recent:
        click.echo("no estimates have been compared with measurements on this machine yet")
        return
    from ablab.execute.progress import duration

    shown = "; ".join(
        f"{each['name']} {duration(each['estimated'])}, took {duration(each['measured'])}"
        for each in recent
    )
    click.echo(f"last estimates on this machine: {shown}")


def _memory(planned: Any, left: dict[str, int]) -> int:
    """The peak memory of the stacks that train at the same time, in bytes."""
    sizes = sorted(
        stack.bytes for stack in planned.stacks if any(each.id in left for each in stack.runs)
    )
    return sum(sizes[-planned.workers :])


def _several(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
