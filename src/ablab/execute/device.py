"""Finding the device that tensors live on, and its memory."""

import os

import psutil
import torch

from ablab.config import InputError, Problem
from ablab.execute.options import DeviceName


def find_device(name: DeviceName) -> torch.device:
    """The device of that name; ``auto`` is CUDA if it is available and the CPU otherwise.

    Raises:
        InputError: This machine has no such device.
    """
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        return torch.device("cuda" if available["cuda"] else "cpu")
    if not available.get(name):
        raise InputError(
            Problem(
                f"no {name} device is available",
                "device",
                given=name,
                expected="one of auto, " + ", ".join(each for each in available if available[each]),
            )
        )
    return torch.device(name)


def device_count(device: torch.device) -> int:
    """The number of devices of this kind that the process may use; each worker uses one."""
    return max(1, torch.cuda.device_count()) if device.type == "cuda" else 1


def visible_device(number: int) -> dict[str, str]:
    """Environment variables that limit a worker to one of several GPUs; empty with fewer than two.

    Args:
        number: The worker's number, from 0.
    """
    count = torch.cuda.device_count()
    if count < 2:
        return {}
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = shown.split(",") if shown else [str(each) for each in range(count)]
    return {"CUDA_VISIBLE_DEVICES": names[number % count]}


def device_memory(device: torch.device) -> int:
    """The device's memory in bytes."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return psutil.virtual_memory().total


def free_memory(device: torch.device) -> int:
    """The device's memory that nobody uses, in bytes; that of this machine if it has no such."""
    if device.type == "cuda" and torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    return psutil.virtual_memory().available
