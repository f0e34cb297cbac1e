"""Recording on a CPU, which has no graphs: operations and the tensors that they read and write."""

from collections.abc import Callable
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ablab.train.cuda_graphs import Recording, RefusedError

# What waits for the device, takes values from Python, or has a shape that depends on values.
FORBIDDEN = (
    "_local_scalar_dense", "lift_fresh", "nonzero", "masked_select", "_unique", "unique_dim",
    "is_nonzero", "equal", "item", "pin_memory", "normal_", "uniform_", "bernoulli_", "randn",
    "rand", "randint", "randperm",
)  # fmt: skip


class Tape(TorchDispatchMode):
    """Records operations with their tensors, as a graph has kernels and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.overwritten: list[tuple[Tensor, Tensor]] = []
        self.operations: list[Callable[[], None]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, kwargs = func._schema.name.removeprefix("aten::"), kwargs or {}
        if name in FORBIDDEN:
            raise RefusedError(f"operation not permitted when stream is capturing: {name}")
        for place, argument in enumerate(func._schema.arguments):
            info = argument.alias_info
            given = args[place] if place < len(args) else kwargs.get(argument.name)
            if info is not None and info.is_write and isinstance(given, Tensor):
                self.overwritten.append((given, given.clone()))
        found = func(*args, **kwargs)
        fresh = not any(each.alias_info for each in func._schema.returns)
        places = [each for each in tree_leaves(found) if fresh and isinstance(each, Tensor)]

        def again() -> None:
            values = [each for each in tree_leaves(func(*args, **kwargs)) if fresh]
            for place, value in zip(places, filter(torch.is_tensor, values), strict=True):
                place.copy_(value)

        self.operations.append(again)
        return found


@contextmanager
def undone():
    """A tape; in the end, what was overwritten is as before."""
    tape = Tape()
    try:
        with tape:
            yield tape
    finally:
        for tensor, value in reversed(tape.overwritten):
            tensor.data.copy_(value)


RELEASED: list[Recording] = []


def record(call: Callable[[], tuple[Tensor, ...]]) -> Recording:
    """Like ``CudaRecorder``: nothing has happened until it is replayed."""
    with undone() as tape:
        results = call()

    @torch.no_grad()
    def replay() -> None:
        for operation in tape.operations:
            operation()

    recording = Recording(results, replay, lambda: RELEASED.append(recording))
    return recording
