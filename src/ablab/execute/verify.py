"""Verifies a stack's method before it trains: it must compile, agree with the eager one, and pay.

Losses and gradients are compared with those of each run alone, computed eagerly in the usual layout
(:mod:`ablab.train.comparison`). A method that differs by more than rounding does not train: an
eager one does, the user is told, and the reason is stored with the run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ablab.train.collector import StatisticsCollector
from ablab.train.comparison import Comparison, Reference
from ablab.train.compiling import CompileError
from ablab.train.innermost import NoRuleError
from ablab.train.method import SOLO, Method
from ablab.train.run import Run
from ablab.train.stack import Stack
from ablab.train.taps import TapReducer

_TIMINGS = 2  # of each method; the fastest counts
_MAX_SLOWDOWN = 1.1  # a compiled method that takes more than this times the eager time is replaced

Report = Callable[[dict[str, Any]], None]
MakeCollector = Callable[[Stack], StatisticsCollector | None]
Outcome = Comparison | str  # how far a method is from the eager one, or why it cannot be compared
_OUTCOMES: dict[Any, Outcome] = {}  # by program, of this process


class ApartError(Exception):
    """The runs of a stack have to be trained one at a time; the message is the reason."""


@dataclass(frozen=True)
class Verified:
    """How a stack's method was verified.

    Attributes:
        comparison: How far it is from the eager one; None if it is the eager one of a single run.
        fallback: Why another method than the planned one trains; None if the planned one does, or
            if an eager one is only faster.
        evaluation: Why runs are evaluated one at a time; None if they are not.
    """

    comparison: Comparison | None = None
    fallback: str | None = None
    evaluation: str | None = None

    def facts(self) -> dict[str, Any]:
        """What is stored with each run."""
        facts: dict[str, Any] = {}
        if self.comparison is not None:
            facts["verified"] = {
                name: getattr(self.comparison, name) for name in ("loss", "gradient", "tolerance")
            }
        reasons = {"fallback": self.fallback, "evaluation": self.evaluation}
        return facts | {name: reason for name, reason in reasons.items() if reason is not None}


def verify(
    stack: Stack,
    fallback: Method | None,
    report: Report,
    make_collector: MakeCollector = lambda stack: None,
) -> Verified:
    """Compiles a stack's program and verifies it; switches to another method if that fails.

    Args:
        stack: The stack. It computes some gradients; its state does not change.
        fallback: The best eager method; None if the user requested compiling, in which case speed
            does not matter.
        report: Called with a ``message`` event if another method has to train.
        make_collector: Collects the stack's statistics. A step with statistics is another program,
            so it is verified as well.

    Raises:
        ApartError: These runs can only be trained one at a time.
    """
    if stack.method == SOLO:
        return Verified()
    planned, eager, reason = stack.method, fallback or Method(stack.method.engine), None
    trial = _Trial(stack, make_collector)
    if stack.method.compiled:
        reason = _compiling_fails(stack) or trial.disagrees()
        if reason is not None:
            _use(stack, eager, reason)
    if not stack.method.compiled and stack.method != SOLO:
        again = trial.disagrees()
        if again is not None:
            reason = reason or again
            _use(stack, SOLO, reason)
    if stack.method.compiled and fallback is not None:
        _use_the_faster(stack, fallback, trial)
    evaluation = trial.evaluates_apart()
    if evaluation is not None:
        stack.evaluates_together = False
    stack.renew()
    if reason is not None:
        report(_message(stack, planned, f"{reason}; training by {stack.method.title} instead"))
    if evaluation is not None:
        report(_message(stack, planned, f"{evaluation}; evaluating one run at a time instead"))
    return Verified(trial.comparison, reason, evaluation)


def _message(stack: Stack, planned: Method, text: str) -> dict[str, Any]:
    """An event that is shown once for all stacks alike."""
    about = f"{stack.runs[0].program_key} {planned.title} {stack.method.title}"
    return {"event": "message", "about": about, "text": f"runs like {stack.runs[0].id}: {text}"}


def _use(stack: Stack, method: Method, reason: str) -> None:
    """Switches to an eager method.

    Raises:
        ApartError: It trains one run, and the stack has several.
    """
    if method.engine == "solo" and len(stack.runs) != 1:
        raise ApartError(reason)
    stack.use(method)


def _compiling_fails(stack: Stack) -> str | None:
    """Why a stack cannot be compiled; switches to the usual layout if only that one can be."""
    title = stack.method.title
    try:
        stack.time_gradient()
        return None
    except (CompileError, NoRuleError) as error:
        reason = f"{title} cannot be compiled: {error}"
    except Exception as error:  # the program itself; if it is the model, eager training raises too
        reason = f"{title} fails: {_one_line(error)} (torch {torch.__version__})"
    if stack.method.layout == "innermost":
        stack.use(replace(stack.method, layout="usual"))
        if _compiling_fails(stack) is None:
            return None
    return reason


def _use_the_faster(stack: Stack, fallback: Method, trial: "_Trial") -> None:
    """Switches to the eager fallback if it is faster than the compiled method, and agrees."""
    if fallback.engine == "solo" and len(stack.runs) != 1:
        return
    planned, verified = stack.method, trial.comparison
    compiled = min(stack.time_gradient() for _ in range(_TIMINGS))
    stack.use(fallback)
    eager = min(stack.time_gradient() for _ in range(_TIMINGS))
    if compiled <= _MAX_SLOWDOWN * eager or (fallback != SOLO and trial.disagrees() is not None):
        stack.use(planned)
        trial.comparison = verified
    elif fallback == SOLO:
        trial.comparison = None


def try_method(runs: Sequence[Run], method: Method, device: torch.device) -> Outcome:
    """Compares a method with eager training of each run alone; trains nothing.

    Raises:
        Exception: What the model raises when it is trained alone.
    """
    stack = Stack(runs, None, device, method)
    reference = Reference(stack)
    return _compared(reference, None)


def _compared(reference: Reference, tap_reducer: TapReducer | None) -> Outcome:
    if not reference.repeatable.agrees:  # raises what the model raises
        return (
            "two passes over the same batch differ, so the model carries state from one pass "
            f"to the next ({reference.repeatable})"
        )
    try:
        return reference.compare(tap_reducer)
    except Exception as error:  # what a user's model raises under this method
        return _one_line(error)


def _one_line(error: Exception) -> str:
    """An error in one line; raises it if memory is full, since half of the runs may fit."""
    if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
        raise error
    return f"{type(error).__name__}: {error}".splitlines()[0]


class _Trial:
    """Compares methods of a stack with the eager one of each run alone.

    Attributes:
        comparison: The last comparison in which a method agreed.
    """

    def __init__(self, stack: Stack, make_collector: MakeCollector) -> None:
        self._stack, self._make_collector = stack, make_collector
        self._reference = Reference(stack)
        self.comparison: Comparison | None = None

    def disagrees(self) -> str | None:
        """Why the stack's method must not train; None if it agrees with the eager one."""
        stack = self._stack
        self.comparison = None
        found = [self._outcome(None)]
        collector = self._make_collector(stack) if _agrees(found[0]) else None
        if collector is not None:  # the last step is always watched
            tap_reducer = collector.tap_reducer(stack.config.steps)
            found += [] if tap_reducer is None else [self._outcome(tap_reducer)]
        last = found[-1]
        if isinstance(last, str):
            return f"{stack.method.title} fails: {last}"
        if not last.agrees:
            what = "differs from eager training of each run alone"
            return f"{stack.method.title} {what}: {last} (torch {torch.__version__})"
        self.comparison = found[0] if isinstance(found[0], Comparison) else None
        return None

    def _outcome(self, tap_reducer: TapReducer | None) -> Outcome:
        """The outcome for the stack's program; computed once per process."""
        stack = self._stack
        method, count = stack.method, len(stack.runs)
        # A compiled program has a fixed number of rows; eagerly, only one run is another matter.
        rows = (method.rows or count) if method.compiled else min(count, 2)
        key = (
            stack.program_key, stack.config.batch_size, method, rows, str(stack.device),
            torch.get_num_threads(), None if tap_reducer is None else tap_reducer.key,
        )  # fmt: skip
        if key not in _OUTCOMES:
            _OUTCOMES[key] = _compared(self._reference, tap_reducer)
        return _OUTCOMES[key]

    def evaluates_apart(self) -> str | None:
        """Why the runs must be evaluated one at a time; None if they need not be."""
        stack = self._stack
        if not stack.evaluates_together:
            return None
        try:
            found = self._reference.evaluation()
        except Exception as error:
            return f"evaluation fails: {_one_line(error)}"
        return None if found.agrees else f"evaluation differs: {found}"


def _agrees(outcome: Outcome) -> bool:
    return isinstance(outcome, Comparison) and outcome.agrees
