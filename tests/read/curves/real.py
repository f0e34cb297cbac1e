"""The curves of ``said/``."""

from pathlib import Path

import numpy as np
import polars as pl

HERE = Path(__file__).parent / "said"


def real(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The steps and values of a curve, (n,)."""
    frame = pl.read_parquet(HERE / f"{name}.parquet")
    return frame["step"].to_numpy(), frame["value"].cast(pl.Float64).to_numpy()
