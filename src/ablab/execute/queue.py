"""The work of one process: takes stacks that nobody holds, trains them, until none is left."""

import gc
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from ablab.execute.memory import release_freed_memory, retain_freed_memory
from ablab.execute.observers import make_collector, make_observers
from ablab.execute.pause import PauseError, at_once
from ablab.execute.plan import Plan, PlannedStack
from ablab.execute.resume import group_by_step
from ablab.execute.speeds import persist_compiled_programs
from ablab.execute.stop_rules import stop_rules
from ablab.execute.usage import Usage
from ablab.execute.verify import verify
from ablab.store.checkpointer import LeaseLostError, StoreCheckpointer
from ablab.store.index import StoreError
from ablab.store.leases import Owner, this_host
from ablab.store.store import Store, timestamp
from ablab.train.loop import train
from ablab.train.method import SOLO
from ablab.train.run import Run
from ablab.train.stack import RunState, Stack
from ablab.watching.config import WatchConfig

Tell = Callable[[dict[str, Any]], None]
_WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class StackQueue:
    """What one process needs to know of an experiment.

    Attributes:
        store: The store.
        experiment: The experiment's number in it.
        plan: The plan.
        tell: Told events: ``taken``, ``progress``, ``pace``, ``ended``, ``split``, ``failed``,
            ``waiting``, ``pausing``, ``message``.
        should_pause: Asked at every logged step.
    """

    store: Store
    experiment: int
    plan: Plan
    tell: Tell
    should_pause: Callable[[], bool]


def work(queue: StackQueue) -> bool:
    """Trains what is left of the plan; returns False where it was paused before the end.

    Stacks that another living process holds are waited for, and taken over if it dies.
    """
    torch.set_num_threads(queue.plan.threads)
    retain_freed_memory()
    persist_compiled_programs()
    with Owner(queue.store.index.path) as owner:
        while True:
            missing = unfinished(queue.store, queue.experiment)
            open_stacks = [
                (number, stack)
                for number, stack in enumerate(queue.plan.stacks)
                if any(run.id in missing for run in stack.runs)
            ]
            if not open_stacks:
                return True
            worked = False
            for number, stack in open_stacks:
                if queue.should_pause():
                    return False
                runs = _take(queue, owner, stack)
                if runs:
                    worked = True
                    queue.tell({"event": "taken", "stack": number, "ids": [run.id for run in runs]})
                    _train_or_split(queue, owner, number, runs)
                    owner.release(queue.store.index, [run.id for run in runs])
            if not worked:
                queue.tell({"event": "waiting"})
                time.sleep(_WAIT_SECONDS)


def unfinished(store: Store, experiment: int, among: Sequence[Run] | None = None) -> dict[str, int]:
    """Steps that are left to train for an experiment, by run id; ended runs are not in it.

    Args:
        store: The store.
        experiment: The experiment's number.
        among: The runs that are asked about; all by default.
    """
    runs = None if among is None else [run.id for run in among]
    return {
        row["run"]: row["steps"] - row["step"]
        for row in store.members(experiment, runs)
        if row["stopped"] is None and row["outcome"] is None and row["step"] < row["steps"]
    }


def _take(queue: StackQueue, owner: Owner, stack: PlannedStack) -> list[Run]:
    """The unfinished runs of a stack that could be leased."""
    wanted = unfinished(queue.store, queue.experiment, stack.runs)
    taken = set(owner.acquire(queue.store.index, list(wanted)))
    # A run may have been finished by another process between the look and the lease.
    missing = unfinished(queue.store, queue.experiment, stack.runs)
    runs = [run for run in stack.runs if run.id in taken and run.id in missing]
    runs = runs[: _allowed_width(queue.store, runs)]
    kept = {run.id for run in runs}
    owner.release(queue.store.index, [run for run in taken if run not in kept])
    return runs


def _allowed_width(store: Store, runs: Sequence[Run]) -> int:
    """How many of these runs may train together: half as many for each death after the first.

    A process that is killed while it trains them may have run out of memory; one death may also
    have been somebody's hand.
    """
    deaths = 0
    for run in runs:
        deaths = max(deaths, store.run_row(run.id)["deaths"])
    return max(1, len(runs) >> max(0, deaths - 1))


