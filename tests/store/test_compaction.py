"""Merging parts never changes which value of a step counts."""

import numpy as np
import polars as pl

from ablab.store import Store
from ablab.store.compaction import compact
from ablab.store.metrics import append_rows, read_runs
from ablab.store.parts import add_part, list_parts, read_part, write_part


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


def test_a_value_does_not_pass_that_of_a_damaged_part(tmp_path):
    """What is damaged may be repaired: its sound rows come back with its number."""
    store = Store(tmp_path / "lab", create=True)
    add(store, "a", [1, 2], [0.0, 1.0])
    for step in range(3, 23):
        add(store, "c", [step], [float(step)])
    add(store, "a", [2], [7.0])
    damaged = list_parts(store)[-1]
    for step in range(23, 43):
        add(store, "c", [step], [float(step)])
    assert value(store, "a") == [7.0]
    path = tmp_path / "lab" / "metrics" / damaged.file
    content = path.read_bytes()
    path.write_bytes(content[:-40] + bytes([content[-40] ^ 1]) + content[-39:])
    assert compact(store) == 41
    path.write_bytes(content)
    assert value(store, "a") == [7.0]
    assert read_runs(store, ["c"])["step"].to_list() == list(range(3, 43))


def test_a_value_does_not_pass_a_part_that_another_process_merged(tmp_path, monkeypatch):
    store = Store(tmp_path / "lab", create=True)
    add(store, "a", [1, 2], [0.0, 1.0])
    add(store, "a", [2], [7.0])
    for step in range(3, 43):
        add(store, "c", [step], [float(step)])
    before = list_parts(store)
    # Between its list and its merging, another process replaces the second part by itself.
    frame = read_part(store, before[1])
    again = write_part(store, frame)
    with store.index.transaction() as connection:
        connection.execute("DELETE FROM parts WHERE id = ?", (before[1].id,))
        add_part(connection, store, again, number=before[1].id)
    (tmp_path / "lab" / "metrics" / before[1].file).unlink()
    monkeypatch.setattr("ablab.store.compaction.list_parts", lambda store: before)
    assert compact(store) > 0
    assert value(store, "a") == [7.0]
