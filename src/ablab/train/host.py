"""Transfers from device to host, through one function so that they can be counted; waiting."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def finish(device: torch.device) -> None:
    """Waits until an asynchronous device has done all that it was given; for timings."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def to_host(tensor: Tensor) -> NDArray[Any]:
    """Copies a tensor to the host as float64; on a GPU, this waits for all previous work."""
    return tensor.cpu().numpy().astype(np.float64)


def move_step(
    losses: Sequence[Tensor], norms: Tensor, numbers: Tensor | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
    """Moves losses (K, R), norms (R,) and statistics (R, S) to the host in one transfer."""
    count, runs = len(losses), len(norms)
    flat = [torch.stack(list(losses)).reshape(-1), norms]
    flat += [] if numbers is None else [numbers.reshape(-1)]
    moved = to_host(torch.cat(flat))
    watched = None if numbers is None else moved[(count + 1) * runs :].reshape(runs, -1)
    return moved[: count * runs].reshape(count, runs), moved[count * runs :][:runs], watched
