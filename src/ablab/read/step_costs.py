"""What a step of each stored run costs: tokens, seconds and arithmetic."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ablab.experiments.registration import derived_lengths
from ablab.experiments.seeds import most_seeds
from ablab.read.training_flops import StepFlops, step_flops
from ablab.store.run_rows import costs_of_runs
from ablab.store.store import ExperimentRecord, RunRecord, Store


@dataclass(frozen=True)
class StepCosts:
    """The cost of one training step of a run; None where it is not known.

    Attributes:
        tokens: Samples times input tokens.
        seconds: The run's own share of the training time, divided evenly over its steps.
        flops: The estimated arithmetic.
    """

    tokens: float | None
    seconds: float | None
    flops: StepFlops | None


def step_costs(
    store: Store, record: ExperimentRecord, runs: Sequence[RunRecord]
) -> dict[str, StepCosts]:
    """The costs of a step of each run, by run id.

    Args:
        store: The store.
        record: The experiment, which recorded the lengths of its tasks' samples.
        runs: The runs.
    """
    costs = costs_of_runs(store, [run.run for run in runs])
    seeds = most_seeds(record.definition)
    places = {row["run"]: row["position"] // seeds for row in store.members(record.id)}
    derived: dict[str, tuple[int, int | None] | None] = {}
    found = {}
    for run in runs:
        trajectory, step, seconds, n_params = costs[run.run]
        task = None
        if record.registration is not None and run.run in places:
            task = record.registration.task(places[run.run])
        if task is not None and task.input_length is not None:
            lengths: tuple[int, int | None] | None = (task.input_length, task.source_length)
        else:
            key = json.dumps(trajectory["task"], sort_keys=True)
            if key not in derived:
                derived[key] = derived_lengths(trajectory["task"])
            lengths = derived[key]
        samples = trajectory["train"]["batch_size"]
        flops = None
        if lengths is not None and n_params:
            flops = step_flops(trajectory["model"], n_params, samples, *lengths)
        found[run.run] = StepCosts(
            tokens=None if lengths is None else float(samples * lengths[0]),
            seconds=seconds / step if step and seconds > 0 else None,
            flops=flops,
        )
    return found
