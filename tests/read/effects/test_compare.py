import json

import numpy as np
import pytest
from scipy import stats

from ablab.config import InputError
from ablab.read.effects import differences, gather
from tests.read.effects.made import grid

LUCK = [0.0, 5.0, -3.0, 8.0]  # a seed's, far larger than any effect
NOISE = {2: [0.1, 0.2, 0.15, 0.3], 4: [0.5, 0.4, 0.6, 0.45]}


def noisy(a, b, seed):
    effect = NOISE[a][seed] if b == "y" and a in NOISE else 0.0
    return LUCK[seed] + a + effect


def results(value=noisy, seeds=4, scale="difference", base=None, **axes):
    axes = axes or {"a": [1, 2, 4], "b": ["x", "y"]}
    return gather(grid(axes, seeds, value), list(axes), base, scale)


def test_pairs_are_by_seed_so_luck_that_is_shared_cancels():
    found = differences(results(base={"b": "y"}), "a", "base")
    values = np.array([1.1, 1.2, 1.15, 1.3])
    test = stats.ttest_rel(values, np.zeros(4))
    two, four = found
    assert (two.value, two.reference, two.seeds, two.cells, two.pairs) == (2, 1, 4, 1, 4)
    assert two.difference == pytest.approx(values.mean())
    assert two.interval == pytest.approx(tuple(test.confidence_interval()))
    assert two.p == pytest.approx(test.pvalue)
    assert two.p_adjusted == pytest.approx(max(2 * min(two.p, four.p), two.p))
    assert (two.verdict, two.direction) == ("differs", "higher")


def test_over_all_cells_each_seed_counts_once():
    (two, _) = differences(results(), "a", "all")
    values = np.array([1.1, 1.2, 1.15, 1.3]) / 2 + 0.5  # the mean of both cells' differences
    assert (two.seeds, two.cells, two.pairs) == (4, 2, 8)
    assert two.difference == pytest.approx(values.mean())
    assert two.interval == pytest.approx(
        tuple(stats.ttest_1samp(values, 0).confidence_interval()), rel=1e-6
    )


def test_each_with_each_and_all_settings_are_one_family():
    each = differences(results(), "a", against="each")
    assert [(c.reference, c.value) for c in each] == [(1, 2), (1, 4), (2, 4)]
    every = differences(results())
    assert [c.key for c in every] == ["a", "a", "b"]
    assert {c.family for c in every} == {3}


def test_the_base_may_stand_anywhere():
    found = differences(results(base={"a": 2}), "a")
    assert [(c.reference, c.value, c.direction) for c in found] == [
        (2, 1, "lower"),
        (2, 4, "higher"),
    ]


def test_missing_pairs_are_counted_and_their_cell_or_seed_left_out():
    def value(a, b, seed):
        return None if (a, b, seed) == (2, "x", 3) else noisy(a, b, seed)

    (two, four) = differences(results(value), "a")
    assert (two.pairs, two.missing, two.seeds, two.cells) == (8, 1, 3, 2)
    assert (four.missing, four.seeds, four.cells) == (0, 4, 2)


def test_a_value_without_runs_has_no_comparison():
    (two, _) = differences(results(lambda a, b, s: None if a == 2 else noisy(a, b, s)), "a")
    assert (two.seeds, two.difference, two.interval, two.p, two.verdict) == (
        0, None, None, None, "undecided",
    )  # fmt: skip
    assert (two.missing, two.pairs, two.seeds_to_detect) == (8, 8, None)


def test_one_seed_has_a_difference_and_no_more():
    (two, _) = differences(results(seeds=1), "a", margin=1.0)
    assert two.difference == pytest.approx(1.05)
    assert [two.interval, two.deviation, two.p, two.p_adjusted, two.bound] == [None] * 5
    assert (two.p_equivalence, two.verdict, two.seeds_to_detect) == (None, "undecided", None)


