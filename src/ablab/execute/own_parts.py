"""Tries users' parts before anything is written: what they lack is an error of the input."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ablab.config import InputError
from ablab.config.own_parts import part_error
from ablab.execute.cost import cost_key
from ablab.model.norm import check_norms
from ablab.tasks.config import IGNORED
from ablab.train.callbacks import callback_observers
from ablab.train.loss_config import KEY as LOSS
from ablab.train.method import SOLO
from ablab.train.run import Run
from ablab.train.schedule_config import LINES as SCHEDULE_LINES
from ablab.train.schedules import factors
from ablab.train.stack import Stack, make_task
from ablab.train.torch_optimizer import TorchOptimizer

_SAMPLES, _STEPS = 3, 2
_RAGGED = (
    "    @property",
    "    def ragged(self):  # some positions are without a target",
    "        return True",
)


def check_own_parts(runs: Sequence[Run]) -> None:
    """Trains and evaluates one step of each shape with users' parts, on a few samples.

    Callbacks are called once each, with a view that says that it is a trial.

    Only what is known to be wrong with a part is an error here. If a step raises anything else,
    training stores the complete error with the run.

    Args:
        runs: The runs that have steps left to train.

    Raises:
        InputError: A part lacks something, or returns what it may not.
    """
    seen = set()
    for run in runs:
        train = run.train
        others = [train.schedule.identity(), [each.identity() for each in train.callbacks]]
        key = (cost_key(run), json.dumps(others, sort_keys=True))
        if not run.sources or key in seen:
            continue
        seen.add(key)
        try:
            _try(run)
        except InputError:
            raise
        except (Exception, SystemExit):
            continue


def _try(run: Run) -> None:
    """One step of a run, on a few samples."""
    if ":" in run.task.kind:
        _check_task(run)
    _check_total(run)
    total = run.train.schedule_total
    for step in {1, (total + 1) // 2, total}:
        factors(run.train.schedule, total, step, 1)
    samples = min(_SAMPLES, run.train.batch_size)
    few = replace(run, train=run.train.model_copy(update={"batch_size": samples}))
    stack = Stack([few], [None], torch.device("cpu"), SOLO)
    check_norms(stack.objective.model)
    if isinstance(stack.optimizer, TorchOptimizer):
        stack.optimizer.check()
    batch = stack.task.held_out(samples)
    before = {name: float(values[0]) for name, values in stack.evaluate(batch).items()}
    plain = before.get("cross_entropy", before["loss"])
    own = sorted(set(_import_paths(run.model.model_dump())))
    if own and not math.isfinite(plain):
        what = f"gives logits with a loss of {plain} before training"
        raise part_error("model", " with ".join(own), what)
    if run.train.loss.is_own and math.isfinite(plain) and not math.isfinite(before["loss"]):
        what = f"gives {before['loss']} for the first batch, whose cross-entropy is {plain:.4g}"
        raise part_error(LOSS, run.train.loss.kind, what)
    advance = stack.advance(1)
    for observer in callback_observers(stack):
        observer.attempt(stack, advance)


def _check_total(run: Run) -> None:
    """Checks that a user's schedule uses the total that it is given.

    Raises:
        InputError: It does not.
    """
    schedule = run.train.schedule
    if schedule.is_own and schedule.total is not None and not schedule.uses_total:
        what = "does not use the total: it has no argument total"
        raise part_error("train.schedule.total", schedule.kind, what, *SCHEDULE_LINES)


def _import_paths(settings: Any) -> Iterator[str]:
    """The import paths among the values of some settings."""
    if isinstance(settings, str):
        yield from [settings] if ":" in settings else ()
    for each in settings.values() if isinstance(settings, dict) else ():
        yield from _import_paths(each)


def _check_task(run: Run) -> None:
    """Checks what a user's task draws and measures.

    Raises:
        InputError: An array has another shape or other numbers than it must have.
    """
    task, of, kind = make_task(run), run.task, run.task.kind
    positions = len(range(of.input_length)[task.predicted])
    drawn, held_out = task.draw(run.seed, 1, _STEPS, _SAMPLES), task.held_out(_SAMPLES)
    count = len(held_out.tokens)
    for method, lead, batch in (
        ("draw", (_STEPS, _SAMPLES), drawn),
        ("held_out", (count,), held_out),
    ):
        for name, length in (("tokens", of.input_length), ("targets", positions)):
            found = getattr(batch, name)
            shape = (*lead, length)
            if not isinstance(found, np.ndarray) or found.shape != shape:
                given = getattr(found, "shape", type(found).__name__)
                what = f"gives {name} of shape {given} in {method}; expected {shape}"
                raise part_error("task.kind", kind, what)
            if found.dtype != np.int64:
                what = f"gives {name} of type {found.dtype} in {method}; expected int64"
                line = f"{name} = {name}.astype(np.int64)"
                raise part_error("task.kind", kind, what, line)
            without = name == "targets" and bool((found == IGNORED).any())
            if without and not of.ragged:
                what = f"gives targets of {IGNORED} in {method}, but its settings are not ragged"
                raise part_error("task.kind", kind, what, *_RAGGED)
            known = found[found != IGNORED] if without else found
            if known.max(initial=0) >= of.vocab_size or known.min(initial=0) < 0:
                what = (
                    f"gives {name} from {known.min()} to {known.max()} in {method}; expected "
                    f"0 to {of.vocab_size - 1}, since its vocab_size is {of.vocab_size}"
                )
                raise part_error("task.kind", kind, what)
    tokens, targets = torch.from_numpy(held_out.tokens), torch.from_numpy(held_out.targets)
    measures = task.measures(torch.zeros(count, positions, of.vocab_size), tokens, targets)
    for name, value in measures.items():
        if not isinstance(value, Tensor) or value.ndim:
            given = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            what = f"measures {name} as {given}; expected a tensor with one number"
            raise part_error("task.kind", kind, what, f'return {{"{name}": values.mean()}}')
