"""The id of a run: SHA-256 of all settings that affect its training."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from ablab.model.config import ModelConfig
from ablab.tasks.config import TaskConfig
from ablab.train.config import TrainConfig

# Increase this when a change alters the results of a configuration by more than rounding.
NUMERICS_VERSION = 1


def trajectory(
    task: TaskConfig, model: ModelConfig, train: TrainConfig, seed: int
) -> dict[str, Any]:
    """Everything that affects the training of a run, as plain data."""
    result = {
        "numerics": NUMERICS_VERSION,
        "task": task.identity(),
        "model": model.identity(),
        "train": train.identity(),
        "seed": seed,
    }
    if train.optimizer_config.formerly_used_names and ":" in model.kind:
        result["roles"] = 1  # earlier runs of a user's model may differ
    return result


def run_id(task: TaskConfig, model: ModelConfig, train: TrainConfig, seed: int) -> str:
    """The first 12 hexadecimal digits of the digest of the trajectory."""
    return digest(trajectory(task, model, train, seed))[:12]


def run_ids(
    task: TaskConfig, model: ModelConfig, train: TrainConfig, seeds: Sequence[int]
) -> Iterator[str]:
    """The ids of the runs with these seeds; what they have in common is computed once."""
    shared = trajectory(task, model, train, seeds[0]) if seeds else {}
    return (digest(shared | {"seed": seed})[:12] for seed in seeds)


def digest(data: Any) -> str:
    """SHA-256 of plain data as canonical JSON (sorted keys, no spaces), hexadecimal."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
