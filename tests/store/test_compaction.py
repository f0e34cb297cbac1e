"""Merging parts never changes which value of a step counts."""

import numpy as np
import polars as pl

from ablab.store import Store
from ablab.store.compaction import compact
from ablab.store.metrics import append_rows, read_runs


def add(store, run, steps, values):
    append_rows(store, pl.DataFrame({"run": [run] * len(steps), "step": steps, "x": values}))


def add_large(store, run, value):
    """A part that is too large to be merged, with a value at step 2."""
    steps = list(range(2, 1_200_000))
    noise = np.random.default_rng(0).random(len(steps))
    noise[0] = value
    add(store, run, steps, noise.tolist())


def value(store, run):
    return read_runs(store, [run]).filter(pl.col("step") == 2)["x"].to_list()


def test_an_older_value_does_not_pass_a_large_parts_newer_one(tmp_path):
    store = Store(tmp_path / "lab", create=True)
    add(store, "a", [1, 2], [0.0, 1.0])
    add(store, "b", [1, 2], [0.0, 1.0])
    add_large(store, "a", 7.0)
    for step in range(3, 43):
        add(store, "a", [step], [float(step)])
        add(store, "c", [step], [float(step)])
    add(store, "b", [2], [5.0])
    assert (value(store, "a"), value(store, "b")) == ([7.0], [5.0])
    before = read_runs(store, ["b", "c"])
    assert compact(store) > 80
    assert (value(store, "a"), value(store, "b")) == ([7.0], [5.0])
    assert read_runs(store, ["b", "c"]).equals(before)
    assert len(list((tmp_path / "lab" / "metrics").iterdir())) == 3


def test_experiments_with_other_columns_are_merged_apart(tmp_path, monkeypatch):
    store = Store(tmp_path / "lab", create=True)
    frames = []
    for experiment in range(5):
        for part in range(8):
            values = {f"x{experiment}.{n}": [float(part)] * 4 for n in range(20)}
            steps = [4 * part + n for n in range(4)]
            frame = pl.DataFrame({"run": ["abcde"[experiment]] * 4, "step": steps} | values)
            frames.append(frame)
            append_rows(store, frame)
    before = read_runs(store, list("abcde"))
    # All rows of an experiment with its 22 columns, but no rows of two with 42.
    monkeypatch.setattr("ablab.store.compaction._CELLS", 32 * 22)
    assert compact(store) == 40
    files = list((tmp_path / "lab" / "metrics").iterdir())
    assert sorted(pl.read_parquet(file).shape for file in files) == [(32, 22)] * 5
    assert read_runs(store, list("abcde")).equals(before)


def test_a_large_part_of_another_run_does_not_keep_parts_apart(tmp_path):
    store = Store(tmp_path / "lab", create=True)
    for step in range(1, 21):
        add(store, "a", [step], [1.0])
    add_large(store, "b", 7.0)
    for step in range(21, 41):
        add(store, "a", [step], [1.0])
    assert compact(store) == 40
    assert len(list((tmp_path / "lab" / "metrics").iterdir())) == 2
