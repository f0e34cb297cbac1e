import itertools

import numpy as np
import polars as pl
import pytest
from scipy.stats import page_trend_test, rankdata

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
    assert (trend.best, trend.best_range) == ((0.1,), (0.1, 0.1))
    assert trend.at_end
    assert trend_sentence(trend, "the loss") == (
        "the loss is lowest at train.lr=0.1 in each seed, an end of the 7 values from 0.0001 to "
        "0.1: try values beyond it; on the whole, it falls (rank correlation -1.00, 3 seeds, "
        "Page's test, adjusted p < 0.001)."
    )


def test_a_best_value_within_the_range_comes_first():
    curves = [[5, 4, 2, 1, 3, 4.5, 6], [5, 3, 1, 2, 4, 6, 7]]
    (trend,) = effects(frame(curves), ["train.lr"], better="lower").trends
    assert not trend.at_end
    assert trend.best == (1e-3, 3e-3)  # means 1.5 and 1.5
    assert trend.best_range == (1e-3, 3e-3)
    assert "on the whole" not in trend_sentence(trend, "x")
    assert "at train.lr=0.001 and 0.003 alike (in single seeds at 0.001 to 0.003), of 7 val" in (
        trend_sentence(trend, "x")
    )
    curves[1][2] = 1.2
    (trend,) = effects(frame(curves), ["train.lr"], better="lower").trends
    assert (trend.best, trend.best_range) == ((3e-3,), (1e-3, 3e-3))
    assert "at train.lr=0.003 (in single seeds at 0.001 to 0.003), of 7 values from" in (
        trend_sentence(trend, "x")
    )
    (trend,) = effects(frame(curves), ["train.lr"]).trends  # not declared which is better
    assert trend.best == ()
    assert trend_sentence(trend, "It").startswith("Undecided whether it rises or falls with train")
    assert trend_sentence(trend, "x").startswith("Undecided whether x rises or falls with train.lr")


def test_values_that_are_equally_good_are_told_together():
    curves = [[1, 1, 1, 1, 0.8, 0.5, 0.2]] * 3
    (trend,) = effects(frame(curves), ["train.lr"], better="higher").trends
    assert trend.best == (1e-4, 3e-4, 1e-3, 3e-3)
    assert not trend.at_end
    said = trend_sentence(trend, "the accuracy")
    assert said.startswith(
        "the accuracy is highest at 4 values of train.lr from 0.0001 to 0.003 alike in each "
        "seed, of 7 values from 0.0001 to 0.1 ("
    )
    assert "try values" not in said
    _, (row,) = trend_table([trend])
    assert "0.0001 to 0.003 (4)" in row


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
    assert "(1 more: at least half of its runs have no result)" in trend_sentence(trend, "x")


def test_no_values_beyond_are_suggested_where_they_were_tried():
    """All runs with the greatest rate diverged, so the best is no end of what was tried."""
    curves = np.array([[8, 7, 6, 5, 4, 3, 2, np.nan], [8, 7, 6, 5, 4, 3, 2, np.nan]])
    (trend,) = effects(frame(curves, levels=[*RATES, 1.0]), ["train.lr"], better="lower").trends
    assert (trend.best, trend.at_end) == ((0.1,), False)
    assert "try values" not in trend_sentence(trend, "x")
    (trend,) = effects(frame(curves, levels=[*RATES, 1.0]), ["train.lr"], better="higher").trends
    assert (trend.best, trend.at_end) == ((1e-4,), True)


def test_a_seed_without_a_change_has_no_correlation():
    curves = [[7, 6, 5, 4, 3, 2, 1], [7, 6, 5, 4, 3, 2, 1], [9] * 7]
    (trend,) = effects(frame(curves), ["train.lr"], scale="difference", better="lower").trends
    assert trend.correlation == pytest.approx(-2 / 3)
    assert trend.best_range == (0.1, 0.1)  # all values are equally good in the third
    assert "at train.lr=0.1 (in each of the 2 seeds whose values differ)" in (
        trend_sentence(trend, "x")
    )
    # Two seeds of 7! orders that are all as likely; at the least, p = 2 / 7!^2.
    assert trend.p == pytest.approx(1e-4)  # none of 9,999


@pytest.mark.parametrize(
    ("curves", "why"),
    [
        ([[np.nan, 2, 3, 4, 5, 6, 7], [1, np.nan, 3, 4, 5, 6, 7], [1, 2, np.nan, 4, 5, 6, 7]],
         "no seed has a result at each of its 7 values that have one in most runs"),
        ([[5.0] * 7] * 3, "all values have the same results"),
        ([[1, 2, *[np.nan] * 5]] * 3, "only 2 of its 7 values have a result in most runs"),
    ],
)  # fmt: skip
def test_without_a_trend_values_are_compared_and_the_reason_is_said(curves, why):
    found = effects(frame(curves), ["train.lr"], scale="difference", better="lower")
    assert found.trends == ()
    assert len(found.factorial) == 6
    assert f"No trend over train.lr: {why}." in found.notes()
    assert found.as_data()["without_trend"] == {"train.lr": why}


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
    # Of 200 at 5%, more than 20 have a probability of 0.0012, and fewer than 3 one of 0.0023.
    assert 3 <= shown <= 20


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
    assert rate.best == (pytest.approx(10 ** (-4 + 15 / 4)),)
    assert rate.best_range == pytest.approx((10 ** (-4 + 12 / 4), 10 ** (-4 + 15 / 4)))
    assert not decay.exists
    header, table = trend_table(found.trends, {"train.lr": "lr"})
    assert [row[0] for row in table] == ["lr", "train.weight_decay", "model.n_layers"]
    assert len(header) == len(table[0])
    assert "the best quarter of points: 0.1 to 0.562" in trend_sentence(rate, "x")


