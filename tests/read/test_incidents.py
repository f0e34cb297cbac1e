import numpy as np
import polars as pl

from ablab.read.incidents import moved_first


def record(**columns):
    return pl.DataFrame({"step": list(range(1, 41)), **columns})


def test_what_moved_first_comes_first():
    noise = np.random.default_rng(0).normal(size=40)
    early, late = 1 + 0.01 * noise, 5 + 0.01 * noise
    early[29:] += np.linspace(2, 30, 11)
    late[35:] += 100
    drifting = np.linspace(1, 2, 40) + 0.001 * noise
    back = 1 + 0.01 * noise
    back[25:28] = 50
    found = moved_first(
        record(early=early, late=late, drifting=drifting, back=back, calm=3 + 0.01 * noise), 40
    )
    assert [each.name for each in found] == ["early", "late"]
    assert [each.step for each in found] == [30, 36]
    assert found[0].usual < 1.1 and found[0].value > 30


def test_what_is_not_finite_has_moved_and_short_records_say_nothing():
    values = np.ones(40)
    values[37:] = np.nan
    (found,) = moved_first(record(x=values), 40)
    assert (found.name, found.step) == ("x", 38)
    assert moved_first(record(x=values).head(10), 9) == []


def test_a_small_change_is_no_deviation_however_unusual():
    """Of a calm value of 1, 1.4 is 40 usual spreads away, and 1.6 is a factor that may explain."""
    small, large = np.ones(40), np.ones(40)
    small[35:], large[35:] = 1.4, 1.6
    drifting = np.linspace(1, 2, 40)  # its line ends at 2, so 2.6 is a factor of 1.3 from it
    drifting[35:] = 2.6
    falling, turned = np.ones(40), np.full(40, 0.1)
    falling[35:], turned[35:] = 0.6, -0.1
    found = moved_first(
        record(small=small, large=large, drifting=drifting, falling=falling, turned=turned), 40
    )
    assert {each.name for each in found} == {"large", "falling", "turned"}
    assert {each.at for each in found} == {40}
