"""What determines the speed of this machine: its hardware, and what else it is doing."""

import hashlib
import platform
from pathlib import Path

import psutil
import torch

from ablab.execute.options import cpu_count

# Increment it if a change of ablab makes steps faster or slower, or changes the cost model, whose
# estimates of other steps are corrected by what was measured.
_STEP_VERSION = 4
_BUSY = 1.5  # a lower slowdown is not said: the load includes this process and what has just ended


def busy_slowdown(threads: int) -> float:
    """How many times as long computing takes because of other processes; 1.0 on an idle machine.

    Args:
        threads: The number of threads that will compute.
    """
    others = max(0.0, psutil.getloadavg()[0] - 1)  # of the last minute, without this process
    found = (others + threads) / max(threads, cpu_count())
    return found if found >= _BUSY else 1.0


def machine_digest() -> str:
    """A short digest of what determines speed: host, processor, cores, GPU and torch version."""
    processor = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    except OSError:
        pass
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    parts = [
        platform.node(),
        processor,
        str(cpu_count()),
        torch.__version__,
        gpu,
        str(_STEP_VERSION),
    ]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:12]
