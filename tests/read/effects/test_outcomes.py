"""Runs that learn or not, diverge, or do not reach a step: counted first, then compared."""

import polars as pl
import pytest
from scipy import stats

from ablab.read.effects import comparison_sentence, differences, gather, verdict_words
from tests.read.effects.made import grid


def compare(*cells, scale="auto", margin=None, better=None, limits=None, **columns):
    rows = [(place, seed, v) for place, cell in enumerate(cells) for seed, v in enumerate(cell)]
    frame = pl.DataFrame(
        {"a": [r[0] for r in rows], "seed": [r[1] for r in rows]}
        | {"value": pl.Series([r[2] for r in rows], dtype=pl.Float64), **columns}
    )
    results = gather(frame, ["a"], None, scale, "accuracy", better, limits=limits)
    (found,) = differences(results, margin=margin)
    return found


MANY, FEW = [0.95, 0.96, 0.94, 0.10, 0.95], [0.10, 0.12, 0.95, 0.11, 0.96]


def test_runs_that_learn_are_counted_before_their_level_is_compared():
    found = compare(MANY, FEW, better="higher")
    assert (found.counts.what, found.counts.value, found.counts.reference) == (
        "learnt", (2, 5), (4, 5),
    )  # fmt: skip
    assert found.estimand == "difference of medians among runs that learnt"
    assert found.difference == pytest.approx(0.955 - 0.95)
    low, high = found.counts.interval
    assert low < -0.4 < high
    assert comparison_sentence(found, "accuracy").startswith("a=1 vs 0: 2 of 5 vs 4 of 5 runs lear")
    assert verdict_words(found).startswith("2 of 5 vs 4 of 5 runs learnt; undecided")


def test_a_group_is_not_called_learnt_where_no_direction_is_declared():
    found = compare(MANY, FEW)
    assert found.counts.what == "above"
    assert found.counts.cut == pytest.approx(0.53)
    assert "above 0.53" in comparison_sentence(found, "accuracy")


def test_of_a_measure_in_between_the_groups_are_not_called_learnt():
    frame = grid({"a": [0, 1]}, 5, lambda a, seed: (FEW if a else MANY)[seed])
    results = gather(frame, ["a"], measure="mean(eval_accuracy, 10, 20)", better="higher")
    (found,) = differences(results)
    assert (found.counts.what, found.counts.value) == ("higher", (2, 5))
    text = comparison_sentence(found, "the accuracy")
    assert "2 of 5 vs 4 of 5 runs are in the higher group (above 0.53) (" in text
    assert "among runs of the higher group, the accuracy is" in text
    assert verdict_words(found).startswith("2 of 5 vs 4 of 5 runs above 0.53; ")
    assert found.estimand == "difference of medians among runs of the higher group"


def test_equivalence_among_runs_that_learnt_is_called_so():
    found = compare(MANY, [0.1, 0.97, 0.95, 0.96, 0.97], better="higher", margin=0.1)
    assert found.verdict == "equivalent_among_seen"
    assert "larger than 0.1 among runs that learnt" in comparison_sentence(found, "accuracy")


def test_few_seeds_leave_open_that_others_do_not_learn():
    found = compare([0.95, 0.96, 0.94], [0.95, 0.97, 0.96], margin=0.1)
    assert found.verdict == "equivalent_among_seen"
    assert found.unseen == pytest.approx(1 - 0.025 ** (1 / 3))
    assert found.least_p == pytest.approx(0.1)
    assert "up to 71% of runs may be of another kind" in comparison_sentence(found, "accuracy")


def test_steps_not_reached_are_compared_up_to_the_common_horizon():
    found = compare(
        [100.0, 200, 900], [350, None, None], scale="difference",
        not_before=[None] * 4 + [1000, 800],
    )  # fmt: skip
    assert (found.horizon, found.counts.value, found.counts.reference) == (800, (1, 3), (2, 3))
    # Ranks 3, 5, 5 vs 1, 2, 5: of the 20 choices of three, four have a sum of 13 or more.
    assert found.p == pytest.approx(2 * 4 / 20)
    assert found.difference == pytest.approx((350 + 800 + 800 - 100 - 200 - 800) / 3)
    assert found.estimand == "difference of means of steps up to step 800"
    # Three of the six steps of which these means are made are no steps at which a run got there.
    assert "is higher by 283, counting those that did not as step 800" in (
        comparison_sentence(found, "steps")
    )


