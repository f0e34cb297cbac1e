"""A run's id: SHA-256 over what shapes its trajectory."""

import hashlib
import json
from typing import Any

from ablab.model.config import ModelConfig
from ablab.tasks.config import TaskConfig
from ablab.train.config import TrainConfig

# Raised when a change makes runs of a configuration come out differently, by more than rounding.
NUMERICS_VERSION = 1


def trajectory(
    task: TaskConfig, model: ModelConfig, train: TrainConfig, seed: int
) -> dict[str, Any]:
    """All that shapes a run, as plain data."""
    result = {
        "numerics": NUMERICS_VERSION,
        "task": task.identity(),
        "model": model.identity(),
        "train": train.identity(),
        "seed": seed,
    }
    if train.optimizer_config.went_by_names and ":" in model.kind:
        result["roles"] = 1  # runs of another's module, whose names said other things, are others
    return result


def run_id(task: TaskConfig, model: ModelConfig, train: TrainConfig, seed: int) -> str:
    """The first 12 hexadecimal digits of the trajectory's digest."""
    return digest(trajectory(task, model, train, seed))[:12]


def digest(data: Any) -> str:
    """SHA-256 of plain data in canonical JSON (sorted keys, no spaces), hexadecimal."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
