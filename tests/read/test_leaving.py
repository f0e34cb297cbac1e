"""The step at which a level is left: not while the curve still falls toward it."""

import numpy as np
import pytest

from ablab.read.measures import measure_table
from tests.read.filled import fill, grid

LOG_10 = float(np.log(10))


def noisy(clean, seed):
    return clean * np.exp(0.003 * np.random.default_rng(seed).standard_normal(len(clean)))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    def curve(keys, seed, steps):
        after = np.exp(-np.maximum(steps - 300, 0) / 12)
        if keys["model.d_model"] == 8:  # from 3.5 to 1.2 between two evaluations
            held_out = np.full(len(steps), np.nan)
            held_out[9::10] = np.where(steps[9::10] < 100, 3.5, 1.2)
            return {"train_loss": noisy(LOG_10 * after + 1e-3, seed), "eval_loss": held_out}
        if keys["model.d_model"] == 16:  # 2.36 until 67, and log(10) until 300
            level = LOG_10 + 0.06 / (1 + np.exp(np.minimum((steps - 67) / 2, 50)))
            return {"train_loss": noisy(level * after + 1e-3, seed)}
        return {"train_loss": noisy(LOG_10 * after + 1e-3, seed)}

    return fill(tmp_path_factory.mktemp("store") / "lab", grid(), curve)


def test_a_level_is_left_once(stored):
    found = measure_table(*stored, "leaves(log(10))")
    assert found["value"].to_list() == pytest.approx([300] * found.height, abs=6)


def test_a_level_that_is_jumped_over_is_never_left(stored):
    found = measure_table(*stored, "leaves(log(10), eval_loss)")
    rows = [row for row in found.iter_rows(named=True) if row["model.d_model"] == 8]
    assert rows
    assert {(row["value"], row["reason"]) for row in rows} == {(None, "never at 2.303")}
