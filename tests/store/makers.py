"""Stores with a trained experiment, for tests."""

from pathlib import Path
from typing import Any

import ablab
from ablab.api import Result

# Two runs whose rate rises too far, so that they go back to their best states.
WILD = {
    "name": "wild",
    "task": {"kind": "addition", "n_digits": 2, "target": "all"},
    "model": {"kind": "bigram"},
    "train": {
        "batch_size": 16, "loss": "mse", "optimizer": "sgd", "lr": 1000.0, "momentum": 0.5,
        "schedule": {"warmup": 60},
        "recover": {"every": 7, "above": 0.5, "at_most": 9, "lr_factor": 0.25},
    },
    "seeds": 2,
}  # fmt: skip


def train(asked: dict[str, Any], store: Path, *overrides: str, **options: Any) -> Result:
    """Trains an experiment in this process without a word."""
    return ablab.run(
        ablab.experiment(asked, *overrides), store=store, quiet=True, **{"workers": 1} | options
    )
