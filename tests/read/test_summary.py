import statistics

import polars as pl
import pytest

from ablab.read.bands import MAX_POINTS, bands
from ablab.read.summary import Spread, last_values, summarise, table
from tests.store.makers import train


def test_a_spread_shows_the_median_and_the_range():
    assert str(Spread((2.2994, 0.1188, 2.3034))) == "2.30 [0.119, 2.30]"
    assert str(Spread((0.00123, 0.00125))) == "0.00124 [0.00123, 0.00125]"
    assert str(Spread((2.345678,))) == "2.35"
    assert str(Spread((1.0, 1.0, 1.0))) == "1.00"
    assert str(Spread((1234.5,))) == "1,234"
    assert Spread((5.0,)).deviation is None


def test_a_runs_values_are_those_at_its_end():
    frame = pl.DataFrame(
        {
            "run": ["a", "a", "a", "b", "b"],
            "step": [1, 2, 3, 1, 2],
            "train_loss": [3.0, 2.0, 1.0, 5.0, float("nan")],
            "eval_loss": [None, 2.5, None, None, None],
        }
    )
    assert last_values(frame, {"a": 2, "b": 2}) == {
        "a": {"train_loss": 2.5, "eval_loss": 2.5},
        "b": {},
    }
    assert last_values(frame, {"a": 3, "b": 1}) == {
        "a": {"train_loss": 2.0},
        "b": {"train_loss": 5.0},
    }


def test_the_training_loss_is_the_mean_over_the_last_logging_interval():
    frame = pl.DataFrame(
        {
            "run": ["a"] * 5,
            "step": [1, 2, 3, 4, 5],
            "train_loss": [9.0, 8.0, 3.0, 2.0, 1.0],
            "lr": [None, 0.1, None, None, 0.1],
        }
    )
    assert last_values(frame, {"a": 5}) == {"a": {"train_loss": 2.0}}
    assert last_values(frame, {"a": 4}) == {"a": {"train_loss": 2.5}}


def test_a_curve_ends_with_its_first_seed():
    whole, short = curve(10), curve(6).with_columns(pl.lit(1).alias("seed"))
    (band,) = bands(pl.concat([whole, short.cast(whole.schema)]), ["d"], "loss")
    assert band.steps == list(range(1, 7))


def test_a_summary_is_the_mean_over_seeds(tmp_path, tiny):
    result = train(tiny, tmp_path / "lab", "seeds=3")
    first, second = summarise(result.store, result.record)
    assert (first.keys, second.keys) == ({"model.d_model": 8}, {"model.d_model": 16})
    assert first.statuses == {"finished": 3}
    assert first.steps == (20, 20)
    losses = [run.eval_loss for run in result.runs[:3]]
    assert first.measures["eval_loss"].mean == pytest.approx(statistics.fmean(losses))
    assert first.measures["eval_loss"].deviation == pytest.approx(statistics.stdev(losses))
    header, rows = table([first, second])
    assert header[:4] == ["model.d_model", "parameters", "steps", "runs"]
    assert rows[0][:4] == ["8", "1,140", "20", "3 finished"]


def curve(steps, seeds=1):
    return pl.DataFrame(
        {
            "d": [8] * steps * seeds,
            "seed": [s for s in range(seeds) for _ in range(steps)],
            "step": list(range(1, steps + 1)) * seeds,
            "loss": [float(step + s) for s in range(seeds) for step in range(1, steps + 1)],
        }
    )


def test_a_band_is_the_mean_and_the_range_over_seeds():
    (band,) = bands(curve(10, seeds=3), ["d"], "loss")
    assert band.keys == {"d": 8}
    assert band.steps == list(range(1, 11))
    assert band.mean[0] == 2.0
    assert (band.low[0], band.high[0]) == (1.0, 3.0)


def test_long_curves_are_thinned_by_means():
    (band,) = bands(curve(4000), ["d"], "loss")
    assert len(band.steps) <= MAX_POINTS
    assert band.steps[0] == 10
    assert band.mean[0] == statistics.fmean(range(1, 11))
    assert band.steps[-1] == 4000
    assert len(bands(curve(4000), ["d"], "loss", points=50)[0].steps) == 50


def test_a_spike_of_one_step_is_seen_in_a_long_curve():
    frame = curve(10_000).with_columns(
        pl.when(pl.col("step") == 5003).then(1e9).otherwise(0.5).alias("loss")
    )
    (band,) = bands(frame, ["d"], "loss")
    place = next(n for n, step in enumerate(band.steps) if step >= 5003)
    assert band.high[place] == 1e9 and band.low[place] == 0.5
    assert max(band.high[:place] + band.high[place + 1 :]) == 0.5


def test_variants_are_told_apart_by_all_their_keys():
    parts = [
        curve(3).with_columns(pl.lit(d).alias("d"), pl.lit(name, pl.String).alias("kind"))
        for d in (8, 16)
        for name in (None, "a")
    ]
    found = bands(pl.concat(parts), ["d", "kind"], "loss")
    assert [band.label for band in found] == [
        "d=8, kind=None", "d=8, kind=a", "d=16, kind=None", "d=16, kind=a",
    ]  # fmt: skip


def test_sparse_columns_keep_their_steps():
    frame = curve(1000).with_columns(
        pl.when(pl.col("step") % 100 == 0).then(pl.col("loss")).alias("loss")
    )
    (band,) = bands(frame, ["d"], "loss")
    assert band.steps == list(range(100, 1001, 100))
    assert band.mean == [float(step) for step in band.steps]


def test_nothing_to_draw_is_no_band():
    frame = curve(3).with_columns(pl.lit(float("nan")).alias("loss"))
    assert bands(frame, ["d"], "loss") == []
