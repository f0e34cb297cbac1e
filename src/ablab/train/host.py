"""The one way from the device to the host, so that transfers can be counted."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def to_host(tensor: Tensor) -> NDArray[Any]:
    """A tensor's values as float64 on the host; on a GPU this waits for all work before it."""
    return tensor.cpu().numpy().astype(np.float64)
