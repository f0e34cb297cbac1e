"""How an experiment is to be carried out; none of it changes what comes out beyond rounding.

Does not import torch.
"""

import os
from dataclasses import dataclass
from typing import Literal, get_args

from ablab.config import InputError, Problem, Variants, nearest

Engine = Literal["auto", "solo", "stack"]
Compiling = Literal["auto", "on", "off"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]
EXECUTORS = Variants("executor", "ablab.execute.executors")


@dataclass(frozen=True)
class Options:
    """Choices of the one who runs an experiment.

    Attributes:
        engine: ``solo`` trains one run after another, ``stack`` runs of equal shape together.
        device: Where tensors live.
        workers: Processes; None lets the plan choose.
        retry: Whether runs that failed or diverged are tried again.
        compiling: Whether steps are compiled; ``auto`` does so where it pays.
        executor: The name of an executor or an import path of one; ``auto`` is this process for
            one worker, and worker processes for several.
    """

    engine: Engine = "auto"
    device: DeviceName = "auto"
    workers: int | None = None
    retry: bool = False
    compiling: Compiling = "auto"
    executor: str = "auto"

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("engine", self.engine, get_args(Engine)),
            ("device", self.device, get_args(DeviceName)),
            ("compile", self.compiling, get_args(Compiling)),
            ("executor", self.executor.partition(":")[0], ("auto", *EXECUTORS.names())),
        ):
            if name == "executor" and ":" in self.executor:
                continue  # an import path
            if value not in allowed:
                raise InputError(
                    Problem(
                        f"there is no {name} {value!r}",
                        name,
                        given=value,
                        expected="one of " + ", ".join(allowed),
                        suggestion=nearest(value, allowed),
                    )
                )
        if self.workers is not None and not 1 <= self.workers <= 1024:
            raise InputError(
                Problem(
                    "workers has a wrong value",
                    "workers",
                    given=self.workers,
                    expected="a number from 1 to 1024",
                )
            )


def cpu_count() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_each(workers: int) -> int:
    """Threads of each of some processes: a share of the processors, OMP_NUM_THREADS at most."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    share = max(1, cpu_count() // workers)
    return min(share, int(limit)) if limit.isdigit() and int(limit) else share
