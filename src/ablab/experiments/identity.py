"""The id of a run: SHA-256 of all settings that affect its training."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from ablab.config.source_digest import SourceDigest, found_sources
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
) -> Iterator[tuple[str, str | None, tuple[SourceDigest, ...]]]:
    """Each run's id, the one that earlier releases gave it if that is another, and users' sources.

    Earlier releases knew a user's code by the hash of its file. Where that was the file of another
    module, it says nothing about the run, and there is no such id.

    Args:
        task: The settings of the task.
        model: The settings of the model.
        train: The settings of training.
        seeds: The seeds of the runs. What they have in common is computed once.
    """
    if not seeds:
        return
    shape = trajectory(task, model, train, seeds[0])
    sources = tuple(found_sources(shape))
    formerly = None
    if sources and all(source.former for source in sources):
        formerly = _formerly(shape)
    for seed in seeds:
        former = None if formerly is None else digest(formerly | {"seed": seed})[:12]
        yield digest(shape | {"seed": seed})[:12], former, sources


def _formerly(data: Any) -> Any:
    """Plain data with the digests of source that earlier releases used."""
    if isinstance(data, SourceDigest):
        return data.former
    if isinstance(data, dict):
        return {key: _formerly(value) for key, value in data.items()}
    return [_formerly(value) for value in data] if isinstance(data, list) else data


def digest(data: Any) -> str:
    """SHA-256 of plain data as canonical JSON (sorted keys, no spaces), hexadecimal."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