def of_points(points, value, better="lower"):
    """Effects over points at which settings vary together, two numbers of heads and three seeds."""
    rows = [
        {"joint": f"p{k}", "model.n_heads": heads, "seed": seed, "value": value(k, heads, seed)}
        for k, heads, seed in itertools.product(range(len(points)), (1, 2), range(3))
    ]
    data = pl.DataFrame(rows, schema_overrides={"value": pl.Float64}, infer_schema_length=None)
    return effects(data, ["joint", "model.n_heads"], scale="difference", better=better,
                   points={"joint": points})  # fmt: skip


EIGHT = [{"train.lr": 0.1 * k, "train.eps": 9.0 - k} for k in range(1, 9)]


def test_missing_runs_are_no_trend_over_points():
    """Runs of two heads are higher by 9; at the last four points, two of three diverged."""

    def value(k, heads, seed):
        if k >= 4 and heads == 2 and seed:
            return None
        return 9.0 * (heads == 2) + np.random.default_rng([k, heads, seed]).normal()

    rate, _ = of_points(EIGHT, value).trends
    assert rate.count == 8
    assert not rate.exists and rate.p > 0.1


def test_points_with_equal_results_are_ties():
    """All points but the first have the same results, and one run has none."""
    rate, _ = of_points(
        EIGHT,
        lambda k, heads, seed: (
            None if (k, heads, seed) == (3, 1, 0) else (1 + (k == 0)) / 3 + heads
        ),
    ).trends
    # By hand: the ranks of the loss are 8 and seven times 4, those of the rate 1 to 8.
    assert rate.correlation == pytest.approx(-14 / np.sqrt(42 * 14))


def test_a_setting_of_some_points_has_a_trend_over_these():
    points = [{"train.lr": 0.1 * k, "train.beta": 0.9 + k / 100 if k < 8 else None}
              for k in range(1, 11)]  # fmt: skip
    rate, beta = of_points(points, lambda k, heads, seed: 10.0 - k).trends
    assert (rate.count, beta.count, beta.left_out) == (10, 7, 0)
    assert beta.correlation == pytest.approx(-1)
    assert (beta.best, beta.best_range, beta.at_end) == ((0.97,), (0.97, 0.97), True)
    assert "at train.beta=0.97, an end of the 7 values" in trend_sentence(beta, "x")


def test_points_without_a_trend_are_compared_and_the_reasons_are_said():
    words = [{"model.norm": f"norm{k}", "train.optimizer": f"adam{k}"} for k in range(7)]
    found = of_points(words, lambda k, heads, seed: 1.0 * k + heads + 0.1 * seed)
    assert [each.key for each in found.factorial].count("joint") == 6
    assert found.notes()[:2] == [
        "No trend over model.norm: its values are not numbers.",
        "No trend over train.optimizer: its values are not numbers.",
    ]
    found = of_points(EIGHT, lambda k, heads, seed: None if k < 2 else 1.0 * k + heads + seed)
    assert [each.key for each in found.factorial].count("joint") == 7
    assert found.without_trend["train.lr"] == (
        "only 6 of the 8 points at which it is a number have a result in most runs"
    )
    mixed = [{"train.lr": 0.1 * k, "model.norm": f"norm{k}"} for k in range(7)]
    found = of_points(mixed, lambda k, heads, seed: 1.0 * k + heads + seed)
    assert [each.key for each in found.factorial] == ["model.n_heads"]
    assert found.without_trend == {"model.norm": "its values are not numbers"}


def chance(curve, seeds):
    """How likely Page's statistic is as extreme if all orders of each seed are as likely."""
    places = np.arange(len(curve)) - (len(curve) - 1) / 2
    one = np.array([rankdata(order) @ places for order in set(itertools.permutations(curve))])
    sums = one
    for _ in range(seeds - 1):
        sums = np.add.outer(sums, one).ravel()
    return np.mean(np.abs(sums) >= abs(seeds * (rankdata(curve) @ places)) - 1e-9)


def test_steps_that_were_not_reached_are_ties():
    """All orders of the seven steps, of which four are tied, are as likely in both seeds."""
    reached = [[500, 300, 500, 500, 100, 500, 200]] * 2
    rows = frame(reached).with_columns(
        not_before=pl.when(pl.col("value") == 500).then(500.0),
        value=pl.when(pl.col("value") < 500).then(pl.col("value")),
    )
    (trend,) = effects(rows, ["train.lr"], better="lower").trends
    wanted = chance(reached[0], 2)  # of 7! / 4! = 210 orders in each seed
    assert 0.05 < wanted < 0.5
    assert trend.p == pytest.approx(wanted, abs=4 * np.sqrt(wanted * (1 - wanted) / 9999))
    assert (trend.best, trend.exists) == ((1e-2,), False)
    (trend,) = effects(frame([[1.0] * 6 + [2.0]] * 2), ["train.lr"]).trends
    # The odd one is last in both seeds; of 49 pairs of places, only both ends are as extreme.
    assert trend.p == pytest.approx(2 / 49, abs=4 * np.sqrt(2 / 49 / 9999))
