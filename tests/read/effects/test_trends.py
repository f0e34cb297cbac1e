import itertools

import numpy as np
import polars as pl
import pytest
from scipy.stats import page_trend_test

from ablab.read.effects import effects, trend_sentence, trend_table

RATES = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1]


def frame(curves, key="train.lr", levels=RATES):
    """A row for each level and seed, of (seeds, levels)."""
    rows = [
        {key: level, "seed": seed, "value": float(value)}
        for seed, curve in enumerate(curves)
        for level, value in zip(levels, curve, strict=True)
    ]
    return pl.DataFrame(rows)


def test_a_trend_takes_the_place_of_comparisons():
    curves = [[7, 6, 5, 4, 3, 2, 1], [8, 6.5, 5, 4.5, 3, 2.5, 1.5], [7, 6, 5.5, 4, 3.5, 2, 1]]
    found = effects(frame(curves), ["train.lr"], better="lower")
    assert found.factorial == found.marginal == ()
    (trend,) = found.trends
    # All seeds fall strictly: one order of 7! in each seed, and so p = 2 / 7!^3 at the least.
    assert trend.correlation == pytest.approx(-1)
    assert trend.p == pytest.approx(
        2 * page_trend_test(-np.array(curves), method="auto").pvalue, rel=1e-6
    )
    assert trend.exists
    assert (trend.best, trend.best_range) == (0.1, (0.1, 0.1))
    assert trend.at_end
    assert trend_sentence(trend, "the loss") == (
        "the loss is lowest at train.lr=0.1, of 7 values from 0.0001 to 0.1 (in each seed), an end "
        "of the range: try values beyond it; on the whole, it falls (rank correlation -1.00, "
        "3 seeds, Page's test, adjusted p < 0.001)."
    )


def test_a_best_value_within_the_range_comes_first():
    curves = [[5, 4, 2, 1, 3, 4.5, 6], [5, 3, 1, 2, 4, 6, 7]]
    (trend,) = effects(frame(curves), ["train.lr"], better="lower").trends
    assert not trend.at_end
    assert trend.best == 1e-3  # means 1.5 and 1.5; the first
    assert trend.best_range == (1e-3, 3e-3)
    assert "undecided whether it rises or falls on the whole" in trend_sentence(trend, "x")
    assert "in single seeds 0.001 to 0.003" in trend_sentence(trend, "x")
    (trend,) = effects(frame(curves), ["train.lr"]).trends  # not declared which is better
    assert trend.best is None
    assert trend_sentence(trend, "x").startswith("Undecided whether x rises or falls with train.lr")


def test_few_values_are_compared_one_by_one_as_before():
    curves = [[3.0, 2, 1], [4, 2, 1]]
    found = effects(frame(curves, levels=[1, 2, 3]), ["train.lr"])
    assert len(found.factorial) == 2
    assert found.trends == ()


def test_each_value_is_compared_if_the_setting_is_asked_for():
    curves = [[7, 6, 5, 4, 3, 2, 1], [8, 6.5, 5, 4.5, 3, 2.5, 1.5]]
    found = effects(frame(curves), ["train.lr"], of="train.lr")
    assert len(found.factorial) == 6
    assert len(found.trends) == 1


def test_names_are_compared_however_many_there_are():
    levels = list("abcdefgh")
    found = effects(frame([range(8), range(1, 9)], "model.norm", levels), ["model.norm"])
    assert len(found.factorial) == 7
    assert found.trends == ()


def test_values_without_results_are_left_out():
    curves = np.array([[7, 6, 5, 4, 3, 2, np.nan], [8, 6.5, 5, 4.5, 3, 2.5, np.nan]])
    (trend,) = effects(frame(curves), ["train.lr"], better="lower").trends
    assert (trend.values[-1], trend.left_out) == (3e-2, 1)
    assert "1 more without a result in most runs" in trend_sentence(trend, "x")


