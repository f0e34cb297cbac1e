"""Memory that stays with the process once it has been used."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of GNU libc's malloc.h


def retain_freed_memory() -> None:
    """Has the C library keep what is freed for the next allocation.

    By default every large tensor is mapped and unmapped anew, and each of its pages is zeroed by
    the kernel at its first use. Does nothing where the C library is not GNU's.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


def release_freed_memory() -> None:
    """Returns what was freed to the system, for whoever needs it next."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
