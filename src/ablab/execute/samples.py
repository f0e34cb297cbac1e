"""Generates samples for a text experiment's entry when training ends.

The models and the corpus are at hand then; later, the logbook shows what was kept.
"""

from collections.abc import Callable

import torch

from ablab.config import InputError, doing
from ablab.experiments.experiment import Experiment
from ablab.model.generate import Sampling
from ablab.store.run_rows import list_snapshots
from ablab.store.samples import Sample, queried_sample, save_samples, stored_samples
from ablab.store.snapshots import read_parameters
from ablab.store.store import ExperimentRecord, Store
from ablab.train.objective import DTYPES
from ablab.train.run import Run
from ablab.train.stack import initial_model, make_task
from ablab.watching.config import WatchConfig
from ablab.watching.queries import answer_queries

_RUNS = 8
_TOKENS = 240
_SAMPLING = Sampling(temperature=0.8)
_START = "\n"  # a new text starts after a newline


def sample_texts(
    store: Store, record: ExperimentRecord, asked: Experiment, tell: Callable[[str], None]
) -> None:
    """Stores a text by the first ended seed of each variant, unless it is stored already.

    A text that cannot be generated or stored harms no run: ``tell`` gets the reason.

    Args:
        store: The store.
        record: The experiment in the store.
        asked: The experiment.
        tell: Called with messages for the user.
    """
    settings = {run.id: run for run in asked.runs if run.task.endless}
    first: dict[str, tuple[Run, int]] = {}
    for row in store.runs(record):
        if row.status in ("finished", "stopped") and row.run in settings:
            first.setdefault(str(row.variant), (settings[row.run], row.step))
    chosen = list(first.values())[:_RUNS]
    known = stored_samples(store, [run.id for run, _ in chosen])
    for run, step in chosen:
        # A run that another experiment trained further might have lost its snapshot of this step.
        steps = {snapshot.step for snapshot in list_snapshots(store, run.id)}
        if step not in steps or _answers(known.get((run.id, step)), run):
            continue
        try:
            with doing("generating texts"):
                save_samples(store, [_sample(store, run, step)])
        except InputError as error:
            tell(f"no sample of run {run.id} at step {step}: {error.problems[0].message}")
        except Exception as error:  # a user's module can raise anything
            tell(f"no sample of run {run.id} at step {step}: {type(error).__name__}: {error}")


def _answers(sample: Sample | None, run: Run) -> bool:
    """Whether a stored sample is what the run's experiment asks for."""
    if sample is None or not isinstance(run.watch, WatchConfig) or run.watch.generate is None:
        return sample is not None
    wanted = [query.model_dump() for query in run.watch.generate.queries]
    found = sample.about.get("queries", [])
    return [{key: each.get(key) for key in wanted[0]} for each in found] == wanted


def _sample(store: Store, run: Run, step: int) -> Sample:
    """A text by the model after a step.

    Raises:
        StoreError: The snapshot is damaged.
        ValueError: The corpus has no newline to start from.
    """
    task = make_task(run)
    model = initial_model(run)
    parameters = read_parameters(store, run.id, step)
    model.load_state_dict(parameters, strict=False)  # a tied parameter is stored once
    model.eval()
    generate = run.watch.generate if isinstance(run.watch, WatchConfig) else None
    if generate is not None:
        precision = generate.precision or run.train.precision
        found = answer_queries(model.to(DTYPES[precision]), task, generate.queries, precision)
        return queried_sample(run.id, step, found)
    tokens = torch.from_numpy(task.tokens(_START))
    drawn = list(model.stream(tokens[None], _TOKENS, _SAMPLING))
    text = task.text(torch.cat([tokens, *drawn]).numpy())
    about = {"temperature": _SAMPLING.temperature, "tokens": _TOKENS, "seed": _SAMPLING.seed}
    return Sample(run.id, step, text, about)