def _train_or_split(queue: StackQueue, owner: Owner, number: int, runs: Sequence[Run]) -> None:
    """Trains runs together; after an exception in halves, until the one at fault is alone."""
    try:
        for group in group_by_step(queue.store, runs):
            if not _train(queue, owner, number, group):
                return
        return
    except LeaseLostError as error:
        queue.tell({"event": "message", "text": str(error)})
        return
    except StoreError:  # a full disk, say, is no fault of these runs
        raise
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        text = "".join(traceback.format_exception(error))
    # Outside of the handler, where nothing holds the stack that may not have fitted in memory.
    gc.collect()
    release_freed_memory()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(runs) == 1:
        fail_run(queue.store, runs[0].id, text)
        queue.tell({"event": "failed", "run": runs[0].id, "error": reason})
        return
    middle = (len(runs) + 1) // 2
    queue.tell({"event": "split", "runs": len(runs), "error": reason})
    for half in (runs[:middle], runs[middle:]):
        missing = unfinished(queue.store, queue.experiment, half)
        left = [run for run in half if run.id in missing]
        if left and not queue.should_pause():
            _train_or_split(queue, owner, number, left)


def _train(
    queue: StackQueue, owner: Owner, number: int, group: Sequence[tuple[Run, RunState | None]]
) -> bool:
    runs = [run for run, _ in group]
    rules, before = stop_rules(queue.store, queue.experiment, group)
    runs_left = [(run, state) for run, state in group if run.id not in before.stopped]
    if not runs_left:
        return True
    planned = queue.plan.stacks[number]
    method = planned.method
    if len(runs_left) == 1 and method.vmapped and not method.compiled:
        method = SOLO  # some models, a recurrent one say, can only be trained so
    stack = Stack(
        [run for run, _ in runs_left],
        [state for _, state in runs_left],
        torch.device(queue.plan.device),
        method,
    )
    try:
        with at_once():  # compiling takes up to a minute
            verify(stack, planned.fallback, queue.tell)
    except PauseError:
        return False
    watch = runs[0].watch
    assert isinstance(watch, WatchConfig), "an experiment's runs know what is watched"
    stack.collector = make_collector(stack, watch, queue.plan.compiling)
    facts = {
        "gradients": asdict(stack.method),
        "watch": {"every": watch.every, "statistics": list(watch.statistics)},
        "engine": stack.method.engine,
        "method": stack.method.title,
        "compiled": stack.method.compiled,
        "width": len(runs_left),
        "device": queue.plan.device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "host": this_host(),
        "at": timestamp(),
    }

    pace = _Pace(stack.step)

    def tell(step: int, width: int, loss: float) -> None:
        pace.note(step, width)
        queue.tell(
            {
                "event": "progress",
                "stack": number,
                "step": step,
                "runs": width,
                "loss": loss,
                "ids": [run.id for run in stack.runs],
            }
        )

    observers = make_observers(stack, watch, queue.store, queue.tell)
    usage = Usage(stack.device)
    checkpointer = StoreCheckpointer(queue.store, owner, queue.experiment, facts, tell, usage.facts)
    checkpointer.started(stack.step)
    finished = train(
        stack, checkpointer, rules, queue.should_pause, before.losses(stack.runs), observers
    )
    queue.tell(
        {
            "event": "pace",
            "run": runs[0].id,
            "method": asdict(stack.method),
            "run_steps": pace.run_steps,
            "seconds": pace.seconds,
            "compile_seconds": stack.compile_seconds,
        }
    )
    if finished:
        queue.tell({"event": "ended", "ids": [run.id for run in runs]})
    return finished


@dataclass
class _Pace:
    """How many steps were trained, all runs together, and in which time."""

    step: int
    run_steps: int = 0
    began: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0

    def note(self, step: int, width: int) -> None:
        self.run_steps += (step - self.step) * width
        self.step = step
        self.seconds = time.perf_counter() - self.began


def count_deaths(store: Store, runs: Sequence[str]) -> None:
    """Notes that a process died while it trained these runs."""
    with store.index.transaction() as connection:
        connection.executemany(
            "UPDATE runs SET deaths = deaths + 1 WHERE id = ?", [(run,) for run in runs]
        )


def fail_run(store: Store, run: str, text: str) -> None:
    """Marks a run as failed, with the reason."""
    with store.index.transaction() as connection:
        connection.execute(
            "UPDATE runs SET outcome = 'failed', error = ?, updated = ? WHERE id = ?",
            (text, timestamp(), run),
        )
