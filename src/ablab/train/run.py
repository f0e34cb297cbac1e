"""A run as training sees it. Does not import torch."""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ablab.config import Config, SourceDigest
from ablab.config.shown import Displayed, Shown
from ablab.config.source_digest import found_sources
from ablab.model.config import ModelConfig
from ablab.tasks.config import TaskConfig
from ablab.train.config import TrainConfig
from ablab.train.log_steps import Every

# Settings that may differ between the runs of a stack.
_PER_RUN = ("lr", "weight_decay", "betas", "eps", "momentum", "schedule")


@dataclass(frozen=True, repr=False)
class Run(Displayed):
    """One variant with one seed.

    Attributes:
        id: The run's id, a digest of everything that affects its trajectory.
        task: The settings of the task.
        model: The settings of the model.
        train: The settings of training.
        seed: The seed.
        log_every: Steps from one logged row to the next, or ``log``.
        watch: The ``watch`` section. Training does not use it and only passes it on.
        former_id: The id that earlier releases gave it, if that is another one.
        sources: The digests of the source of users' components.
    """

    id: str
    task: TaskConfig
    model: ModelConfig
    train: TrainConfig
    seed: int
    log_every: Every = 10
    watch: Config | None = None
    former_id: str | None = None
    sources: tuple[SourceDigest, ...] = ()

    def shown(self) -> Shown:
        """The seed, the parts, and the training."""
        train = self.train
        length = f"{train.steps:,} steps of {train.batch_size} samples"
        parts = f"{self.task.kind}, {self.model.kind}, {train.optimizer}"
        return Shown(f"run {self.id}, seed {self.seed}", [f"{parts}: {length}"])

    @cached_property
    def stack_key(self) -> str:
        """Identifies tensor shapes and operations; runs with equal keys can be stacked."""
        train = self.train.model_dump(mode="json", exclude=set(_PER_RUN))
        train["clip_norm"] = self.train.clip_norm is not None
        optimizer = self.train.optimizer_config
        train["optimizer"] = optimizer.stack_settings
        parts: list[Any] = [self.task.identity(), self.model.identity(), train, self.log_every]
        parts.append(None if self.watch is None else self.watch.model_dump(mode="json"))
        if not optimizer.stackable:
            parts.append(self.id)  # it trains alone
        # Many runs have the same key, which they share in memory.
        return sys.intern(json.dumps(parts, sort_keys=True))

    @property
    def program_key(self) -> str:
        """Identifies the loss as a function of parameters and batch; equal keys share programs."""
        return json.dumps(self._program_parts, sort_keys=True)

    @property
    def program_is_shipped(self) -> bool:
        """Whether the key identifies that function in other processes: it has no user's code."""
        return not any(found_sources(self._program_parts))

    @property
    def _program_parts(self) -> list[Any]:
        train = self.train
        loss = train.loss.identity()
        return [self.task.identity(), self.model.identity(), train.precision, loss]


def by_stack_key(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Runs by their :attr:`Run.stack_key`, in order.

    The key of runs that share their settings, as the seeds of a variant do, is computed once.
    """
    known: dict[tuple[object, ...], str | None] = {}
    groups: dict[str, list[Run]] = {}
    for run in runs:
        settings = (id(run.task), id(run.model), id(run.train), id(run.watch), run.log_every)
        if settings not in known:
            shared = run.train.optimizer_config.stackable  # otherwise the key contains the id
            known[settings] = run.stack_key if shared else None
        groups.setdefault(known[settings] or run.stack_key, []).append(run)
    return groups
