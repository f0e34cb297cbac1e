"""Commands that plan and train."""

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
    quiet_option,
    store_option,
)


@click.command()
@click.argument("experiment")
@click.argument("overrides", nargs=-1)
@store_option
@execution_options
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
    """Plan, train, keep, and write the logbook entry.

    EXPERIMENT is a recipe's name or a YAML file. OVERRIDES set values (train.lr=1e-3) or make axes
    of the grid (model.d_model=8,16). What is trained already is not trained again.
    """
    options = make_options(**choices)
    from ablab.experiments import experiment as read_experiment

    asked = read_experiment(experiment, *overrides)
    from ablab.api import Result
    from ablab.execute.orchestrate import orchestrate
    from ablab.execute.pause import pause_on_signals
    from ablab.execute.progress import make_reporter

    command = shlex.join(["ablab", *sys.argv[1:]])
    reporter, should_pause = make_reporter(quiet), pause_on_signals()
    result = Result.of(asked, orchestrate(asked, store, options, command, reporter, should_pause))
    statuses = [record.status for record in result.runs]
    troubled = any(status in ("failed", "diverged") for status in statuses)
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
        click.echo("interrupted; the same command goes on from here", err=True)
        return 130
    if troubled:
        click.echo(
            "some runs failed or diverged; ablab runs lists them, --retry tries them again",
            err=True,
        )
    return 1 if troubled else 0


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
    """Show the grid, the stacks, the estimated time and memory; train nothing."""
    options = make_options(**choices)
    from ablab.experiments import experiment as read_experiment

    asked = read_experiment(experiment, *overrides)
    from ablab.execute.observers import check_captures
    from ablab.execute.orchestrate import steps_to_train
    from ablab.execute.plan import make_plan
    from ablab.execute.progress import duration
    from ablab.execute.speeds import Speeds
    from ablab.watching.step_statistics import check_watching

    check_watching(asked.runs)
    left = steps_to_train(asked, store, options.retry)
    captured = check_captures([each for each in asked.runs if each.id in left], store)
    if not quiet and not as_json:
        click.echo("planning …", err=True)
    speeds = Speeds()
    planned = make_plan(asked.runs, options, left, speeds)
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
            "bytes": stack.bytes,
            "alternatives": [{"method": m, "seconds": s} for m, s in stack.others],
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
                duration(stack["seconds"]),
                f"{stack['bytes'] / 2**20:.0f}",
                stack["why"],
            )
            for number, stack in enumerate(stacks, 1)
        ],
    )
    _print_alternatives(planned, stacks)
    click.echo(
        f"\n{len(left)} of {len(asked.runs)} runs to train, {planned.workers} "
        f"worker{'s' * (planned.workers > 1)} of {planned.threads} "
        f"thread{'s' * (planned.threads > 1)} on {planned.device}: "
        f"about {duration(planned.seconds)}, {_memory(planned, left) / 2**20:,.0f} MiB"
    )
    if captured:
        click.echo(f"captures: about {captured / 1e6:,.1f} MB on the disk")
    _print_estimates(speeds.estimates)


def _print_alternatives(planned: Any, stacks: list[dict[str, Any]]) -> None:
    """What each shape could be trained by instead, once for stacks that share the choice."""
    from ablab.execute.progress import duration

    shapes: dict[str, tuple[list[str], float, tuple[tuple[str, float], ...]]] = {}
    for number, (stack, data) in enumerate(zip(planned.stacks, stacks, strict=True), 1):
        if stack.others and data["left"]:
            entry = shapes.setdefault(stack.runs[0].stack_key, ([], 0.0, stack.others))
            entry[0].append(str(number))
    rows = [
        (", ".join(numbers) if place == 0 else "", method, duration(seconds))
        for numbers, _, others in shapes.values()
        for place, (method, seconds) in enumerate(others)
    ]
    if rows:
        click.echo("\nWhat else the stacks of a shape could be trained by, all of them together:")
        print_table(["stacks", "method", "time"], rows)


def _print_estimates(estimates: list[dict[str, Any]]) -> None:
    """How good the last estimates on this machine were."""
    recent = [each for each in estimates if each["estimated"] > 0 and each["measured"] > 0][-5:]
    if not recent:
        click.echo("no estimate has been put to the test on this machine yet")
        return
    from ablab.execute.progress import duration

    shown = ", ".join(
        f"{each['name']} {duration(each['estimated'])} for {duration(each['measured'])}"
        for each in recent
    )
    click.echo(f"the last estimates here, and what they came to: {shown}")


def _memory(planned: Any, left: dict[str, int]) -> int:
    """The most that the stacks in training at one time need, in bytes."""
    sizes = sorted(
        stack.bytes for stack in planned.stacks if any(each.id in left for each in stack.runs)
    )
    return sum(sizes[-planned.workers :])


def _several(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
