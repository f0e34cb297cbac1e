"""``ablab plan``: the grid, the stacks and the estimated time and memory."""

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
)


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
    from ablab.config import counted, doing
    from ablab.execute.status import duration
    from ablab.experiments import experiment as read_experiment

    with progress(quiet or as_json, "reading the experiment"):
        asked = read_experiment(experiment, *overrides).resolve()
        with doing("loading PyTorch"):
            from ablab.execute.observers import check_captures, check_queries
            from ablab.execute.orchestrate import against_stored, methods_before, steps_to_train
            from ablab.execute.plan import check_memory, make_plan
            from ablab.execute.speeds import Speeds
            from ablab.watching.step_statistics import check_watching
    speeds = Speeds()
    with progress(quiet or as_json, "planning"):
        check_memory(asked.runs)
        check_watching(asked.runs)
        check_queries(asked.runs)
        asked, news = against_stored(asked, store)
        if news is not None and not quiet:
            say(news, err=True)
        runs = asked.runs
        left = steps_to_train(asked, store, options.retry)
        captured = check_captures([each for each in runs if each.id in left], store)
        planned = make_plan(runs, options, left, speeds, methods_before(asked, store))
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
    for line in str(asked).splitlines():
        say(line)
    click.echo()
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
        texts=["variant", "method", "why"],
        groups=["variant"],
    )
    _print_alternatives(planned, stacks)
    click.echo()
    say(
        f"{len(left)} of {counted(len(asked.runs), 'run')} to train, "
        f"{counted(planned.workers, 'worker')} with {counted(planned.threads, 'thread')} "
        f"on {planned.device}: "
        f"about {duration(planned.seconds)}, {_memory(planned, left) / 2**20:,.0f} MiB"
    )
    if captured:
        say(f"captures: about {captured / 1e6:,.1f} MB on disk")
    _print_estimates(speeds.estimates)


def _print_alternatives(planned: Any, stacks: list[dict[str, Any]]) -> None:
    """The alternative methods for each shape, once for stacks that share the choice."""
    from ablab.execute.status import duration

    shapes: dict[str, tuple[list[int], float, tuple[tuple[str, float], ...]]] = {}
    for number, (stack, data) in enumerate(zip(planned.stacks, stacks, strict=True), 1):
        if stack.others and data["left"]:
            entry = shapes.setdefault(stack.runs[0].stack_key, ([], 0.0, stack.others))
            entry[0].append(number)
    rows = [
        (_ranges(numbers), method, duration(seconds))
        for numbers, _, others in shapes.values()
        for method, seconds in others
    ]
    if rows:
        click.echo("\nAlternatives, with the total time for all listed stacks:")
        print_table(["stacks", "method", "time"], rows, texts=["stacks", "method"])


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


def _memory(planned: Any, left: dict[str, int]) -> int:
    """The peak memory of the stacks that train at the same time, in bytes."""
    sizes = sorted(
        stack.bytes for stack in planned.stacks if any(each.id in left for each in stack.runs)
    )
    return sum(sizes[-planned.workers :])


def _ranges(numbers: list[int]) -> str:
    """Ascending numbers, neighbours as a range: ``1-3, 7``."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def _several(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
