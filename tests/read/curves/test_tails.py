"""How falls go on and end: slow tails, slow falls, floors, late departures, one level, one name."""

import re

import numpy as np
import pytest

from ablab.read.curves import read_curve
from ablab.read.curves.sentences import group_sentence, sentence
from tests.read.curves.real import real

STEPS = np.arange(1, 2001)
LOG_10 = float(np.log(10))
LEVELS = {"log(10)": LOG_10}


def noisy(clean, noise=0.01, seed=0):
    return clean * np.exp(noise * np.random.default_rng(seed).standard_normal(len(clean)))


def read(clean, seed=0, column="train_loss"):
    return read_curve(STEPS, noisy(clean, seed=seed), column, LEVELS)


def collapse(slow):
    """Log 10 until 300, then by a factor of e^5 in 100 steps, then e-fold in ``slow`` steps."""
    fast = np.clip(STEPS - 300, 0, 100) / 20
    return LOG_10 * np.exp(-fast - np.maximum(STEPS - 400, 0) / slow)


def test_a_slow_tail_is_said_with_its_knee():
    rounded = np.convolve(
        np.pad(np.log(collapse(1000)), 30, mode="edge"), np.ones(61) / 61, "valid"
    )
    reading = read(np.exp(rounded))
    (fall,) = reading.descents
    knees = [each.first for each in reading.tails] + [each.step for each in reading.slowdowns]
    assert knees == [pytest.approx(400, abs=30)]
    assert fall.end == pytest.approx(400, abs=40)
    assert fall.to == pytest.approx(LOG_10 * np.exp(-5), rel=0.5)
    assert "still falling at 2,000 (0.003" in sentence(reading)


def test_a_power_law_after_a_collapse_is_a_tail_and_one_throughout_is_not():
    late = LOG_10 * (1 + np.maximum(STEPS - 300, 0) / 15.0) ** -2.0
    (tail,) = read(late).tails
    assert 330 <= tail.first <= 600 and tail.last == 2000 and tail.factor > 3
    assert ", then slower; still falling at 2,000" in sentence(read(late))
    assert read(4 * STEPS**-0.4).tails == ()
    assert read(LOG_10 * np.exp(-np.maximum(STEPS - 300, 0) / 200)).tails == ()


def test_a_curve_that_still_falls_a_little_is_at_no_floor():
    clean = 2.4 + 2 * np.exp(-STEPS / 30)
    assert read(clean).floor is not None
    creeping = read(clean * (1 - 0.02 * STEPS / 1000))
    assert creeping.floor is None and not creeping.finished
    assert creeping.falls_slowly is not None
    assert creeping.falls_slowly.by == pytest.approx(0.02, abs=0.004)
    assert "still falls slowly (" in sentence(creeping)
    assert "% in the last 1,000 steps), at 2.3" in sentence(creeping)


@pytest.mark.parametrize("end", [1.35, 1.9, 2.15])
def test_a_run_that_leaves_its_level_late_and_by_little(end):
    late = 1 - (1 - end / LOG_10) * np.maximum(STEPS - 1300, 0) / 700
    reading = read((LOG_10 + 1.2 * np.exp(-STEPS / 60)) * late)
    (plateau,) = reading.plateaus
    assert plateau.name == "log(10)" and plateau.last == pytest.approx(1300, abs=150)
    assert "to a plateau at log(10) from" in sentence(reading)
    assert reading.descents[-1].start == plateau.last


def test_one_level_has_one_name():
    text = sentence(read(LOG_10 + 0.9 * np.exp(-STEPS / 60)))
    assert text.startswith("falls from 3.") and "floor log(10) from" in text
    assert "2.3" not in text and "2.4" not in text


def test_an_accuracy_with_a_shoulder_has_two_transitions():
    steps = np.arange(50, 2001, 50)
    values = 0.1 + 0.4 / (1 + np.exp(-(steps - 320) / 15))
    values = values + 0.45 * np.clip((steps - 400) / 500, 0, 1)
    values = values + 0.005 * np.random.default_rng(0).standard_normal(len(steps))
    reading = read_curve(steps, values, "eval_accuracy")
    first, second = reading.transitions
    assert first.step == pytest.approx(325, abs=25) and second.step == pytest.approx(650, abs=60)
    assert (first.low, second.high) == pytest.approx((0.1, 0.95), abs=0.02)
    assert "(transitions at 3" in sentence(reading)


def test_a_flat_accuracy_stays_where_it_is():
    values = 0.1 + 0.008 * np.random.default_rng(0).standard_normal(30)
    reading = read_curve(np.arange(30) * 100, values, "eval_accuracy")
    assert sentence(reading).endswith("to the end (2,900)")


