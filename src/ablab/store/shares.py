"""Shares: the rows of one run in a metrics part, each with a digest of its values.

A part holds the rows of many runs. If it is damaged, the digests say which runs are, and which rows
are still what was written. The digest depends on the values only, not on the file around them, so
it stays the same if parts are merged.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl

KEYS = ("run", "step")
_LOSS = "train_loss"


@dataclass(frozen=True)
class Share:
    """A run's rows in a metrics part.

    Attributes:
        run: The run's id.
        rows: The number of rows.
        first: The first step.
        last: The last step.
        losses: The number of training losses: 0 if a replay added these rows.
        digest: SHA-256 of the values, hexadecimal.
    """

    run: str
    rows: int
    first: int
    last: int
    losses: int
    digest: str


def shares(frame: pl.DataFrame) -> list[Share]:
    """The shares of a part's rows, in the order of the runs' ids.

    Numbers are hashed as 64-bit floats, which hold every value that is logged exactly; a column
    without values in a share does not count.
    """
    frame = frame.sort(KEYS)
    names = sorted(name for name in frame.columns if name not in KEYS)
    texts = [name for name in names if frame[name].dtype == pl.String]
    numbers = [name for name in names if name not in texts]
    table = frame.select(pl.col(numbers).cast(pl.Float64))
    valid = ~frame.select(pl.col(numbers).is_null()).to_numpy() if numbers else None
    values = table.fill_null(0.0).to_numpy() if numbers else None
    steps = frame["step"].cast(pl.Int64).to_numpy()
    losses = frame[_LOSS].is_not_null().to_numpy() if _LOSS in numbers else np.zeros(len(steps))
    found, begin = [], 0
    for run, rows in frame.group_by("run", maintain_order=True).len().iter_rows():
        part = slice(begin, begin + rows)
        begin += rows
        digest = hashlib.sha256(f"rows 1\n{run}\n".encode())
        digest.update(steps[part].astype("<i8").tobytes())
        if valid is not None and values is not None:
            used = np.flatnonzero(valid[part].any(axis=0))
            logged = [numbers[place] for place in used]
            digest.update("\n".join(["", *map(repr, logged), ""]).encode())
            digest.update(np.packbits(valid[part][:, used]).tobytes())
            digest.update(np.ascontiguousarray(values[part][:, used], dtype="<f8").tobytes())
        for name in texts:
            digest.update(repr((name, frame[name][part].to_list())).encode())
        found.append(
            Share(
                str(run),
                rows,
                int(steps[part][0]),
                int(steps[part][-1]),
                int(losses[part].sum()),
                digest.hexdigest(),
            )
        )
    return found
