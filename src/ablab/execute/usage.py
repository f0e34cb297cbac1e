"""Resource usage of training: peak memory, and average load of processors and GPU."""

import sys
import time
from typing import Any

import psutil
import torch


class Usage:
    """Measures this process from its creation on.

    Args:
        device: The device on which it trains.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._began = time.perf_counter()
        self._busy = time.process_time()
        self._gpu_shares: list[float] = []
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def facts(self) -> dict[str, Any]:
        """Peak ``memory`` in bytes and mean ``load``, to be stored with a run.

        On a CPU, the memory is that of the process, which may have trained other runs before. On
        CUDA, it is the memory allocated on the device since this object was created. ``load`` has
        the average number of busy cores (``cpu``) and, if NVIDIA's management library for Python
        is installed, the fraction of time that the GPU was busy (``gpu``).
        """
        elapsed = max(time.perf_counter() - self._began, 1e-9)
        load = {"cpu": (time.process_time() - self._busy) / elapsed}
        if self._device.type != "cuda":
            return {"memory": peak_memory(), "load": load}
        share = _gpu_share(self._device)
        if share is not None:
            self._gpu_shares.append(share)
        if self._gpu_shares:
            load["gpu"] = sum(self._gpu_shares) / len(self._gpu_shares)
        return {"memory": torch.cuda.max_memory_allocated(self._device), "load": load}


def peak_memory() -> int:
    """The peak resident memory of this process in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource  # not available on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _gpu_share(device: torch.device) -> float | None:
    try:
        return torch.cuda.utilization(device) / 100
    except (ImportError, RuntimeError):
        return None