def test_one_seed_has_no_p_value():
    (trend,) = effects(frame([[7, 6, 5, 4, 3, 2, 1]]), ["train.lr"], better="lower").trends
    assert trend.p is None
    assert not trend.exists
    assert "one seed" in trend_sentence(trend, "x")


def test_the_seed_is_the_unit_of_a_trend():
    """Of noise without a trend, with seeds that differ, about 5% of trends are shown."""
    generator = np.random.default_rng(0)
    shown = 0
    for _ in range(200):
        curves = generator.normal(size=(3, 7)) + generator.normal(size=(3, 1))
        (trend,) = effects(frame(curves), ["train.lr"], scale="difference").trends
        shown += trend.exists
    assert shown <= 20  # of 200 at 5%, more than 20 have a probability of 0.0006


def test_points_of_settings_are_in_no_test_of_interactions():
    points = [{"train.lr": 0.1 * k, "train.eps": k} for k in range(1, 9)]
    rows = [
        {"lr + eps": str(k), "model.n_heads": heads, "seed": seed, "value": 1.0 * k * seed + heads}
        for k, heads, seed in itertools.product(range(8), (1, 2), range(2))
    ]
    found = effects(pl.DataFrame(rows), ["lr + eps", "model.n_heads"], points={"lr + eps": points})
    assert found.interactions == ()
    assert [each.key for each in found.factorial] == ["model.n_heads"]


def test_points_at_which_settings_vary_together():
    points = [
        {
            "train.lr": 10 ** (-4 + k / 4),
            "train.weight_decay": (5 * k % 16) / 16,
            "model.n_layers": 1 + k // 8,
            "model.norm": "rms",
        }
        for k in range(16)
    ]
    names = [f"p{k}" for k in range(16)]
    rows = [
        {"lr + decay": name, "seed": seed, "value": 1 / (1 + k) + 0.001 * seed}
        for (k, name), seed in itertools.product(enumerate(names), range(2))
    ]
    found = effects(
        pl.DataFrame(rows), ["lr + decay"], better="lower", points={"lr + decay": points}
    )
    assert found.factorial == ()
    rate, decay, layers = found.trends
    # By hand: the ranks are 4 from their mean, and so, on average, are those of the loss.
    assert layers.correlation == pytest.approx(-16 / np.sqrt(340))
    assert layers.values == (1, 2)
    assert (rate.key, rate.unit, rate.count) == ("train.lr", "point", 16)
    assert rate.correlation == pytest.approx(-1)
    assert rate.best == pytest.approx(10 ** (-4 + 15 / 4))
    assert rate.best_range == pytest.approx((10 ** (-4 + 12 / 4), 10 ** (-4 + 15 / 4)))
    assert not decay.exists
    header, table = trend_table(found.trends, {"train.lr": "lr"})
    assert [row[0] for row in table] == ["lr", "train.weight_decay", "model.n_layers"]
    assert len(header) == len(table[0])
    assert "the best quarter of points: 0.1 to 0.562" in trend_sentence(rate, "x")


def test_steps_that_were_not_reached_are_ties():
    """Of two seeds, all but one order of seven steps with four ties are as likely."""
    reached = [[500, 500, 500, 500, 300, 200, 100]] * 2
    rows = frame(reached).with_columns(
        not_before=pl.when(pl.col("value") == 500).then(500.0),
        value=pl.when(pl.col("value") < 500).then(pl.col("value")),
    )
    (trend,) = effects(rows, ["train.lr"], better="lower").trends
    # 7! / 4! = 210 orders in each seed, of which one falls and one rises the most.
    assert trend.p == pytest.approx(2 / 210**2 + 1 / 10_000, abs=2e-4)
    assert (trend.best, trend.exists) == (0.1, True)
    (trend,) = effects(frame([[1.0] * 6 + [2.0]] * 2), ["train.lr"]).trends
    # The odd one is last in both seeds; of 49 pairs of places, only both ends are as extreme.
    assert trend.p == pytest.approx(2 / 49, abs=0.008)
