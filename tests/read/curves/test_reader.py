import re

import numpy as np
import pytest

from ablab.read.curves import read_curve
from ablab.read.curves.numbers import number
from ablab.read.curves.reading import from_data
from ablab.read.curves.sentences import group_sentence, sentence
from tests.read.curves.generated import KINDS
from tests.read.curves.noise import NOISES
from tests.read.curves.score import invented, score

STEPS = np.arange(1, 3001)
LOG10 = np.log(10)
LEVELS = {"log(10)": LOG10, "log(2)": np.log(2)}


def noisy(clean, noise=0.01, seed=0):
    return clean * np.exp(noise * np.random.default_rng(seed).standard_normal(len(clean)))


def ladder(*places):
    """A curve of plateaus: (level, last step), each left exponentially for the next level."""
    clean = np.empty(len(STEPS))
    start = 0
    for place, (level, last) in enumerate(places):
        clean[start:] = level
        if place:
            before = places[place - 1][0]
            clean[start:] = level + (before - level) * np.exp(-(STEPS[start:] - start) / 15)
        start = last
    return clean


def test_generated_curves_are_read():
    found = score(read_curve, range(2 * len(KINDS) * len(NOISES)), seed=7)
    real = [noise for noise in NOISES if noise <= 0.08]
    for kind in ("plateau", "descent", "spike", "unfinished"):
        assert found.precision(kind, real) >= 0.95, (kind, found.faults)
        assert found.recall(kind, real) >= 0.95, (kind, found.faults)
    assert np.median([steps for _, steps, _ in found.errors]) <= 10


def test_nothing_is_found_where_nothing_is():
    assert invented(read_curve, range(45), seed=7) == []


def test_a_ladder_of_levels():
    clean = ladder((LOG10, 1000), (0.8, 1800), (1e-6, 3000))
    reading = read_curve(STEPS, noisy(clean), levels=LEVELS)
    assert [plateau.name for plateau in reading.plateaus] == ["log(10)", None]
    assert [plateau.level for plateau in reading.plateaus] == pytest.approx([LOG10, 0.8], rel=5e-3)
    assert [descent.start for descent in reading.descents] == pytest.approx([1000, 1800], abs=10)
    assert reading.floor is not None
    assert reading.floor.level == pytest.approx(1e-6, rel=1e-2)
    assert reading.finished
    text = sentence(reading)
    assert text.startswith(("log(10) until 99", "log(10) until 1,0"))
    assert "plateau at 0.8" in text
    assert "floor 1.0e-6" in text


def test_a_fall_that_goes_on_is_not_finished():
    clean = LOG10 * np.exp(-np.maximum(STEPS - 500, 0) / 100)
    reading = read_curve(STEPS, noisy(clean), levels=LEVELS)
    assert not reading.finished
    assert reading.floor is None
    (descent,) = reading.descents
    assert descent.form == "exponential"
    assert descent.rate == pytest.approx(100 * np.log(2), rel=0.05)
    assert "still falling" in sentence(reading)


def test_spikes_with_their_period_and_shape():
    clean = np.full(len(STEPS), 0.01)
    for step in (500, 1000, 1500, 2000, 2500):
        after = step <= STEPS
        clean[after] *= np.exp(3 * np.exp(-(STEPS[after] - step) / 10))
    reading = read_curve(STEPS, noisy(clean))
    assert [spike.step for spike in reading.spikes] == [500, 1000, 1500, 2000, 2500]
    assert [spike.height for spike in reading.spikes] == pytest.approx([np.e**3] * 5, rel=0.1)
    assert [spike.width for spike in reading.spikes] == pytest.approx([7] * 5, abs=2)
    assert reading.period == 500
    assert reading.likeness > 0.95
    assert "every 500 steps, similar in shape" in sentence(reading)


def test_a_growback_has_its_height():
    clean = ladder((LOG10, 300), (1e-3, 3000))
    rise = (STEPS > 1000) & (STEPS <= 2000)
    clean[rise] *= 1 + 9 * np.sin(np.pi * (STEPS[rise] - 1000) / 1000) ** 2
    (growback,) = read_curve(STEPS, noisy(clean)).growbacks
    assert growback.high / growback.low == pytest.approx(10, rel=0.1)
    assert growback.first == pytest.approx(1050, abs=80)
    assert growback.last == pytest.approx(1500, abs=80)


