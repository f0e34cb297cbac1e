"""Transfers from device to host, all through one function so that they can be counted."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def to_host(tensor: Tensor) -> NDArray[Any]:
    """Copies a tensor to the host as float64; on a GPU, this waits for all previous work."""
    return tensor.cpu().numpy().astype(np.float64)
