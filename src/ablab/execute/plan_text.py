"""A plan in words: one line before training, and the alternatives and remarks of ``ablab plan``."""

from collections.abc import Mapping

from ablab.config.wording import counted
from ablab.execute.estimate import Estimate
from ablab.execute.method_choice import UNSTACKABLE
from ablab.execute.plan import Plan, PlannedStack
from ablab.experiments.experiment import Experiment

CHOSEN = "← chosen"


def summary(asked: Experiment, plan: Plan, left: Mapping[str, int], processes: str) -> str:
    """The plan in one line, shown before training starts.

    Args:
        asked: The experiment.
        plan: Its plan.
        left: Steps left to train, by run id.
        processes: What trains, in words.
    """
    stacks = [stack for stack in plan.stacks if any(run.id in left for run in stack.runs)]
    memory = sum(sorted(stack.bytes for stack in stacks)[-plan.workers :])
    done = len(asked.runs) - len(left)
    return (
        f"{asked.name}: training {counted(len(left), 'run')} in {counted(len(stacks), 'stack')}"
        + (f" ({done} already done)" if done else "")
        + f" with {processes} on {plan.device}; about {plan.estimate}, {memory / 2**20:,.0f} MiB"
    )


def method_rows(plan: Plan, left: Mapping[str, int]) -> list[tuple[str, str, str, str]]:
    """The methods that were considered for each shape, fastest first: the first one is chosen.

    Args:
        plan: The plan.
        left: Steps left to train, by run id.

    Returns:
        Rows of the stacks' numbers, the method, the time for all of these stacks, and a remark.
        Shapes for which only one method was considered have none.
    """
    shapes: dict[str, tuple[list[int], PlannedStack]] = {}
    for number, stack in enumerate(plan.stacks, 1):
        if stack.others and any(run.id in left for run in stack.runs):
            shapes.setdefault(stack.runs[0].stack_key, ([], stack))[0].append(number)
    rows = []
    for numbers, stack in shapes.values():
        rows.append((_ranges(numbers), stack.method.title, str(stack.all_stacks), CHOSEN))
        rows += [
            ("", title, str(seconds), _remark(stack.all_stacks, seconds))
            for title, seconds in stack.others
        ]
    return rows


def _remark(chosen: Estimate, other: Estimate) -> str:
    return "may be as fast" if chosen.overlaps(other) else ""


def remarks(asked: Experiment, plan: Plan, left: Mapping[str, int]) -> list[str]:
    """What else there is to say of a plan, in lines."""
    lines = [*stop_lines(asked, plan, left), *alone_lines(plan, left)]
    if plan.otherwise is not None and left:
        workers, seconds = plan.otherwise
        lines.append(f"with {counted(workers, 'worker')}: {seconds}")
    if plan.slowdown > 1 and left:
        lines.append(
            "other processes use this machine; if they go on, training takes up to "
            f"{plan.slowdown:.1f} times as long as when it is idle"
        )
    return lines


def stop_lines(asked: Experiment, plan: Plan, left: Mapping[str, int]) -> list[str]:
    """Where stop rules will probably end runs, one line for each text."""
    labels: dict[str, list[str]] = {}
    for variant in asked.variants:
        for run in variant.runs:
            stop = plan.stops.get(run.id)
            if stop is not None and run.id in left:
                text = stop.text(run.train.steps)
                labels.setdefault(text, []).append(variant.label)
    return [f"{_several(list(dict.fromkeys(found)))}: {text}" for text, found in labels.items()]


def alone_lines(plan: Plan, left: Mapping[str, int]) -> list[str]:
    """Which runs cannot be trained as a stack, and why."""
    found: dict[str, str] = {}
    for stack in plan.stacks:
        first = stack.runs[0]
        optimizer = first.train.optimizer_config
        if stack.why.startswith(UNSTACKABLE):
            why = stack.why
        elif not optimizer.stackable:
            why = f"{optimizer.kind} updates one run"
        else:
            continue
        if any(run.id in left for run in stack.runs):
            found.setdefault(why, f"runs like {first.id} are trained one at a time: {why}")
    return list(found.values())


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
