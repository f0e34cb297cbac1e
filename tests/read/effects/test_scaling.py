import json

import numpy as np
import pytest
from scipy import stats

from ablab.config import InputError
from ablab.read.effects import gather, scaling
from tests.read.effects.made import grid

WIDTHS = [32, 4, 8, 16, 64]
NOISE = np.random.default_rng(5).normal(size=(5, 2, 5))


def made(law, axes=None, seeds=5, noise=0.1):
    axes = axes or {"width": WIDTHS, "heads": [1, 4]}
    levels, heads = list(axes["width"]), axes["heads"]

    def value(width, head, seed):
        found = law(width, head, seed)
        if found is None:
            return None
        return found * np.exp(noise * NOISE[levels.index(width), heads.index(head), seed])

    return gather(grid(axes, seeds, value), list(axes), measure="leaves(log(10))")


def power(width, head, seed):
    return 1000 * width**-0.6 * head**0.3 * (1 + seed)


def test_a_power_law_without_noise_is_found_exactly():
    found = scaling(made(power, noise=0.0), "width")
    fit = found.best
    assert (fit.form, fit.seeds, fit.step) == ("power law", 5, 0.5)
    assert fit.slope == pytest.approx(-0.6)
    assert fit.factor == pytest.approx(2**0.6)
    assert fit.off_by == pytest.approx(1.0)
    assert (fit.r_squared, found.clear) == (pytest.approx(1.0), True)
    assert found.levels == (4, 8, 16, 32, 64)


def test_the_interval_is_students_over_the_seeds_slopes():
    results = made(power)
    fit = scaling(results, "width").best
    x = np.log(WIDTHS)
    logs = np.log(results.values).mean(axis=1)
    slopes = [stats.linregress(x, logs[:, seed]).slope for seed in range(5)]
    ends = stats.ttest_1samp(slopes, 0).confidence_interval()
    assert fit.slope == pytest.approx(np.mean(slopes))
    assert fit.interval == pytest.approx(tuple(ends), rel=1e-6)
    assert fit.factor_interval == pytest.approx((2 ** -ends[1], 2 ** -ends[0]), rel=1e-6)
    assert fit.interval[0] < -0.6 < fit.interval[1]
    assert fit.holds


def test_the_fit_of_the_levels_means_is_by_the_book():
    results = made(power)
    means = np.log(results.values).mean(axis=(1, 2))
    for fit, x in zip(
        scaling(results, "width").fits, [np.log(WIDTHS), np.array(WIDTHS)], strict=True
    ):
        line = stats.linregress(x, means)
        off = means - line.intercept - line.slope * x
        assert fit.r_squared == pytest.approx(line.rvalue**2)
        assert fit.off_by == pytest.approx(np.exp(np.abs(off).max()))
        aicc = 5 * np.log((off**2).sum() / 5) + 2 * 3 + 2 * 3 * 4 / (5 - 3 - 1)
        assert fit.aicc == pytest.approx(aicc)


def test_an_exponential_is_told_from_a_power_law():
    axes = {"width": [0.0, 0.25, 0.5, 0.75, 1.0], "heads": [1, 4]}
    found = scaling(made(lambda w, h, s: 50 * np.exp(2 * w), axes), "width")
    assert [fit.form for fit in found.fits] == ["exponential"]  # no power law through 0
    assert (found.best.step, found.best.factor) == (0.25, pytest.approx(np.exp(0.5), rel=0.1))
    axes["width"] = [1.0, 2.0, 3.0, 4.0, 5.0]
    found = scaling(made(lambda w, h, s: 50 * np.exp(-2 * w), axes), "width")
    assert (found.best.form, found.clear, found.best.step) == ("exponential", True, -1.0)
    assert found.best.factor == pytest.approx(np.exp(2), rel=0.1)


def test_runs_that_never_did_are_counted_and_bend_no_slope():
    def late(width, head, seed):
        return (
            None
            if (width == 4 and seed < 3) or (width == 8 and head == 4)
            else power(width, head, seed)
        )

    found = scaling(made(late, noise=0.0), "width")
    assert (found.runs, found.missing) == (50, 3 * 2 + 5)
    assert found.best.slope == pytest.approx(-0.6)
    assert found.best.off_by == pytest.approx(1.0)


def test_a_single_seed_has_a_slope_and_no_interval():
    results = made(power, seeds=1)
    fit = scaling(results, "width", "base").best
    line = stats.linregress(np.log(WIDTHS), np.log(results.values[:, 0, 0]))
    assert (fit.seeds, fit.slope) == (1, pytest.approx(line.slope))
    assert (fit.interval, fit.factor_interval, fit.p) == (None, None, None)


def test_two_levels_fit_any_line_and_are_no_relation():
    axes = {"width": [4, 8], "heads": [1, 4]}
    fit = scaling(made(power, axes), "width").best
    assert (fit.r_squared, fit.holds, fit.aicc) == (None, False, None)
    assert fit.interval[0] < -0.6 < fit.interval[1]


def test_what_is_no_line_is_no_relation():
    found = scaling(made(lambda w, h, s: 100.0 if w in (8, 32) else 1.0), "width")
    assert not found.best.holds
    assert found.best.off_by > 5


def test_a_measure_that_does_not_change_is_no_relation():
    found = scaling(made(lambda w, h, s: 7.0, noise=0.0), "width")
    assert (found.best.slope, found.best.r_squared) == (pytest.approx(0.0), None)
    assert not found.best.holds


def test_nothing_to_fit_is_no_fit():
    found = scaling(made(lambda w, h, s: None), "width")
    assert (found.best, found.levels, found.missing) == (None, (), 50)


def test_what_has_no_relation_is_refused():
    with pytest.raises(InputError, match="not positive"):
        scaling(made(lambda w, h, s: -1.0), "width")
    words = gather(grid({"a": ["x", "y"]}, 2, lambda a, s: 1.0), ["a"])
    with pytest.raises(InputError, match="numbers"):
        scaling(words, "a")
    switches = gather(grid({"a": [True, False]}, 2, lambda a, s: 1.0), ["a"])
    with pytest.raises(InputError, match="numbers"):
        scaling(switches, "a")


def test_a_relation_is_plain_data():
    data = json.loads(json.dumps(scaling(made(power), "width").as_data(), allow_nan=False))
    assert data["fits"][0]["holds"] is True
    assert len(data["fits"][0]["interval"]) == 2