def test_a_side_that_never_reaches_it_has_counts_and_no_level():
    found = compare([100.0, 200, 300], [None] * 3, not_before=[None] * 3 + [1000, 800, 900])
    assert (found.difference, found.interval) == (None, None)
    assert found.why_none == "no run reached it on one side"
    assert found.counts.p == pytest.approx(1 / 32)  # Barnard's test of 0 of 3 vs 3 of 3
    # What decides are ranks, as in verdicts: 2 of the 20 choices of three have all or none.
    assert found.p == found.least_p == pytest.approx(2 / 20)
    assert found.verdict == "undecided"


def test_five_seeds_that_never_reach_it_are_later_by_ranks():
    found = compare([100.0, 200, 300, 150, 120], [None] * 5, not_before=[None] * 5 + [900] * 5)
    assert found.p == pytest.approx(2 / 252)
    assert (found.verdict, verdict_words(found)) == (
        "differs", "0 of 5 vs 5 of 5 runs reached it; less often",
    )  # fmt: skip
    assert found.direction == "higher"
    assert "one side never reached it; ranks of all runs higher: adjusted p 0.0079" in (
        comparison_sentence(found, "steps")
    )


def test_nothing_reached_anywhere_decides_nothing():
    found = compare([None] * 3, [None] * 3, margin=5.0, scale="difference", not_before=[20] * 6)
    assert (found.verdict, found.difference) == ("undecided", None)


def test_diverged_runs_are_counted():
    found = compare(
        [1.0, 1.1, 0.9], [1.0, None, 1.2], reason=[None] * 4 + ["diverged at step 3", None]
    )
    assert (found.counts.what, found.counts.value) == ("finished", (2, 3))
    assert found.missing == 1


def test_skewed_values_are_compared_by_ratios_or_have_no_interval():
    skewed = [0.1, 0.9, 0.3, 2.0], [0.2, 1.9, 0.7, 0.1]
    assert compare(*skewed).scale == "ratio"
    forced = compare(*skewed, scale="difference")
    assert (forced.interval, forced.why_none) == (None, "the values are skewed; compare ratios")


def test_runs_are_paired_only_where_seeds_matter():
    free = compare([1.0, 2.0, 1.5, 1.2], [2.2, 2.0, 2.9, 2.4], scale="difference")
    assert not free.paired
    welch = stats.ttest_ind([2.2, 2.0, 2.9, 2.4], [1.0, 2.0, 1.5, 1.2], equal_var=False)
    ends = welch.confidence_interval()
    assert free.interval == pytest.approx((ends.low, ends.high))
    assert compare([1.0, 9.0, 5.0, 3.0], [2.1, 10.0, 5.9, 4.0], scale="difference").paired


def test_two_seeds_that_are_far_apart_give_no_estimate():
    # Logarithms of 0 and 8 vs 4 and 7: the interval of the ratio spans e^±30 and more.
    found = compare([1.0, 2981.0], [54.6, 1096.6], better="lower")
    assert found.scale == "ratio"
    assert (found.interval, found.bound) == (None, None)
    assert found.why_none == "its interval reaches more than a factor of 1,000 to either side"
    said = comparison_sentence(found, "loss")
    assert "undecided, no estimate of the ratio of loss" in said
    assert "2 seeds" in said


def test_the_difference_of_accuracies_stays_in_its_range():
    cells = [0.999, 1.0, 0.998], [0.4, 0.97, 0.2]
    found = compare(*cells, limits=(0.0, 1.0))
    assert -1 <= found.interval[0] < found.difference < found.interval[1] <= 1
    welch = stats.ttest_ind(cells[1], cells[0], equal_var=False).confidence_interval()
    assert welch.low < -1


def test_pairs_that_two_groups_leave_apart_are_compared_unpaired():
    # Of accuracies, no seed learnt with both values of the setting: there is nothing to pair.
    first, second = [0.99, 0.1, 0.985, 0.11, 0.98, 0.1], [0.1, 0.97, 0.11, 0.98, 0.1, 0.96]
    found = compare(first, second, better="higher", limits=(0.0, 1.0))
    assert found.counts.what == "learnt"
    low, high = found.interval
    assert -0.1 < low < found.difference < high < 0.05
