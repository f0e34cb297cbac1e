"""What a program may have set before it calls ablab, and must find unchanged afterwards."""

import ctypes
import decimal
import gc
import locale
import logging
import os
import random
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
import torch

_BIG = 40 * 2**20  # bytes, above every threshold that the C library chooses by itself


class _MallocInfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
            "fordblks", "keepcost",
        )
    ]  # fmt: skip


def maps_large_blocks() -> bool | None:
    """Whether the allocator maps large blocks by themselves, so that freeing returns them."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return None
    library.mallinfo2.restype = _MallocInfo
    library.malloc.restype = ctypes.c_void_p
    library.malloc.argtypes = [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    before = library.mallinfo2()
    block = library.malloc(before.fordblks + _BIG)  # more than all that is free: none can hold it
    mapped = library.mallinfo2().hblks > before.hblks
    library.free(block)
    return mapped


def state() -> dict[str, Any]:
    """Everything that could have changed, by name."""
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    return {
        "allocator maps large blocks": maps_large_blocks(),
        "environment": dict(os.environ),
        "working directory": str(Path.cwd()),
        "umask": _umask(),
        "signals": {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)},
        "sys.path": list(sys.path),
        "sys.argv": list(sys.argv),
        "hooks": (sys.excepthook, sys.displayhook, threading.excepthook, sys.unraisablehook),
        "recursion limit": sys.getrecursionlimit(),
        "switch interval": sys.getswitchinterval(),
        "digits of int": sys.get_int_max_str_digits(),
        "gc": (gc.isenabled(), gc.get_threshold()),
        "warnings": [(each[0], each[1], each[2]) for each in warnings.filters],
        "locale": locale.setlocale(locale.LC_ALL),
        "decimal": str(decimal.getcontext()),
        "logging": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        "random": random.getstate(),
        "threads": torch.get_num_threads(),
        "interop threads": torch.get_num_interop_threads(),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "grad": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "anomaly": torch.is_anomaly_enabled(),
        "deterministic": (
            torch.are_deterministic_algorithms_enabled(),
            torch.get_deterministic_debug_mode(),
            cudnn.deterministic, cudnn.benchmark, cudnn.enabled,
        ),
        "tf32": (
            torch.backends.fp32_precision,
            cuda.matmul.fp32_precision,
            cudnn.fp32_precision, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision,
            torch.backends.mkldnn.matmul.fp32_precision,
        ),
        "reduced precision": (
            cuda.matmul.allow_fp16_reduced_precision_reduction,
            cuda.matmul.allow_bf16_reduced_precision_reduction,
        ),
        "attention kernels": (
            cuda.flash_sdp_enabled(), cuda.math_sdp_enabled(), cuda.mem_efficient_sdp_enabled(),
            cuda.cudnn_sdp_enabled(),
        ),
        "mkldnn": torch.backends.mkldnn.enabled,
        "autocast": (torch.is_autocast_enabled("cpu"), torch.is_autocast_cache_enabled()),
        "denormals": float(np.float32(1e-40) * np.float32(1)) != 0.0,
        "torch random": torch.get_rng_state().tolist(),
        "torch printing": str(torch._tensor_str.PRINT_OPTS),
        "numpy random": str(np.random.get_state()),
        "numpy errors": np.geterr(),
        "numpy printing": str(np.get_printoptions()),
        "polars": pl.Config.state(),
        "matplotlib": (dict(mpl.rcParams), mpl.get_backend()),
    }  # fmt: skip


def _umask() -> int:
    found = os.umask(0o22)
    os.umask(found)
    return found


def changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What differs, as (before, after) by name."""
    found = {}
    for name, value in before.items():
        now = after[name]
        if str(value) == str(now):
            continue
        if isinstance(value, dict):
            keys = sorted({*value, *now})
            found[name] = {
                k: (value.get(k), now.get(k)) for k in keys if value.get(k) != now.get(k)
            }
        else:
            found[name] = (value, now)
    return found
