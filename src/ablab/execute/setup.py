"""Setting up a claimed stack for training: state, method, statistics, checkpoints."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ablab.config.progress import doing
from ablab.execute.observers import make_collector, make_observers
from ablab.execute.pause import immediate_pause
from ablab.execute.queue import Claim, Report, StackQueue
from ablab.execute.resume import UNTIL_COMPILED, last_methods
from ablab.execute.stop_rules import stop_rules
from ablab.execute.usage import Usage
from ablab.execute.verify import ApartError, Verified, verify
from ablab.store.checkpointer import StoreCheckpointer
from ablab.store.leases import Owner
from ablab.store.processes import this_host
from ablab.store.store import timestamp
from ablab.train.collector import StatisticsCollector
from ablab.train.loop import Observer
from ablab.train.method import SOLO, Method
from ablab.train.run import Run
from ablab.train.run_state import RunState
from ablab.train.stack import Stack
from ablab.train.stopping import StopRule
from ablab.watching.config import WatchConfig


@dataclass(frozen=True)
class Training:
    """A stack that is ready to be trained.

    Attributes:
        stack: The stack.
        checkpointer: Where its checkpoints go.
        rules: Stop rules by run.
        losses: Losses since the last logged step, (K, R); None if it continues from a logged step.
        observers: Observers that capture tensors and record incidents.
        progress: Reports its progress to the queue.
    """

    stack: Stack
    checkpointer: StoreCheckpointer
    rules: dict[str, StopRule]
    losses: NDArray[np.float64] | None
    observers: list[Observer]
    progress: "_Progress"


def set_up(
    queue: StackQueue,
    owner: Owner,
    claim: Claim,
    group: Sequence[tuple[Run, RunState | None]],
    apart: str | None = None,
    waits: bool = False,
) -> Training | None:
    """Sets up a stack of runs that are at the same step.

    Args:
        queue: The queue from which the stack was claimed; progress is reported to it.
        owner: The owner of the runs' leases.
        claim: The claim that the runs belong to.
        group: The runs, each with the state it continues from; None for a new run.
        apart: Why a run is trained alone and eagerly, whatever was planned; None if it need not be.
        waits: Whether it trains eagerly, until another process has compiled its program.

    Returns:
        The stack, or None if stop rules have already ended all of its runs.

    Raises:
        PauseError: A pause was requested while a program was being compiled.
        ApartError: The runs have to be trained one at a time.
    """
    entered = time.perf_counter()
    apart = apart or claim.planned.apart
    rules, history = stop_rules(queue.store, queue.experiment, group)
    left = [(run, state) for run, state in group if run.id not in history.stopped]
    if not left:
        return None
    runs, states = [run for run, _ in left], [state for _, state in left]
    begun = [run for run, state in left if state is not None]
    before = list(last_methods(queue.store, begun).values())
    method, fallback = claim.planned.method, claim.planned.fallback
    if waits and fallback is not None:
        method, fallback = _of_several(fallback, len(left)), None
    if len(left) == 1 and method.vmapped and not method.compiled and method not in before:
        method = SOLO
    stack = Stack(
        runs, states, torch.device(queue.plan.device), SOLO if apart else method,
        replays=queue.plan.compiling != "off",
    )  # fmt: skip
    watch = runs[0].watch
    assert isinstance(watch, WatchConfig), "the runs of an experiment have a watch section"

    def collector(stack: Stack) -> StatisticsCollector | None:
        return make_collector(stack, watch)

    def verified() -> Verified:
        # Compiling takes up to a minute.
        with doing("verifying the method"), immediate_pause():
            return verify(stack, fallback, queue.report, collector)

    found = verified() if apart is None else Verified(fallback=apart)
    if not waits:
        _report_change(queue, stack, before, found)
    stack.collector = collector(stack)
    stack.narrowed = lambda: _verify_narrowed(stack, queue.report)
    observers = make_observers(stack, watch, queue.store, queue.report)
    progress = _Progress(queue, claim.number, stack, entered, waits)
    usage, waiting = Usage(stack.device), {UNTIL_COMPILED: True} if waits else {}
    checkpointer = StoreCheckpointer(
        queue.store, owner, queue.experiment,
        _facts(stack, queue.plan.device, watch) | waiting | found.facts(),
        progress.note, usage.facts,
    )  # fmt: skip
    checkpointer.started(stack.step)
    return Training(stack, checkpointer, rules, history.losses(runs), observers, progress)


def _verify_narrowed(stack: Stack, report: Report) -> None:
    """Verifies the program of a stack that has become narrower.

    Raises:
        ApartError: It disagrees with the eager method; the runs have just been saved.
    """
    if not stack.method.compiled or not stack.method.vmapped:
        return  # what one call computes does not depend on the width
    found = verify(stack, None, report)
    if found.fallback is not None:
        raise ApartError(found.fallback)


def _report_change(
    queue: StackQueue, stack: Stack, before: Sequence[Method], found: Verified
) -> None:
    """Says in one line that runs continue by another method than the one that they began with."""
    others = [method for method in dict.fromkeys(before) if method != stack.method]
    if not others or found.fallback is not None:  # which has been said already
        return
    earlier = " or ".join(method.title for method in others)
    text = f"from step {stack.step} on by {stack.method.title}, before by {earlier}"
    queue.report(
        {
            "event": "message",
            "about": f"{earlier} {stack.method.title}",
            "text": f"runs like {stack.runs[0].id} go on by another method: {text}",
        }
    )


def _of_several(method: Method, runs: int) -> Method:
    """An eager method for this many runs, one after the other if it trains only one."""
    alone = method.engine == "solo" and runs > 1
    return replace(method, engine="stack", rows=1) if alone else method


def _facts(stack: Stack, device: str, watch: WatchConfig) -> dict[str, Any]:
    """How the steps of a segment are trained, stored with each run."""
    return {
        "gradients": asdict(stack.method),
        "watch": {"every": watch.every, "statistics": list(watch.statistics)},
        "engine": stack.method.engine,
        "method": stack.method.title,
        "compiled": stack.method.compiled,
        **({"graphs": True} if stack.replays and stack.device.type == "cuda" else {}),
        "width": len(stack.runs),
        "device": device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "host": this_host(),
        "at": timestamp(),
    }


@dataclass
class _Progress:
    """Reports a stack's progress, and measures its pace in steps times runs.

    Attributes:
        queue: The queue that is reported to.
        number: The stack's number.
        stack: The stack.
        entered: When its setup began (``time.perf_counter``).
        waits: Whether it trains eagerly, until another process has compiled its program.
    """

    queue: StackQueue
    number: int
    stack: Stack
    entered: float
    waits: bool = False
    ids: list[str] = field(init=False)
    first: int = field(init=False)
    step: int = field(init=False)
    run_steps: int = 0
    began: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0
    evaluating: float = 0.0  # of these

    def __post_init__(self) -> None:
        self.ids = [run.id for run in self.stack.runs]
        self.first = self.step = self.stack.step

    def note(self, step: int, width: int, loss: float) -> None:
        """Reports progress; called at every logged step.

        Args:
            step: The step.
            width: The number of runs in the stack.
            loss: Their mean training loss.
        """
        self.run_steps += (step - self.step) * width
        self.step = step
        self.seconds = time.perf_counter() - self.began
        self.evaluating = self.stack.timings.seconds("evaluate")
        self.queue.report(
            {
                "event": "progress",
                "stack": self.number,
                "step": step,
                "runs": width,
                "loss": loss,
                "compiling": self.waits,
                "ids": [run.id for run in self.stack.runs],
            }
        )

    def done(self, finished: bool) -> None:
        """Reports the pace of the stack, and which of its runs have ended.

        The pace beside a compiler says nothing about other times.
        """
        if not self.waits:
            self._report_pace()
        left = [] if finished else [run.id for run in self.stack.runs]
        ended = [run for run in self.ids if run not in left]
        if ended:  # if it is not finished, those that diverged or that a stop rule ended
            self.queue.report({"event": "ended", "ids": ended})

    def _report_pace(self) -> None:
        timings, compiling = self.stack.timings, self.stack.compile_seconds
        evaluated = timings.seconds("evaluate")
        whole = time.perf_counter() - self.entered
        width = self.run_steps / max(1, self.step - self.first)  # on average
        evaluations = timings.count("evaluate") * width
        self.queue.report(
            {
                "event": "pace",
                "stack": self.number,
                "run": self.ids[0],
                "runs": len(self.ids),
                "method": asdict(self.stack.method),
                "run_steps": self.run_steps,
                "seconds": self.seconds - self.evaluating,
                "compile_seconds": compiling,
                "evaluation_seconds": evaluated / evaluations if evaluations else 0.0,
                "setup_seconds": whole - compiling - evaluated - (self.seconds - self.evaluating),
            }
        )
