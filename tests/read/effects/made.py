"""Grids with values of our making."""

import itertools
from collections.abc import Callable

import polars as pl


def grid(
    axes: dict[str, list], seeds: int, value: Callable[..., float | None], first_seed: int = 0
) -> pl.DataFrame:
    """A row for each run; ``value`` takes the cell's values and the seed."""
    rows = [
        (*cell, seed, value(*cell, seed))
        for cell in itertools.product(*axes.values())
        for seed in range(first_seed, first_seed + seeds)
    ]
    columns = list(zip(*rows, strict=True))
    frame = pl.DataFrame({key: list(column) for key, column in zip(axes, columns, strict=False)})
    return frame.with_columns(
        pl.Series("seed", columns[-2]), pl.Series("value", columns[-1], pl.Float64, strict=False)
    )
