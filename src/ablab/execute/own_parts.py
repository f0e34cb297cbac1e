"""Tries users' parts before anything is written, so that what they lack is an error of the input."""

import json
from collections.abc import Sequence
from dataclasses import replace

import torch

from ablab.config import InputError
from ablab.execute.cost import cost_key
from ablab.train.method import SOLO
from ablab.train.run import Run
from ablab.train.stack import Stack

_SAMPLES = 2


def check_own_parts(runs: Sequence[Run]) -> None:
    """Trains and evaluates one step of each shape with users' parts, on two samples.

    Only what is known to be wrong with a part is an error here. If a step raises anything else,
    training stores the complete error with the run.

    Raises:
        InputError: A part lacks something, or returns what it may not.
    """
    seen = set()
    for run in runs:
        key = (cost_key(run), json.dumps(run.train.schedule.identity(), sort_keys=True))
        if not run.sources or key in seen:
            continue
        seen.add(key)
        samples = min(_SAMPLES, run.train.batch_size)
        few = replace(run, train=run.train.model_copy(update={"batch_size": samples}))
        try:
            stack = Stack([few], [None], torch.device("cpu"), SOLO)
            stack.advance(1)
            stack.evaluate(stack.task.held_out(samples))
        except InputError:
            raise
        except (Exception, SystemExit):
            continue
