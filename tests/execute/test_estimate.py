import math

import pytest

from ablab.execute.accuracy import correction, factor
from ablab.execute.estimate import NO_TIME, Estimate


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate.within(200, 1.2), "3 min 20 s ± 20%"),
        (Estimate(200, 120, 240), "2 to 4 min"),
        (Estimate(60, 30, 120), "30 s to 2 min"),
        (Estimate(2, 0.67, 6), "0.67 to 6 s"),
        (Estimate(9000, 5400, 18000), "1.5 to 5 h"),
        (Estimate(300_000, 180_000, 500_000), "50 to 140 h"),
        (Estimate(45, 45, 45), "45 s"),
        (NO_TIME, "0.0 s"),
    ],
)
def test_an_estimate_is_a_range_unless_it_is_accurate(estimate, text):
    assert str(estimate) == text


def test_the_ends_of_ranges_add_up():
    assert Estimate(3, 2, 6) + Estimate(10, 5, 20) == Estimate(13, 7, 26)


def test_ranges_overlap_if_either_may_be_shorter():
    assert Estimate(3, 2, 6).overlaps(Estimate(8, 5, 20))
    assert not Estimate(3, 2, 6).overlaps(Estimate(8, 7, 20))


def test_a_factor_is_learned_from_ratios():
    assert factor("measured", []) == pytest.approx(1.25)
    assert factor("model", []) == pytest.approx(3.0)
    # Half of the estimates are twice too long, half of them twice too short: 1.5 deviations.
    twice = [math.log(2), -math.log(2)] * 1000
    assert factor("measured", twice) == pytest.approx(2**1.5, rel=0.01)
    assert factor("model", twice) == pytest.approx(2**1.5, rel=0.01)
    # Always twice as long is no error of a guess that is corrected by it.
    always = [math.log(2)] * 1000
    assert correction(always) == pytest.approx(2, rel=0.01)
    assert factor("setup", always, math.log(2)) == pytest.approx(1.1)
    assert factor("setup", [math.log(1000)] * 1000) == 5.0
    assert correction([]) == 1.0
