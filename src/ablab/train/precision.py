"""How matrix products in float32 are computed on CUDA."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def set_products(device: torch.device, precision: str) -> None:
    """Lets products in float32 use TensorFloat-32 where that is the precision, and only there.

    This is a setting of the process, which trains one stack at a time; it matters on CUDA only.

    Args:
        device: Where the products are computed.
        precision: A value of ``train.precision``.
    """
    if device.type == "cuda":
        torch.backends.cuda.matmul.fp32_precision = "tf32" if precision == "tf32" else "ieee"


@contextmanager
def products_during(device: torch.device, precision: str, after: str) -> Iterator[None]:
    """Computes products in one precision, and then in another one; see :func:`set_products`."""
    set_products(device, precision)
    try:
        yield
    finally:
        set_products(device, after)
