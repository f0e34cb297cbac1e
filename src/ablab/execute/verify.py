"""Verifies a stack's method: it must compile, and must not be slower than the eager fallback."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ablab.train.compiling import CompileError
from ablab.train.innermost import NoRuleError
from ablab.train.method import Method
from ablab.train.stack import Stack

_TIMINGS = 2  # of each method; the fastest counts
_MAX_SLOWDOWN = 1.1  # a compiled method that takes more than this times the eager time is replaced


def verify(stack: Stack, fallback: Method | None, report: Callable[[dict[str, Any]], None]) -> None:
    """Compiles a stack's program, and switches to another method if that fails or is faster.

    Args:
        stack: The stack. It computes some gradients; its state does not change.
        fallback: The best eager method; None if the user requested compiling, in which case speed
            does not matter.
        report: Called with a ``message`` event if the stack cannot be compiled.
    """
    if not stack.method.compiled:
        return
    if not _compiles(stack, report):
        stack.use(fallback or Method(stack.method.engine))
        return
    if fallback is None or _is_unusable(stack, fallback):
        return
    planned = stack.method
    compiled = min(stack.time_gradient() for _ in range(_TIMINGS))
    stack.use(fallback)
    eager = min(stack.time_gradient() for _ in range(_TIMINGS))
    if compiled <= _MAX_SLOWDOWN * eager:
        stack.use(planned)


def _is_unusable(stack: Stack, fallback: Method) -> bool:
    return fallback.engine == "solo" and len(stack.runs) != 1


def _compiles(stack: Stack, report: Callable[[dict[str, Any]], None]) -> bool:
    """Whether the method compiles; switches to the usual layout if only that one does."""
    try:
        stack.time_gradient()
        return True
    except (CompileError, NoRuleError) as error:
        reason = str(error)
    if stack.method.layout == "innermost":
        stack.use(replace(stack.method, layout="usual"))
        if _compiles(stack, lambda event: None):
            return True
    report({"event": "message", "text": f"run {stack.runs[0].id} cannot be compiled: {reason}"})
    return False
