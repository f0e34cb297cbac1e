"""What training takes of the machine: memory at its peak, and how busy processors were."""

import sys
import time
from typing import Any

import psutil
import torch


class Usage:
    """Watches this process from now on.

    Args:
        device: Where it trains.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._began = time.perf_counter()
        self._busy = time.process_time()
        self._gpu_shares: list[float] = []
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def facts(self) -> dict[str, Any]:
        """The peak of ``memory`` in bytes, and the mean ``load``.

        On a CPU the memory is the process's, which may have trained other runs before; on CUDA it
        is the device's, since this began. ``load`` holds under ``cpu`` how many cores were busy on
        average, and under ``gpu`` the device's share of time at work, where NVIDIA's management
        library for Python is there to ask.
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
    """The most memory that this process had resident so far, in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource  # which Windows has not

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _gpu_share(device: torch.device) -> float | None:
    try:
        return torch.cuda.utilization(device) / 100
    except (ImportError, RuntimeError):
        return None