def test_ratios_are_geometric():
    levels = {1: [1.0, 2.0, 4.0], 2: [3.0, 8.0, 10.0]}
    (found,) = differences(results(lambda a, s: levels[a][s], 3, "ratio", a=[1, 2]), margin=20.0)
    logs = np.log([3.0, 4.0, 2.5])
    ends = np.exp(stats.ttest_1samp(logs, 0).confidence_interval())
    assert found.difference == pytest.approx(30 ** (1 / 3))
    assert found.interval == pytest.approx(tuple(ends), rel=1e-6)
    assert found.deviation == pytest.approx(logs.std(ddof=1))
    assert found.bound > found.difference
    assert found.direction == "higher"
    assert found.within_margin
    low = stats.ttest_1samp(logs, np.log(20.0), alternative="less").pvalue
    assert found.p_equivalence == pytest.approx(low)


def test_equivalence_needs_a_margin_that_was_stated():
    near = [0.01, -0.02, 0.015, 0.0]

    def value(a, seed):
        return LUCK[seed] + (near[seed] if a == 2 else 0.0)

    made = results(value, a=[1, 2])
    (unstated,) = differences(made)
    assert (unstated.verdict, unstated.margin, unstated.p_equivalence) == ("undecided", None, None)
    assert unstated.bound < 0.05
    (stated,) = differences(made, margin=0.05)
    assert (stated.verdict, stated.within_margin) == ("equivalent_among_seen", True)
    (wide,) = differences(made, margin=0.01)
    assert (wide.verdict, wide.within_margin) == ("undecided", False)
    assert wide.seeds_for_equivalence > 4


def test_a_small_difference_may_be_told_and_lie_within_the_margin():
    close = [0.010, 0.011, 0.009, 0.010]
    made = results(lambda a, s: LUCK[s] + (close[s] if a == 2 else 0.0), a=[1, 2])
    (found,) = differences(made, margin=0.05)
    assert (found.verdict, found.within_margin) == ("differs", True)


def test_a_wide_interval_is_undecided_and_says_how_many_seeds_it_takes():
    wild = [1.0, -2.0, 3.0, -0.5]
    made = results(lambda a, s: LUCK[s] + (wild[s] if a == 2 else 0.0), a=[1, 2])
    (found,) = differences(made, margin=0.1)
    assert found.verdict == "undecided"
    assert found.seeds_to_detect > 20
    assert found.seeds_for_equivalence > 1000


def test_equal_values_are_level():
    (found,) = differences(results(lambda a, s: LUCK[s], 3, a=[1, 2]), margin=0.1)
    assert (found.difference, found.deviation, found.interval, found.p) == (0.0, 0.0, None, 1.0)
    assert (found.direction, found.verdict) == (None, "undecided")  # three seeds show too little
    (more,) = differences(results(lambda a, s: 1.0, 5, a=[1, 2]), margin=0.1)
    assert more.verdict == "equivalent_among_seen"
    (many,) = differences(results(lambda a, s: 1.0, 40, a=[1, 2]), margin=0.1)
    assert many.verdict == "equivalent"  # 40 of 40: at most 9% are of another kind


def test_margins_that_mean_nothing_are_refused():
    made = results(lambda a, s: 1.0 + s, a=[1, 2])
    for margin in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="margin"):
            differences(made, margin=margin)
    ratios = results(lambda a, s: 1.0 + s, scale="ratio", a=[1, 2])
    with pytest.raises(InputError, match="factor above 1"):
        differences(ratios, margin=0.5)


def test_a_comparison_is_plain_data():
    (found, _) = differences(results(), "a", margin=0.1)
    data = json.loads(json.dumps(found.as_data(), allow_nan=False))
    assert data["interval"] == list(found.interval)
    assert (data["verdict"], data["direction"], data["within_margin"]) == (
        found.verdict, found.direction, found.within_margin,
    )  # fmt: skip
    assert data["seeds_to_detect"] == found.seeds_to_detect
