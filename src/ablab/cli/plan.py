"""``ablab plan``: the grid, the stacks and the estimated time and memory."""

from collections.abc import Mapping
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
    say,
    store_option,
    where_option,
)


@click.command()
@click.argument("experiment")
@click.argument("overrides", nargs=-1)
@store_option
@execution_options
@where_option
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
    from ablab.config import counted, doing
    from ablab.experiments import experiment as read_experiment
    from ablab.experiments.grid_text import several_text

    with progress(quiet or as_json, "reading the experiment"):
        asked = read_experiment(experiment, *overrides).resolve()
        with doing("loading PyTorch"):
            from ablab.execute.plan_text import method_rows, remarks
            from ablab.execute.planned import plan_experiment
    with progress(quiet or as_json, "planning"):
        found = plan_experiment(asked, store, options)
    asked, planned, left = found.experiment, found.plan, found.left
    if found.news is not None and not quiet:
        say(found.news, err=True)
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
                "remarks": [
                    *filter(None, [*found.before, found.rounds]),
                    *remarks(asked, planned, left),
                ],
                "bytes": _memory(planned, left),
                "captured_bytes": found.captured_bytes,
                "stacks": stacks,
                "estimates": found.speeds.estimates,
                **({} if found.tuning is None else {"tuning": _tuning(found.tuning)}),
            }
        )
        return
    cells = {variant.label: variant.keys for variant in asked.variants}
    for line in str(asked).splitlines():
        say(line)
    click.echo()
    print_table(
        ["stack", "variant", "runs", "to train", "steps", "method", "time", "MiB", "why"],
        [
            (
                number,
                several_text([cells[label] for label in stack["variants"]]),
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
        texts=["variant", "method", "why"],
        groups=["variant"],
    )
    rows = method_rows(planned, left)
    if rows:
        click.echo("\nMethods, with the time for all listed stacks:")
        print_table(["stacks", "method", "time", ""], rows, texts=["stacks", "method", ""])
    click.echo()
    say(
        f"{len(left)} of {counted(len(asked.runs), 'run')} to train, "
        f"{counted(planned.workers, 'worker')} with {counted(planned.threads, 'thread')} "
        f"on {planned.device}: "
        f"about {planned.estimate}, {_memory(planned, left) / 2**20:,.0f} MiB"
    )
    for line in filter(None, [*found.before, found.rounds, *remarks(asked, planned, left)]):
        say(line)
    if found.captured_bytes:
        say(f"captures: about {found.captured_bytes / 1e6:,.1f} MB on disk")
    _print_estimates(found.speeds.estimates)


def _tuning(before: Any) -> dict[str, Any]:
    """What the trials of a tuning cost at most."""
    return {
        "experiment": before.experiment.name,
        "runs": len(before.experiment.runs),
        "left": len(before.left),
        "seconds": before.plan.seconds,
        "seconds_range": [before.plan.estimate.low, before.plan.estimate.high],
    }


def _print_estimates(estimates: list[dict[str, Any]]) -> None:
    """How accurate the last estimates on this machine were."""
    recent = [each for each in estimates if each["estimated"] > 0 and each["measured"] > 0][-5:]
    if not recent:
        say("no estimates have been compared with measurements on this machine yet")
        return
    from ablab.execute.status import duration

    shown = "; ".join(
        f"{each['name']} {duration(each['estimated'])}, took {duration(each['measured'])}"
        for each in recent
    )
    say(f"last estimates on this machine: {shown}")


def _memory(planned: Any, left: Mapping[str, int]) -> int:
    """The peak memory of the stacks that train at the same time, in bytes."""
    sizes = sorted(
        stack.bytes for stack in planned.stacks if any(each.id in left for each in stack.runs)
    )
    return sum(sizes[-planned.workers :])
