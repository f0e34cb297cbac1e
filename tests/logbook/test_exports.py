"""Measures of runs as tables for other programs."""

import numpy as np
import polars as pl
import pytest

from ablab.config import InputError
from ablab.logbook.exports import export_measures
from tests.read.filled import fill, grid


def curve(keys, seed, steps):
    if keys["model.n_heads"] == 4:
        return None if seed else np.full(len(steps), 2.0)
    return np.where(steps < 50, 2.0, 0.01)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_measured_values_stay_what_they_are(tmp_path, form):
    stored = fill(tmp_path / "lab", grid(seeds=2, grid={"model.n_heads": [1, 4]}), curve)
    out = tmp_path / f"table.{form}"
    texts = ["steps_to(loss, 0.1)", "final(loss)"]
    assert export_measures(*stored, form, texts, out) == (out, 4)
    frame = pl.read_csv(out) if form == "csv" else pl.read_parquet(out)
    assert frame["measure"].to_list() == [texts[0]] * 4 + [texts[1]] * 4
    steps = frame.filter(pl.col("measure") == texts[0])
    assert steps["status"].to_list() == ["finished", "finished", "finished", "diverged"]
    assert steps["value"].is_null().to_list() == [False, False, True, True]
    assert steps["not_before"].to_list() == [None, None, 400, 10]
    assert frame["reason"].to_list()[-1] == "diverged at step 10"


def test_measures_are_tables(tmp_path):
    stored = fill(tmp_path / "lab", grid(seeds=1, grid={"model.n_heads": [1, 4]}), curve)
    with pytest.raises(InputError, match="measures are a table"):
        export_measures(*stored, "wandb", ["final(loss)"])
