"""The programs that stacks need, and which of them are stored in torch's cache."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

from ablab.execute.machine import machine_digest
from ablab.execute.plan import Plan, PlannedStack
from ablab.model.torch_internals import programs_folder
from ablab.train.compiling import is_traced_only
from ablab.train.run import Run


def program_of(planned: PlannedStack, runs: Sequence[Run], plan: Plan) -> str | None:
    """A digest of what determines the programs of a stack; None if its method is not compiled.

    Between versions, changes of ablab's source are not seen. So what is said to be stored may have
    to be compiled again.

    Args:
        planned: The planned stack.
        runs: Those of its runs that are trained.
        plan: The plan.
    """
    method = planned.method
    if not method.compiled or not runs:
        return None
    first = runs[0]
    parts = [
        version("ablab"), torch.__version__, _machine(), plan.device, plan.threads,
        plan.compiling, asdict(method), method.rows or len(runs), first.program_key,
        first.train.batch_size, first.train.steps, list(first.sources),
        None if first.watch is None else first.watch.model_dump(mode="json"),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def is_stored(program: str) -> bool:
    """Whether the programs of a stack have been compiled and left in torch's cache."""
    return _mark(program).is_file()


def note_stored(program: str) -> None:
    """Notes that the programs of a stack are in torch's cache, if it can be written."""
    if is_traced_only():
        return
    mark = _mark(program)
    with suppress(OSError):
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()


@cache
def _machine() -> str:
    """The digest of this machine, which is read from files of the system."""
    return machine_digest()


def _mark(program: str) -> Path:
    return programs_folder() / "ablab" / f"{program}.stored"
