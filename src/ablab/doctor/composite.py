"""Opens composite functions of torch, so that a torch function mode sees the calls in them.

``F.multi_head_attention_forward`` asks ``has_torch_function`` first, and hands itself to the mode
as one call. A copy of it, in which the question is answered with no, makes the same calls one by
one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import FunctionType
from typing import Any

import torch
from torch.nn import functional as F

OPENED = frozenset((F.multi_head_attention_forward,))


@lru_cache
def opened(function: Callable[..., Any]) -> Callable[..., Any]:
    """A copy of a function of torch that does not hand itself to torch function modes.

    Returns:
        The copy, or the function itself if it is not written in Python.
    """
    if not isinstance(function, FunctionType):
        return function
    names = function.__globals__ | {"has_torch_function": lambda tensors: False}
    copy = FunctionType(function.__code__, names, function.__name__, function.__defaults__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


@contextmanager
def without_fused_layers() -> Iterator[None]:
    """Turns off the fused path of torch's attention and encoder layers in evaluation mode.

    On it a layer is one operation, which also skips what padding hides. Can also decorate a
    function.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
