"""Digests of runs' rows are those that earlier releases recorded, computed run by run here."""

import hashlib

import numpy as np
import polars as pl
import pytest

from ablab.store.shares import shares


def reference(frame):
    """The digest of each run's rows, as the text of ``shares`` defines it."""
    found = {}
    for (run,), rows in frame.sort("run", "step").group_by("run", maintain_order=True):
        names = sorted(name for name in rows.columns if name not in ("run", "step"))
        texts = [name for name in names if rows[name].dtype == pl.String]
        numbers = [name for name in names if name not in texts]
        digest = hashlib.sha256(f"rows 1\n{run}\n".encode())
        digest.update(np.array(rows["step"], dtype="<i8").tobytes())
        if numbers:
            used = [name for name in numbers if rows[name].null_count() < rows.height]
            digest.update("\n".join(["", *map(repr, used), ""]).encode())
            bits = [
                row[place] is not None for row in rows[used].rows() for place in range(len(used))
            ]
            digest.update(np.packbits(np.array(bits, dtype=bool)).tobytes())
            values = [0.0 if value is None else value for row in rows[used].rows() for value in row]
            digest.update(np.array(values, dtype="<f8").tobytes())
        for name in texts:
            digest.update(repr((name, rows[name].to_list())).encode())
        found[run] = digest.hexdigest()
    return found


def drawn(random, columns, rows):
    """Rows of up to five runs, in any order, with columns that some runs do not use."""
    runs = [str(each) for each in random.integers(0, 5, rows)]
    values = {"run": runs, "step": list(range(rows))}
    types = {"run": pl.String, "step": pl.Int64}
    for place in range(columns):
        name, own = f"c{place}", random.integers(0, 5, 2)
        kind = (pl.Float64, pl.Int64, pl.Boolean, pl.String)[random.integers(0, 4)]
        values[name] = [
            None if int(run) in own or random.random() < 0.4 else int(random.integers(0, 2))
            for run in runs
        ]
        if kind == pl.String:
            values[name] = [None if each is None else str(each) for each in values[name]]
        types[name] = kind
    return pl.DataFrame(values, schema=types, strict=False).sample(fraction=1.0, shuffle=True)


@pytest.mark.parametrize("columns", range(5))
def test_digests_are_those_of_each_run_alone(columns):
    random = np.random.default_rng(columns)
    for rows in (1, 2, 7, 40, 60):
        frame = drawn(random, columns, rows)
        assert {each.run: each.digest for each in shares(frame)} == reference(frame)


def test_a_share_has_its_steps_and_its_losses():
    frame = pl.DataFrame(
        {"run": ["b", "a", "b", "b"], "step": [3, 0, 1, 2], "train_loss": [1.0, None, None, 2.0]}
    )
    found = [(each.run, each.rows, each.first, each.last, each.losses) for each in shares(frame)]
    assert found == [("a", 1, 0, 0, 0), ("b", 3, 1, 3, 2)]


def test_no_rows_have_no_shares():
    empty = pl.DataFrame(schema={"run": pl.String, "step": pl.Int64, "train_loss": pl.Float64})
    assert shares(empty) == []