def test_a_slowdown_is_sudden():
    clean = np.exp(-np.minimum(STEPS, 600) / 60 - np.maximum(STEPS - 600, 0) / 600)
    (slowdown,) = read_curve(STEPS, noisy(clean)).slowdowns
    assert slowdown.step == pytest.approx(600, abs=20)
    assert slowdown.factor == pytest.approx(10, rel=0.3)
    assert read_curve(STEPS, noisy(3 * STEPS**-0.8)).slowdowns == ()


def test_levels_down_to_1e_12():
    clean = ladder((1e-3, 800), (1e-12, 3000))
    reading = read_curve(STEPS, noisy(clean, 0.05))
    assert reading.plateaus[0].level == pytest.approx(1e-3, rel=0.02)
    assert reading.floor is not None
    assert reading.floor.level == pytest.approx(1e-12, rel=0.02)


def test_an_accuracy_is_read_downwards():
    clean = 0.1 + 0.9 / (1 + np.exp(-(STEPS - 1200) / 30))
    values = clean + 0.01 * np.random.default_rng(0).standard_normal(len(STEPS))
    reading = read_curve(STEPS, values, "eval_accuracy")
    (descent,) = reading.descents
    assert reading.plateaus[0].level == pytest.approx(0.1, abs=0.01)
    assert descent.start == pytest.approx(1100, abs=60)
    assert reading.floor is not None
    assert reading.floor.level == pytest.approx(1, abs=0.01)
    assert not reading.growbacks


def test_a_level_that_is_never_left_is_a_floor():
    reading = read_curve(STEPS, noisy(np.full(len(STEPS), LOG10)), levels=LEVELS)
    assert reading.plateaus == ()
    assert reading.floor is not None
    assert reading.floor.name == "log(10)"
    assert sentence(reading) == "log(10) to the end (3,000)"


@pytest.mark.parametrize(
    ("start", "said"),
    [(LOG10, r"log\(10\) to the end"), (1.01 * LOG10, r"log\(10\) to the end"),
     (1.06 * LOG10, r"at log\(10\) from \d\d to the end"),
     (1.2 * LOG10, r"at log\(10\) from \d\d to the end")],
)  # fmt: skip
def test_a_curve_that_begins_above_a_level_is_there_from_a_step_on(start, said):
    values = LOG10 + (start - LOG10) * np.exp(-STEPS / 30)
    values *= np.exp(0.002 * np.random.default_rng(3).standard_normal(len(STEPS)))
    found = sentence(read_curve(STEPS, values, levels=LEVELS))
    assert re.fullmatch(rf"{said} \(3,000\)", found), found


def test_curves_that_are_hardly_any():
    few = read_curve([1, 2, 3], [3.0, 2.0, 1.0])
    assert (few.start, few.plateaus, few.floor) == (3.0, (), None)
    zeros = read_curve(STEPS, np.zeros(len(STEPS)))
    assert zeros.spikes == zeros.plateaus == ()
    broken = noisy(np.full(len(STEPS), 2.0))
    broken[2000:] = np.nan
    assert read_curve(STEPS, broken).not_finite == 2001
    with pytest.raises(ValueError, match="no finite value"):
        read_curve([1, 2], [np.nan, np.inf])
    with pytest.raises(ValueError, match="do not form a curve"):
        read_curve([1, 2], [1.0])


def test_a_reading_is_plain_data_and_back():
    reading = read_curve(STEPS, noisy(ladder((LOG10, 1000), (0.1, 3000))), levels=LEVELS)
    assert from_data(reading.as_data()) == reading


def test_several_seeds_are_one_sentence():
    readings = [
        read_curve(STEPS, noisy(ladder((LOG10, last), (1e-5, 3000)), seed=last), levels=LEVELS)
        for last in (800, 1000, 1400)
    ]
    text = group_sentence(readings)
    assert text.startswith(("log(10) until 99", "log(10) until 1,0"))
    assert "[7" in text or "[8" in text
    assert "floor 1.0e-5" in text


def test_numbers_are_written_in_three_digits():
    given = [0.0, 5.494, 0.1, 999.6, 1984, 99_940, 130_000, 2.4e7, 0.001, 9.4e-6, 2.1e-10, -1984]
    written = ["0", "5.49", "0.1", "1,000", "1,980", "99,900", "1.3e5", "2.4e7", "0.001", "9.4e-6"]
    assert [number(each) for each in given] == [*written, "2.1e-10", "-1,980"]
