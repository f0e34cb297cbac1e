"""What the parts of benchmarks/gpu.py share: sizes, timing, runs."""

import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
Row = dict[str, Any]


class Settings:
    """Sizes and helpers for a device.

    Args:
        device: ``cuda`` or ``cpu``; the latter has small sizes.
    """

    def __init__(self, device: str) -> None:
        import torch

        self.device = torch.device(device)
        self.cuda = device == "cuda"
        self.seconds, self.rounds = (1.0, 3) if self.cuda else (0.2, 1)
        if self.cuda:
            sys.setswitchinterval(0.2e-3)  # as where ablab trains

    def pick(self, large: Any, small: Any) -> Any:
        """A size on a CUDA device, or on a CPU."""
        return large if self.cuda else small

    def synchronize(self) -> None:
        """Waits until the device has finished."""
        if self.cuda:
            import torch

            torch.cuda.synchronize()

    def rate(self, advance: Callable[[int], object], block: int = 10) -> float:
        """Calls of ``advance(block)`` for some seconds; steps per second."""
        self.synchronize()
        steps, began = 0, time.perf_counter()
        while not steps or time.perf_counter() - began < self.seconds:
            advance(block)
            self.synchronize()
            steps += block
        return steps / (time.perf_counter() - began)

    def milliseconds(self, call: Callable[[], object]) -> float:
        """The median time of a call, after one that does not count."""
        call()
        times = []
        for _ in range(3 * self.rounds):
            self.synchronize()
            began = time.perf_counter()
            call()
            self.synchronize()
            times.append(time.perf_counter() - began)
        return 1e3 * median(times)


def tried(row: Row, measure: Callable[[], Row]) -> Iterator[Row]:
    """A row with what is measured, or with the traceback."""
    try:
        row.update(measure())
    except Exception:
        row["failed"] = traceback.format_exc()
    yield row


def runs_of(recipe: str, width: int, count: int) -> Any:
    from ablab.experiments import experiment

    if recipe == "addition":
        own = ["task.target=all", "train.batch_size=512", f"model.n_heads={1 if width == 8 else 4}"]
    else:
        own = ["task.p=113", "train.loss.dtype=float32", "size=quick", "analyze=[]"]
    return experiment(recipe, *own, f"model.d_model={width}", f"seeds={count}").runs
