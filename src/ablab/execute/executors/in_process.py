"""Trains in this process, one stack after another."""

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import torch

from ablab.config.progress import showing
from ablab.execute.ahead.programs import note_stored, program_of
from ablab.execute.errors import RunFailure
from ablab.execute.executor import Executor
from ablab.execute.memory import release_freed_memory, retain_freed_memory
from ablab.execute.options import EXECUTORS
from ablab.execute.pause import PauseError
from ablab.execute.queue import Claim, StackQueue
from ablab.execute.resume import group_by_step, last_methods
from ablab.execute.setup import set_up
from ablab.execute.speeds import persist_compiled_programs
from ablab.execute.verify import ApartError
from ablab.store.checkpointer import LeaseLostError
from ablab.store.files import store_error
from ablab.store.index import StoreError
from ablab.store.leases import Owner
from ablab.store.run_rows import fail_run
from ablab.train.loop import train
from ablab.train.run import Run
from ablab.train.run_state import RunState
from ablab.train.stack import Stack

_SWITCH_SECONDS = 0.2e-3  # after which a thread that computes in Python lets another one go on


@dataclass(frozen=True)
class _Part:
    """Runs of a claim that are trained together.

    Attributes:
        runs: The runs.
        apart: Why a run is trained alone and eagerly, whatever was planned; None if it need not be.
        waits: Whether they train eagerly until another process has compiled their program.
    """

    runs: Sequence[Run]
    apart: str | None = None
    waits: bool = False


@EXECUTORS.register("in_process")
class InProcess(Executor):
    """Trains all stacks in this process."""

    def train(self, queue: StackQueue) -> bool:
        """See :meth:`Executor.train`.

        If training a stack raises, the stack is split in half, repeatedly, until the failing run is
        alone.
        """
        _adjust_process(queue)

        def tell(line: str) -> None:
            queue.report({"event": "message", "text": line})

        with Owner(queue.store.index.path) as owner:
            for claim in _claims(queue, owner):
                program = program_of(claim.planned, claim.runs, queue.plan)
                parts = [_Part(claim.runs, waits=_waits(queue, claim, program))]
                while parts:
                    part = parts.pop(0)
                    runs = part.runs
                    _set_threads(queue, part)
                    try:
                        for group in _groups(queue, part, tell):
                            ready = set_up(queue, owner, claim, group, part.apart, part.waits)
                            if ready is None:
                                continue
                            _note_program(claim, ready.stack, program)
                            with _released(ready.stack):
                                finished = train(
                                    ready.stack, ready.checkpointer, ready.rules,
                                    _pauses(queue, part, program), ready.losses, ready.observers,
                                    queue.plan.until,
                                )  # fmt: skip
                            ready.progress.done(finished)
                            if not finished:
                                break
                        parts[:0] = _go_on(queue, runs) if part.waits else []
                        continue
                    except PauseError:
                        continue
                    except ApartError as error:
                        waited = part.waits
                        again = _go_on(queue, runs) if waited else _one_by_one(queue, runs, error)
                        parts[:0] = again
                        continue
                    except LeaseLostError as error:
                        queue.report({"event": "message", "text": str(error)})
                        continue
                    except StoreError:  # such as a full disk, which is not the runs' fault
                        raise
                    except (Exception, SystemExit) as error:
                        fault = store_error(queue.store.index, error)
                        if fault is not None:
                            raise fault from error
                        failure = RunFailure.of(error)
                    ready = None
                    # Outside the handler: nothing refers to a stack that may not have fitted.
                    parts[:0] = _halves(queue, runs, failure)
                    if queue.should_pause():
                        break
        return not queue.unfinished()


def _adjust_process(queue: StackQueue) -> None:
    """Settings of the process for training."""
    torch.set_num_threads(queue.plan.threads)
    retain_freed_memory()
    persist_compiled_programs()
    if queue.plan.device == "cuda":  # where a thread draws batches between launches
        sys.setswitchinterval(_SWITCH_SECONDS)


