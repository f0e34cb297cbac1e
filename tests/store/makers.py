"""Stores with a trained experiment, for tests."""

from pathlib import Path
from typing import Any

import ablab
from ablab.api import Result


def train(asked: dict[str, Any], store: Path, *overrides: str, **options: Any) -> Result:
    """Trains an experiment in this process without a word."""
    return ablab.run(
        ablab.experiment(asked, *overrides), store=store, quiet=True, **{"workers": 1} | options
    )