def test_the_round_top_of_a_peak_is_no_plateau():
    steps = np.unique(np.geomspace(1, 10_000, 200).round().astype(int))
    clean = 3 * np.exp(1.2 / (1 + (steps / 800) ** -4.0) - 3 / (1 + (steps / 3000) ** -4.0))
    reading = read_curve(steps, noisy(clean, 0.02), "eval_loss")
    (peak,) = reading.peaks
    assert peak.step == pytest.approx(int(steps[np.argmax(clean)]), rel=0.3)
    assert not any(each.level > 5 for each in reading.plateaus)


def test_a_group_tells_what_only_one_of_it_does():
    def falls(start):
        return LOG_10 * np.exp(-np.maximum(STEPS - start, 0) / 40) + 1e-5

    usual = [read(falls(start), seed=start) for start in (200, 250, 300)]
    stays = group_sentence([*usual, read(np.full(len(STEPS), LOG_10))])
    assert "floor 1.0e-5 (3 of 4 seeds)" in stays and "stays at log(10) (1 of 4 seeds)" in stays
    spiky = falls(200)
    spiky[1500:] *= 1 + 30 * np.exp(-(STEPS[1500:] - 1500) / 8)
    assert "1 spike (1 of 4 seeds)" in group_sentence([*usual, read(spiky)])
    learns = read(falls(1000), seed=5)
    flat = [read(np.full(len(STEPS), LOG_10), seed=seed) for seed in range(3)]
    said = group_sentence([*flat, learns])
    # Three of four seeds never leave it, so that the median step is not the one seed's.
    assert re.match(rf"log\(10\) until after {STEPS[-1]:,} \[9\d\d, not left\]; ", said), said
    assert "(1 of 4 seeds)" in said
    assert group_sentence([*flat[:1], *usual]).startswith("log(10) until 27")  # (250 + 300) / 2
    assert ", not left]" in group_sentence([*flat[:1], *usual])


def test_numbers_of_spikes_have_one_median():
    def spiking(*places):
        values = LOG_10 * np.exp(-np.maximum(STEPS - 200, 0) / 40) + 1e-5
        for place in places:
            values[place:] *= 1 + 30 * np.exp(-(STEPS[place:] - place) / 8)
        return read(values)

    # 0, 1, 1 and 2 spikes: a median of 1 over all seeds; of 1 and 2, 1.5 and not 2.
    said = group_sentence([spiking(), spiking(1000), spiking(1500), spiking(1000, 1500)])
    assert "1 [0, 2] spikes (3 of 4 seeds)" in said
    assert "1.5 [1, 2] spikes" in group_sentence([spiking(1000), spiking(1000, 1500)])


def test_a_fall_by_two_percent_has_no_knee():
    steps, values = real("bigram")  # falls evenly from 4.7 until about 2,000
    assert all(tail.first > 1_000 for tail in read_curve(steps, values).tails)
    # By 3% in 50 steps, and from 300 on by as much in each 100.
    clean = 4.7 * np.exp(-0.03 * np.minimum(STEPS, 50) / 50 - 0.03 * STEPS / 100)
    assert read(clean).tails == () and read(clean).slowdowns == ()


def test_a_fall_is_as_low_where_it_ends_as_it_is_said_to_be():
    for seed in range(4):  # falls on by 2% in each 100 steps, to a rise from 1,500 on
        clean = 4 * np.exp(-np.minimum(STEPS, 200) / 200 - 2e-4 * STEPS)
        clean = clean * np.exp(np.maximum(STEPS - 1500, 0) / 1000)
        fall = read(clean, seed).descents[0]
        assert fall.to == pytest.approx(np.interp(fall.end, STEPS, clean), rel=0.03)
    reading = read(LOG_10 * np.exp(-np.clip(STEPS - 300, 0, 100) / 20 - 1e-3 * STEPS))
    (fall,) = reading.descents
    assert fall.to == pytest.approx(
        LOG_10 * np.exp(-(min(fall.end, 400) - 300) / 20 - fall.end / 1e3), rel=0.3
    )


@pytest.mark.parametrize("noise", [0.005, 0.02])
def test_a_value_above_a_level_that_falls_toward_it_has_not_left_it(noise):
    """A pause at 2.33 until 300, then log(10) until 1,400: it leaves log(10) once, at 1,400."""
    clean = LOG_10 + 0.03 / (1 + np.exp((STEPS - 300) / 40)) + 1.2 * np.exp(-STEPS / 20)
    clean = clean * np.exp(-np.maximum(STEPS - 1400, 0) / 60) + 1e-4
    (plateau,) = read_curve(STEPS, noisy(clean, noise), levels=LEVELS).plateaus
    assert plateau.name == "log(10)"
    assert plateau.last == pytest.approx(1400, abs=20)
