"""The last word on a stack's method: it must compile, and must not be slower than the eager one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ablab.train.compiling import CompileError
from ablab.train.innermost import NoRuleError
from ablab.train.method import Method
from ablab.train.stack import Stack

_REHEARSALS = 2
_SLOWER = 1.1  # times the eager method's time, from which on the compiled one is given up


def verify(stack: Stack, fallback: Method | None, tell: Callable[[dict[str, Any]], None]) -> None:
    """Compiles a stack's program, and puts another method in its place where that is better.

    Args:
        stack: The stack, which computes some gradients and is left as it was.
        fallback: The eager method that was next best; None where compiling was asked for, and
            speed is not to decide.
        tell: Told in a ``message`` where a method is given up for one that was not planned.
    """
    if not stack.method.compiled:
        return
    if not _compiles(stack, tell):
        stack.use(fallback or Method(stack.method.engine))
        return
    if fallback is None or _fallback_is_unfit(stack, fallback):
        return
    planned = stack.method
    compiled = min(stack.time_gradient() for _ in range(_REHEARSALS))
    stack.use(fallback)
    eager = min(stack.time_gradient() for _ in range(_REHEARSALS))
    if compiled <= _SLOWER * eager:
        stack.use(planned)


def _fallback_is_unfit(stack: Stack, fallback: Method) -> bool:
    return fallback.engine == "solo" and len(stack.runs) != 1


def _compiles(stack: Stack, tell: Callable[[dict[str, Any]], None]) -> bool:
    """Whether the stack's method compiles, or the same in the usual layout, which it has then."""
    try:
        stack.time_gradient()
        return True
    except (CompileError, NoRuleError) as error:
        reason = str(error)
    if stack.method.layout == "innermost":
        stack.use(replace(stack.method, layout="usual"))
        if _compiles(stack, lambda event: None):
            return True
    tell({"event": "message", "text": f"{stack.runs[0].id} is not compiled: {reason}"})
    return False
