"""What tests of packs and of transfers share."""

import polars as pl

from ablab.store import Store
from ablab.store.check import check_store
from ablab.store.metrics import read_runs
from ablab.store.packs import pack
from ablab.store.parts import append_rows

ONE = ["seeds=1", "model.d_model=8"]


def packed(store, to, snapshots="last", name="tiny"):
    opened = Store(store, write=False)
    pack(opened, opened.experiment(name), to, snapshots)
    opened.close()
    return to


def metrics(store):
    opened = Store(store, write=False)
    return read_runs(opened, sorted(run.run for run in opened.runs()))


def sound(store):
    opened = Store(store)
    found = check_store(opened)
    assert found.problems == []
    return found


def index(store):
    """All rows of an index, but for the order of parts and the times of a request."""
    opened = Store(store, write=False)
    tables = [
        row["name"]
        for row in opened.index.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        if row["name"] not in ("row_digests", "owners", "sqlite_sequence")
    ]
    return {
        table: sorted(map(repr, map(tuple, opened.index.rows(f"SELECT * FROM {table}"))))
        for table in tables
    }


def changed(store, column, value):
    """Appends another value at step 15 of the first run."""
    opened = Store(store)
    run = opened.runs()[0].run
    append_rows(opened, pl.DataFrame({"run": [run], "step": [15], column: [value]}))
    return run
