"""What is said of falls and of groups holds for the whole of them."""

import re
from dataclasses import replace

import numpy as np
import pytest

from ablab.read.curves import read_curve
from ablab.read.curves.numbers import number
from ablab.read.curves.pair_sentences import group_pair_sentence, pair_sentence
from ablab.read.curves.reading import Descent, Slowdown, Steepening
from ablab.read.curves.sentences import group_sentence, sentence
from ablab.read.curves.together import Together

STEPS = np.arange(1, 601)
LOG_10 = {"log(10)": float(np.log(10))}


def reading(values, steps=STEPS):
    noise = np.exp(0.01 * np.random.default_rng(0).standard_normal(len(steps)))
    return read_curve(steps, values * noise, "train_loss", LOG_10)


def fall_from_100(halving, slower=None):
    """Log 10 until 100, then half every so many steps; from 250 on every ``slower`` steps."""
    late = np.maximum(STEPS - 250, 0) if slower else np.zeros(len(STEPS))
    early = np.clip(STEPS - 100, 0, 150 if slower else None)
    return np.log(10) * 2.0 ** -(early / halving + late / (slower or 1))


def test_a_law_of_the_whole_fall_is_given_as_such():
    assert "(halving every 4" in sentence(reading(fall_from_100(45)))


def two_halvings(start, fast, slow, share):
    """Log 10 until a step, then the sum of two falls, of which the slow one has a small share."""
    late = np.maximum(STEPS - start, 0)
    return np.log(10) * ((1 - share) * 2.0 ** -(late / fast) + share * 2.0 ** -(late / slow))


def test_a_power_of_the_steps_since_a_level_was_left_has_no_law_of_the_step():
    found = reading(np.log(10) * (1 + np.maximum(STEPS - 100, 0) / 10.0) ** -2.0)
    (fall,) = found.descents
    assert fall.form == "neither"
    text = sentence(found)
    assert "on average" in text and "at first" not in text and "as step" not in text


@pytest.mark.parametrize(
    ("values", "halving", "at_first"),
    [
        # The fall ends where its slow tail begins, and halves every 20 steps up to there.
        (two_halvings(100, 20, 300, 0.001), 20, False),
        # No tail is apart from the fall, which goes on to the end and becomes ten times as slow.
        (two_halvings(100, 30, 300, 0.001), 30, True),
        (two_halvings(250, 20, 200, 0.003), 20, True),
        (np.log(10) * 2.0 ** -(np.maximum(STEPS - 250, 0) / 30) + 0.02, 30, True),
    ],
)
def test_a_law_that_does_not_hold_to_the_end_holds_at_first(values, halving, at_first):
    found = reading(values)
    (fall,) = found.descents
    assert fall.form == "exponential"
    assert fall.rate == pytest.approx(halving, rel=0.2)
    assert ("(at first halving every" in sentence(found)) == at_first
    assert ("(halving every" in sentence(found)) != at_first
    lasts = (fall.end - fall.start) / fall.rate * np.log(2) / np.log(fall.level / fall.to)
    assert (lasts > 1.2) == at_first


def test_a_fall_that_begins_slowly_has_no_law():
    """A logistic fall from log 10: its slope is first a tenth, then twice the average."""
    late = (STEPS - 300) / 60.0
    text = sentence(reading(np.log(10) * np.exp(-np.log1p(np.exp(late)) * 3)))
    assert "steps on average)" in text and "at first" not in text


def test_a_group_of_diverged_runs_does_not_end_at_a_level():
    values = np.append([2.7, 2.6], np.full(18, np.nan))
    broken = read_curve(np.arange(1, 21), values, "train_loss", LOG_10)
    assert group_sentence([broken, broken]) == "not finite from 3 on"
    sound = reading(np.full(600, 2.0))
    assert group_sentence([broken, sound, sound]).startswith("not finite from 3 on (1 of 3 seeds)")


def test_a_delay_is_told_in_steps():
    found = Together(
        "train_loss", "eval_loss", 2000, memorised=50, stays_at=10.0, generalised=800, delay=750,
        factor=16.0, value=0.6,
    )  # fmt: skip
    assert "(750 steps later, 16 times as many steps)" in pair_sentence(found)
    never = Together("train_loss", "eval_loss", 2000, memorised=50, stays_at=10.0)
    assert group_pair_sentence([found, found]) == (
        "eval_loss generalises at 800, after 16 times as many steps as train_loss"
    )
    assert group_pair_sentence([found, found, never]).startswith(
        "eval_loss generalises at 800 [800, never], after 16 [16, never] times as many steps as "
        "train_loss (2 of 3 seeds); "
    )
    # Of two seeds, one never does: the median is not reached, and no number is of both.
    assert group_pair_sentence([found, never]) == (
        "eval_loss generalises at 800, after 16 times as many steps as train_loss (1 of 2 seeds); "
        "memorises and does not generalise by 2,000 (1 of 2 seeds)"
    )


@pytest.mark.parametrize(("halving", "at_first"), [(55.0, True), (62.0, False)])
def test_a_law_that_changes_by_a_fifth_holds_only_at_first(halving, at_first):
    """From 2.303 to 0.0242 in 448 steps, a loss halves every 68 steps on average."""
    found = replace(
        reading(np.full(600, 2.0)),
        floor=None,
        finished=False,
        descents=(Descent(152, 600, 2.303, None, 0.0242, "exponential", halving, 1.0),),
    )
    assert ("at first" in sentence(found)) == at_first


def test_the_value_of_a_fall_is_where_it_ends():
    found = reading(fall_from_100(45))
    (fall,) = found.descents
    row = next(row for row in found.shown().rows if row[0] == "descent")
    assert fall.name == "log(10)"
    assert row[3] == number(fall.to)


def test_a_fall_that_ends_where_it_slows_down_is_told_in_one_phrase():
    found = replace(
        reading(np.full(600, 2.0)),
        floor=None,
        finished=False,
        descents=(Descent(1, 48, 4.21, None, 3.34, "exponential", 132.0, 1.0),),
        slowdowns=(Slowdown(45, 3.34, 4.0, 1.0),),
    )
    assert sentence(found).startswith(
        "falls from 4.21 to 3.34 at 45 (halving every 132 steps), then 4 times as slowly; "
    )
    apart = replace(found, slowdowns=(Slowdown(200, 3.0, 4.0, 1.0),))
    assert "slows down 4-fold at 200 (3)" in sentence(apart)
    # A fall that becomes steeper before is told in the order of time.
    steeper = replace(found, steepenings=(Steepening(28, 3.9, 4.1, 1.0),))
    assert sentence(steeper).index("times as steeply") < sentence(steeper).index("slows down")


def test_the_average_agrees_with_the_ends_that_are_told():
    # The first value is far above the second, from where the fall is told.
    steps = np.arange(1, 301)
    values = 0.43 + 1.2 * np.exp(-(steps - 1) / 150) + 0.6 * np.exp(-(steps - 1) / 0.8)
    values *= np.exp(0.01 * np.random.default_rng(0).standard_normal(300))
    text = sentence(read_curve(steps, values))
    told = re.search(
        r"falls from ([\d.]+) to ([\d.]+) at (\d+) \(halving every ([\d.]+) steps on", text
    )
    assert told is not None, text
    high, low, end, halving = map(float, told.groups())
    assert halving == pytest.approx((end - 1) * np.log(2) / np.log(high / low), rel=0.3)