@contextmanager
def _released(stack: Stack) -> Iterator[None]:
    """In the end, gives back the memory of a stack's graphs."""
    try:
        yield
    finally:
        stack.release()


def _claims(queue: StackQueue, owner: Owner) -> Iterator[Claim]:
    """The claims of a queue; while one is trained, what is being done is reported."""
    for claim in queue.claims(owner):
        with showing(partial(_report_activity, queue, claim)):
            yield claim


def _report_activity(queue: StackQueue, claim: Claim, text: str | None) -> None:
    queue.report({"event": "activity", "stack": claim.number, "text": text})


def _waits(queue: StackQueue, claim: Claim, program: str | None) -> bool:
    """Whether a stack trains eagerly until its program is compiled by another process.

    Runs that have begun by the planned method go on by it.
    """
    if queue.ahead is None or program is None or program not in queue.ahead.programs:
        return False
    before = last_methods(queue.store, claim.runs).values()
    return claim.planned.method not in before and queue.ahead.want(program)


def _groups(
    queue: StackQueue, part: _Part, tell: Callable[[str], None]
) -> list[list[tuple[Run, RunState | None]]]:
    """The runs of a part with the states that they continue from, by step.

    Raises:
        ApartError: They wait for a program, and groups at different steps need different ones.
    """
    groups = group_by_step(queue.store, part.runs, tell)
    if part.waits and len(groups) > 1:
        raise ApartError("its runs are at different steps")
    return groups


def _set_threads(queue: StackQueue, part: _Part) -> None:
    """The threads of a part: while it waits, the compiler may need a core of its own."""
    lent = queue.ahead.lent if part.waits and queue.ahead is not None else 0
    torch.set_num_threads(max(1, queue.plan.threads - lent))


def _pauses(queue: StackQueue, part: _Part, program: str | None) -> Callable[[], bool]:
    """Whether training has to pause, for the user or since there is nothing to wait for."""
    ahead = queue.ahead
    if not part.waits or ahead is None or program is None:
        return queue.should_pause
    return lambda: queue.should_pause() or ahead.is_over(program)


def _go_on(queue: StackQueue, runs: Sequence[Run]) -> list[_Part]:
    """The unfinished runs of a stack that need not wait any longer, unless a pause is requested."""
    if queue.should_pause():
        return []
    missing = queue.unfinished(runs)
    left = [run for run in runs if run.id in missing]
    return [_Part(left)] if left else []


def _note_program(claim: Claim, stack: Stack, program: str | None) -> None:
    """Notes that the program of a claim is stored, if a stack of all its runs trains by it."""
    complete = len(stack.runs) == len(claim.runs)
    if program is not None and complete and stack.method == claim.planned.method:
        note_stored(program)


def _one_by_one(queue: StackQueue, runs: Sequence[Run], error: ApartError) -> list[_Part]:
    """The unfinished runs of a stack, each by itself; says why."""
    reason = str(error)
    missing = queue.unfinished(runs)
    left = [_Part([run], reason) for run in runs if run.id in missing]
    text = f"runs like {runs[0].id}: {reason}; training eagerly, one run at a time, instead"
    queue.report({"event": "message", "about": f"{runs[0].program_key} apart", "text": text})
    return left


def _halves(queue: StackQueue, runs: Sequence[Run], failure: RunFailure) -> list[_Part]:
    """The halves to try next of runs that failed together; a single run is marked as failed."""
    gc.collect()
    release_freed_memory()
    if torch.cuda.is_available():
        with suppress(RuntimeError):  # some releases of torch refuse after a failed recording
            torch.cuda.empty_cache()
    if len(runs) == 1:
        fail_run(queue.store, runs[0].id, failure.text)
        queue.report({"event": "failed", "run": runs[0].id, "error": failure.reason})
        return []
    queue.report({"event": "split", "runs": len(runs), "error": failure.reason})
    missing = queue.unfinished(runs)
    middle = (len(runs) + 1) // 2
    halves = ([run for run in half if run.id in missing] for half in (runs[:middle], runs[middle:]))
    return [_Part(half) for half in halves if half]
