"""The work of one process: takes stacks that nobody holds, trains them, until none is left."""

import gc
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from ablab.execute.memory import give_memory_back, keep_freed_memory
from ablab.execute.pause import PauseError, at_once
from ablab.execute.plan import Plan, PlannedStack
from ablab.execute.resume import by_step
from ablab.execute.settle import settle
from ablab.execute.speeds import keep_compiled_programs
from ablab.execute.stops import stop_rules
from ablab.execute.usage import Usage
from ablab.execute.watch import make_followers, make_watcher
from ablab.store.index import StoreError
from ablab.store.keeper import LeaseLostError, StoreKeeper
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
class Job:
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


def work(job: Job) -> bool:
    """Trains what is left of the plan; returns False where it was paused before the end.

    Stacks that another living process holds are waited for, and taken over if it dies.
    """
    torch.set_num_threads(job.plan.threads)
    keep_freed_memory()
    keep_compiled_programs()
    with Owner(job.store.index.path) as owner:
        while True:
            missing = unfinished(job.store, job.experiment)
            open_stacks = [
                (number, stack)
                for number, stack in enumerate(job.plan.stacks)
                if any(run.id in missing for run in stack.runs)
            ]
            if not open_stacks:
                return True
            worked = False
            for number, stack in open_stacks:
                if job.should_pause():
                    return False
                runs = _take(job, owner, stack)
                if runs:
                    worked = True
                    job.tell({"event": "taken", "stack": number, "ids": [run.id for run in runs]})
                    _train_or_split(job, owner, number, runs)
                    owner.release(job.store.index, [run.id for run in runs])
            if not worked:
                job.tell({"event": "waiting"})
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


def _take(job: Job, owner: Owner, stack: PlannedStack) -> list[Run]:
    """The unfinished runs of a stack that could be leased."""
    wanted = unfinished(job.store, job.experiment, stack.runs)
    taken = set(owner.acquire(job.store.index, list(wanted)))
    # A run may have been finished by another process between the look and the lease.
    missing = unfinished(job.store, job.experiment, stack.runs)
    runs = [run for run in stack.runs if run.id in taken and run.id in missing]
    runs = runs[: _allowed_width(job.store, runs)]
    kept = {run.id for run in runs}
    owner.release(job.store.index, [run for run in taken if run not in kept])
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


def _train_or_split(job: Job, owner: Owner, number: int, runs: Sequence[Run]) -> None:
    """Trains runs together; after an exception in halves, until the one at fault is alone."""
    try:
        for group in by_step(job.store, runs):
            if not _train(job, owner, number, group):
                return
        return
    except LeaseLostError as error:
        job.tell({"event": "message", "text": str(error)})
        return
    except StoreError:  # a full disk, say, is no fault of these runs
        raise
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        text = "".join(traceback.format_exception(error))
    # Outside of the handler, where nothing holds the stack that may not have fitted in memory.
    gc.collect()
    give_memory_back()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(runs) == 1:
        fail_run(job.store, runs[0].id, text)
        job.tell({"event": "failed", "run": runs[0].id, "error": reason})
        return
    middle = (len(runs) + 1) // 2
    job.tell({"event": "split", "runs": len(runs), "error": reason})
    for half in (runs[:middle], runs[middle:]):
        missing = unfinished(job.store, job.experiment, half)
        left = [run for run in half if run.id in missing]
        if left and not job.should_pause():
            _train_or_split(job, owner, number, left)


def _train(
    job: Job, owner: Owner, number: int, group: Sequence[tuple[Run, RunState | None]]
) -> bool:
    runs = [run for run, _ in group]
    rules, before = stop_rules(job.store, job.experiment, group)
    runs_left = [(run, state) for run, state in group if run.id not in before.stopped]
    if not runs_left:
        return True
    planned = job.plan.stacks[number]
    method = planned.method
    if len(runs_left) == 1 and method.vmapped and not method.compiled:
        method = SOLO  # some models, a recurrent one say, can only be trained so
    stack = Stack(
        [run for run, _ in runs_left],
        [state for _, state in runs_left],
        torch.device(job.plan.device),
        method,
    )
    try:
        with at_once():  # compiling takes up to a minute
            settle(stack, planned.fallback, job.tell)
    except PauseError:
        return False
    watch = runs[0].watch
    assert isinstance(watch, WatchConfig), "an experiment's runs know what is watched"
    stack.watcher = make_watcher(stack, watch, job.plan.compiling)
    facts = {
        "gradients": asdict(stack.method),
        "watch": {"every": watch.every, "statistics": list(watch.statistics)},
        "engine": stack.method.engine,
        "method": stack.method.title,
        "compiled": stack.method.compiled,
        "width": len(runs_left),
        "device": job.plan.device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "host": this_host(),
        "at": timestamp(),
    }

    pace = _Pace(stack.step)

    def tell(step: int, width: int, loss: float) -> None:
        pace.note(step, width)
        job.tell(
            {
                "event": "progress",
                "stack": number,
                "step": step,
                "runs": width,
                "loss": loss,
                "ids": [run.id for run in stack.runs],
            }
        )

    followers = make_followers(stack, watch, job.store, job.tell)
    usage = Usage(stack.device)
    keeper = StoreKeeper(job.store, owner, job.experiment, facts, tell, usage.facts)
    keeper.started(stack.step)
    finished = train(stack, keeper, rules, job.should_pause, before.losses(stack.runs), followers)
    job.tell(
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
        job.tell({"event": "ended", "ids": [run.id for run in runs]})
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


def note_deaths(store: Store, runs: Sequence[str]) -> None:
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
