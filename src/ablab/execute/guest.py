"""Leaves the settings of a program that calls ablab as they were: a notebook, a user's script."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ablab.execute.memory import restore_allocator, retains_freed_memory

# Variables that ablab sets, and those that torch sets when it compiles.
_VARIABLES = ("TORCHINDUCTOR_", "_TORCHINDUCTOR_", "TRITON_", "KMP_DUPLICATE_LIB_OK")


@contextmanager
def as_guest() -> Iterator[None]:
    """Restores settings of the process at the end, also after an error.

    These are torch's threads, the precision of matrix products on GPUs (TF32), the C library's
    allocator, environment variables of torch's compiler, how often Python's threads take turns, and
    the limit of recursion, which torch raises when it compiles. Modules that are imported in
    between stay imported. Can also decorate a function.
    """
    threads, recursion = torch.get_num_threads(), sys.getrecursionlimit()
    turns = sys.getswitchinterval()
    precision = torch.backends.cuda.matmul.fp32_precision
    variables, retained = _variables(), retains_freed_memory()
    try:
        yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if torch.backends.cuda.matmul.fp32_precision != precision:
            torch.backends.cuda.matmul.fp32_precision = precision
        if not retained:
            restore_allocator()
        for name in _variables().keys() - variables.keys():
            del os.environ[name]
        os.environ.update(variables)
        sys.setrecursionlimit(recursion)
        sys.setswitchinterval(turns)


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)}
