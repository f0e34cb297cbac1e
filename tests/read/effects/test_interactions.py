import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats
from statsmodels.stats.anova import AnovaRM

from ablab.config import InputError
from ablab.read.effects import gather, interactions
from tests.read.effects.made import grid

RANDOM = np.random.default_rng(3)
NOISE = RANDOM.normal(size=(3, 2, 2, 5))
LUCK = 10 * RANDOM.normal(size=5)


def made(strength=0.0, seeds=5, scale="difference", missing=()):
    def value(a, b, c, seed):
        if (a, b, c, seed) in missing:
            return None
        joint = strength * (a == 2 and b == 1)
        return LUCK[seed] + a + 2 * b + joint + 0.3 * NOISE[a, b, c, seed]

    frame = grid({"a": [0, 1, 2], "b": [0, 1], "c": [0, 1]}, seeds, value)
    if scale == "ratio":
        frame = frame.with_columns(pl.col("value").exp())
    return gather(frame, ["a", "b", "c"], scale=scale), frame


def test_a_contrast_is_the_difference_of_differences_over_seeds():
    results, _ = made(3.0)
    found = interactions(results)
    assert [(each.key, each.other) for each in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    (_, contrast) = found[0].contrasts
    v = results.values.mean(axis=2)
    values = v[2, 1] - v[2, 0] - v[0, 1] + v[0, 0]
    assert contrast.difference == pytest.approx(values.mean())
    test = stats.ttest_1samp(values, 0)
    assert contrast.interval == pytest.approx(tuple(test.confidence_interval()), rel=1e-6)
    assert contrast.p == pytest.approx(test.pvalue)
    assert contrast.interacts
    assert (contrast.seeds, contrast.cells) == (5, 2)
    assert found[0].exists


def test_the_statistic_is_that_of_repeated_measures():
    results, frame = made(0.4)
    table = pd.DataFrame(frame.to_dict(as_series=False))
    table = AnovaRM(table, "value", "seed", ["a", "b"], aggregate_func="mean").fit()
    row = table.anova_table.loc["a:b"]
    found = interactions(results)[0]
    assert found.statistic == pytest.approx(row["F Value"])
    epsilon = found.degrees[0] / row["Num DF"]
    assert 0.5 <= epsilon <= 1
    assert found.degrees[1] == pytest.approx(epsilon * row["Den DF"])


def test_of_two_by_two_it_is_the_square_of_t():
    results, _ = made()
    found = interactions(results, "c")[1]
    assert (found.key, found.other, found.degrees) == ("b", "c", pytest.approx((1, 4)))
    assert found.p == pytest.approx(found.contrasts[0].p)


def test_all_pairs_and_all_contrasts_are_corrected_together():
    found = interactions(made(0.1)[0])
    p = sorted(each.p for each in found)
    assert min(each.p_adjusted for each in found) == pytest.approx(min(1, 3 * p[0]))
    contrasts = [contrast for each in found for contrast in each.contrasts]
    assert len(contrasts) == 5
    low = min(contrast.p for contrast in contrasts)
    assert min(c.p_adjusted for c in contrasts) == pytest.approx(min(1, 5 * low))


def test_as_ratios_they_are_ratios_of_ratios():
    linear, _ = made(3.0)
    ratio, _ = made(3.0, scale="ratio")
    found, other = interactions(linear)[0], interactions(ratio)[0]
    assert other.p == pytest.approx(found.p)
    assert other.contrasts[1].difference == pytest.approx(np.exp(found.contrasts[1].difference))


def test_one_seed_tells_no_interaction():
    found = interactions(made(3.0, seeds=1)[0])[0]
    assert (found.seeds, found.statistic, found.p, found.exists) == (1, None, None, False)
    assert (found.contrasts[0].interval, found.contrasts[0].interacts) == (None, False)


def test_two_seeds_do():
    found = interactions(made(3.0, seeds=2)[0])[0]
    assert found.degrees == pytest.approx((1, 1))
    assert 0 < found.p < 1


def test_seeds_that_agree_exactly_have_no_statistic():
    frame = grid({"a": [0, 1], "b": [0, 1]}, 3, lambda a, b, s: float(a * b))
    (found,) = interactions(gather(frame, ["a", "b"]))
    assert (found.statistic, found.p) == (None, None)
    assert (found.contrasts[0].difference, found.contrasts[0].p) == (1.0, 0.25)


def test_missing_runs_cost_their_cell_or_seed_and_a_dead_value_none():
    results, _ = made(3.0, missing={(1, 1, 1, 0)})
    found = interactions(results)[0]
    assert (found.seeds, found.contrasts[0].seeds, found.contrasts[0].cells) == (4, 4, 2)
    assert found.contrasts[0].missing == 1
    dead, _ = made(3.0, missing={(1, b, c, s) for b in (0, 1) for c in (0, 1) for s in range(5)})
    found = interactions(dead)[0]
    assert (found.seeds, found.degrees) == (5, pytest.approx((1, 4)))
    assert found.contrasts[0].difference is None


def test_settings_of_one_value_and_single_settings_have_none():
    one = grid({"a": [0, 1], "b": [0]}, 3, lambda a, b, s: float(s))
    assert interactions(gather(one, ["a", "b"])) == ()
    with pytest.raises(InputError, match="not an axis"):
        interactions(gather(one, ["a", "b"]), "c")


def test_an_interaction_is_plain_data():
    data = json.loads(json.dumps(interactions(made()[0])[0].as_data(), allow_nan=False))
    assert data["contrasts"][0]["interval"][0] < data["contrasts"][0]["interval"][1]
    assert data["exists"] is False
