"""Keeps freed memory in the process, so that the next allocation is fast."""

import ctypes
import os
import sys
from contextlib import suppress
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # from glibc's malloc.h
# glibc's own: the number of mapped blocks, and the largest threshold that it chooses by itself.
_MMAP_MAX, _MMAP_THRESHOLD = 65536, 4 * 2**20 * ctypes.sizeof(ctypes.c_long)


class _Allocator:
    """Whether this process keeps freed memory. A process has one C library."""

    retains = False


def retains_freed_memory() -> bool:
    """Whether :func:`retain_freed_memory` is in effect."""
    return _Allocator.retains


def retain_freed_memory() -> None:
    """Makes the C library keep freed memory for later allocations.

    By default it maps and unmaps memory for every large tensor, and the kernel zeroes each page on
    first use. Does nothing if the C library is not glibc.
    """
    mallopt = _mallopt()
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
        _Allocator.retains = True


def restore_allocator() -> None:
    """Ends :func:`retain_freed_memory`, and returns what is free to the system.

    The C library cannot be asked for its settings, and stops to adjust them by itself once one has
    been set. So they become what its environment variables say, or else what it would have arrived
    at after a tensor of a few megabytes had been freed.
    """
    mallopt = _mallopt()
    if mallopt is None or not _Allocator.retains:
        return
    mallopt(_M_MMAP_MAX, _given("MALLOC_MMAP_MAX_", "mmap_max", _MMAP_MAX))
    threshold = _given("MALLOC_MMAP_THRESHOLD_", "mmap_threshold", _MMAP_THRESHOLD)
    mallopt(_M_MMAP_THRESHOLD, threshold)
    mallopt(_M_TRIM_THRESHOLD, _given("MALLOC_TRIM_THRESHOLD_", "trim_threshold", 2 * threshold))
    _Allocator.retains = False
    release_freed_memory()


def release_freed_memory() -> None:
    """Returns freed memory to the system, for other processes."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def _mallopt() -> Any:
    """The function of glibc; None in other C libraries."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "mallopt", None)


def _given(variable: str, tunable: str, default: int) -> int:
    """A setting of the allocator from the environment, in which the program was started."""
    found = dict(
        each.split("=", 1)
        for each in os.environ.get("GLIBC_TUNABLES", "").split(":")
        if "=" in each
    )
    with suppress(ValueError):
        return int(str(found.get(f"glibc.malloc.{tunable}", os.environ.get(variable, default))), 0)
    return default
