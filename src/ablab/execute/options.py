"""The user's options for running an experiment. They change results by no more than rounding.

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
    """How to run an experiment.

    Attributes:
        engine: ``solo`` trains one run at a time, ``stack`` trains runs of equal shape together.
        device: Where tensors live.
        workers: The number of processes; None lets the plan decide.
        retry: Whether to train failed and diverged runs again.
        compiling: Whether to compile steps; ``auto`` compiles if it pays off.
        executor: The name or import path of an executor; ``auto`` trains in this process if there
            is one worker, and in worker processes if there are several.
        break_leases: Whether to take the runs that other processes have leased. They discard the
            steps since their last checkpoint.
        address: Where the executor finds its machines, such as the address of a Ray cluster; None
            lets it look by itself.
        until: The step to which runs are trained for now, as by halving; None for their last step.
        where: Cells of the grid, as after ``where`` in an expectation; only runs in any of them are
            trained now. Without cells, all are.
        threads: Threads per process; None gives each an equal share of this machine's processors.

    Raises:
        InputError: An option has an invalid value.
    """

    engine: Engine = "auto"
    device: DeviceName = "auto"
    workers: int | None = None
    retry: bool = False
    compiling: Compiling = "auto"
    executor: str = "auto"
    break_leases: bool = False
    address: str | None = None
    threads: int | None = None
    until: int | None = None
    where: tuple[str, ...] = ()

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
        if self.address is not None and self.executor in ("auto", "in_process", "worker_processes"):
            raise InputError(
                Problem(
                    "address is that of a cluster, and runs train on this machine",
                    "address",
                    given=self.address,
                    expected="the executor ray (--executor ray), or no address",
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

    @property
    def replays(self) -> bool:
        """Whether steps may be replayed as CUDA graphs."""
        return self.compiling != "off"


def cpu_count() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_each(workers: int) -> int:
    """Threads per process: an equal share of the processors, at most ``OMP_NUM_THREADS``."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    share = max(1, cpu_count() // workers)
    return min(share, int(limit)) if limit.isdigit() and int(limit) else share
