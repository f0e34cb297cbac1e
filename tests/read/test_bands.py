"""Curves of seeds, their median and their range."""

import statistics

import polars as pl
import pytest

from ablab.read.bands import MAX_POINTS, bands


def test_a_curve_ends_with_its_first_seed():
    whole, short = curve(10), curve(6).with_columns(pl.lit(1).alias("seed"))
    (band,) = bands(pl.concat([whole, short.cast(whole.schema)]), ["d"], "loss")
    assert band.steps == list(range(1, 7))


def curve(steps, seeds=1):
    return pl.DataFrame(
        {
            "d": [8] * steps * seeds,
            "seed": [s for s in range(seeds) for _ in range(steps)],
            "step": list(range(1, steps + 1)) * seeds,
            "loss": [float(step + s) for s in range(seeds) for step in range(1, steps + 1)],
        }
    )


def test_a_band_is_the_median_and_the_range_over_seeds():
    (band,) = bands(curve(10, seeds=3), ["d"], "loss")
    assert band.keys == {"d": 8}
    assert band.steps == list(range(1, 11))
    assert band.values[0] == 2.0
    assert (band.low[0], band.high[0]) == (1.0, 3.0)


def test_long_curves_are_thinned_by_means():
    (band,) = bands(curve(4000), ["d"], "loss")
    assert len(band.steps) <= MAX_POINTS
    assert band.steps[0] == 10
    assert band.values[0] == statistics.fmean(range(1, 11))
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
    assert band.values == [float(step) for step in band.steps]


def test_nothing_to_draw_is_no_band():
    frame = curve(3).with_columns(pl.lit(float("nan")).alias("loss"))
    assert bands(frame, ["d"], "loss") == []


def seeds_of(*curves):
    """A frame with one seed for each list of losses; None where a seed has ended."""
    rows = [
        (8, seed, step, loss)
        for seed, losses in enumerate(curves)
        for step, loss in enumerate(losses, 1)
        if loss is not None
    ]
    return pl.DataFrame(rows, schema=["d", "seed", "step", "loss"], orient="row")


def test_the_median_of_an_odd_number_of_seeds():
    frame = seeds_of([4.0, 1.0, 0.9], [5.0, 3.0, 0.1], [9.0, 2.0, 0.2])
    (band,) = bands(frame, ["d"], "loss")
    assert band.values == [5.0, 2.0, 0.2]
    assert (band.low, band.high) == ([4.0, 1.0, 0.1], [9.0, 3.0, 0.9])
    assert [(each.seed, each.values) for each in band.seeds] == [
        (0, [4.0, 1.0, 0.9]), (1, [5.0, 3.0, 0.1]), (2, [9.0, 2.0, 0.2]),
    ]  # fmt: skip
    assert band.count == 3


@pytest.mark.parametrize(
    ("direction", "expected"),
    [("lower", [2.3, 2.3, 2.3, 2.3, 0.1]), ("higher", [2.3, 2.3, 0.1, 0.1, 0.1])],
)
def test_seeds_that_fall_at_different_steps_make_no_plateau_between(direction, expected):
    early, late = [2.3, 2.3, 0.1, 0.1, 0.1], [2.3, 2.3, 2.3, 2.3, 0.1]
    (band,) = bands(seeds_of(early, late), ["d"], "loss", direction=direction)
    assert band.values == expected  # their mean, 1.2, is the loss of no run
    (band,) = bands(seeds_of(early, late, early, late), ["d"], "loss", direction=direction)
    assert band.values == expected


def test_without_a_direction_lower_values_count_as_better():
    (band,) = bands(seeds_of([1.0], [3.0]), ["d"], "loss")
    assert band.values == [3.0]


def test_seeds_go_on_where_the_median_ends():
    (band,) = bands(seeds_of([3.0, 2.0, 1.0, 0.5], [4.0, 5.0, None, None]), ["d"], "loss")
    assert band.steps == [1, 2]
    assert [each.steps for each in band.seeds] == [[1, 2, 3, 4], [1, 2]]


def test_a_seed_keeps_the_extremes_of_its_points():
    frame = curve(4000, seeds=2).with_columns(
        pl.when((pl.col("step") == 1234) & (pl.col("seed") == 1))
        .then(9.0)
        .otherwise(1.0)
        .alias("loss")
    )
    (band,) = bands(frame, ["d"], "loss")
    quiet, spiky = band.seeds
    assert len(spiky.steps) == 400 and max(quiet.high) == 1.0
    place = spiky.steps.index(1240)  # ten steps share a point, which has the last of them
    assert (spiky.low[place], spiky.high[place]) == (1.0, 9.0)
    assert spiky.values[place] == pytest.approx(1.8)  # (9 · 1 + 9) / 10
    assert [each for each in spiky.high if each != 1.0] == [9.0]
