"""Shares: the rows of one run in a metrics part, each with a digest of its values.

A part holds the rows of many runs. If it is damaged, the digests say which runs are, and which rows
are still what was written. The digest depends on the values only, not on the file around them, so
it stays the same if parts are merged.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

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
    steps = frame["step"].cast(pl.Int64).to_numpy().astype("<i8")
    valid = ~frame.select(pl.col(numbers).is_null()).to_numpy() if numbers else None
    table = frame.select(pl.col(numbers).cast(pl.Float64).fill_null(0.0))
    values = np.ascontiguousarray(table.to_numpy(), dtype="<f8")  # (rows, columns)
    losses = frame[_LOSS].is_not_null().to_numpy() if _LOSS in numbers else np.zeros(len(steps))
    runs = frame.group_by("run", maintain_order=True).len()
    starts = np.cumsum([0, *runs["len"]])
    ends = starts[1:].tolist()
    # A part has the rows of many runs, so what can be is computed for all of them together.
    counts = np.add.reduceat(losses, starts[:-1], dtype=np.int64).tolist() if len(steps) else []
    used = np.logical_or.reduceat(valid, starts[:-1]) if valid is not None and len(steps) else None
    known: dict[bytes, tuple[NDArray[np.intp], bytes]] = {}  # usually the same columns are used
    firsts, lasts = steps[starts[:-1]].tolist(), steps[starts[1:] - 1].tolist()
    found, begin = [], 0
    for place, (run, end) in enumerate(zip(runs["run"], ends, strict=True)):
        digest = hashlib.sha256(f"rows 1\n{run}\n".encode())
        digest.update(steps[begin:end].tobytes())
        if valid is not None and used is not None:
            pattern = used[place].tobytes()
            if pattern not in known:
                known[pattern] = _columns(numbers, used[place])
            columns, header = known[pattern]
            digest.update(header)
            digest.update(np.packbits(valid[begin:end].take(columns, axis=1)).tobytes())
            digest.update(values[begin:end].take(columns, axis=1).tobytes())
        for name in texts:
            digest.update(repr((name, frame[name][begin:end].to_list())).encode())
        share = firsts[place], lasts[place], counts[place], digest.hexdigest()
        found.append(Share(str(run), end - begin, *share))
        begin = end
    return found


def _columns(names: list[str], used: NDArray[np.bool_]) -> tuple[NDArray[np.intp], bytes]:
    """The columns that have values in a share, and their names as they are hashed."""
    columns = np.flatnonzero(used)
    return columns, "\n".join(["", *(repr(names[each]) for each in columns), ""]).encode()
