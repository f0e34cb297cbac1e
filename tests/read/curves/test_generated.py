import numpy as np
import pytest

from tests.read.curves.generated import KINDS, SHAPES, generate, structureless
from tests.read.curves.noise import NOISES
from tests.read.curves.truth import (
    Descent,
    Floor,
    Growback,
    Plateau,
    Repeats,
    Slowdown,
    Spike,
    Unfinished,
)

CASES = [(kind, noise) for kind in KINDS for noise in NOISES]
OF_KIND = {
    "two_plateaus": (Plateau, 2),
    "growback": (Growback, 1),
    "spikes": (Spike, 1),
    "repeated_spikes": (Spike, 3),
    "slowdown": (Slowdown, 1),
    "plateau_descent": (Descent, 1),
}


def drawn(kind, noise, seed=0):
    return generate(np.random.default_rng(seed), kind, noise)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_curve(kind):
    one, same, other = drawn(kind, 0.03), drawn(kind, 0.03), drawn(kind, 0.03, seed=1)
    assert np.array_equal(one.values, same.values) and one.truth == same.truth
    assert one.truth != other.truth


@pytest.mark.parametrize(("kind", "noise"), CASES)
def test_the_truth_lies_inside_the_curve_and_the_curve_is_there(kind, noise):
    curve = drawn(kind, noise)
    last = curve.steps[-1]
    clean = np.interp(np.arange(last + 1), curve.steps, curve.clean)
    at_level = 1.02 * np.exp(curve.noise.deviation(np.log(1e-10)))
    assert curve.steps.dtype == np.int64 and curve.values.dtype == np.float64
    assert 1500 <= last <= 5000 and (curve.values > 0).all()
    for event in curve.truth:
        match event:
            case Plateau(level, first, end):
                assert 1 <= first < end < last and end - first >= max(150, 0.08 * last)
                assert clean[end] == pytest.approx(level, rel=at_level - 1)
                assert clean[first:].min() < level / 1.3
            case Descent(start, level, _, rate):
                assert Plateau in {type(other) for other in curve.truth if other != event}
                assert any(isinstance(e, Plateau) and e.last == start for e in curve.truth)
                assert rate > 0 and clean[start] == pytest.approx(level, rel=at_level - 1)
            case Growback(first, end, low, high):
                assert 1 < first < end < last and 1.5 <= high / low < 30.01
                assert clean[end + 1 :].min() < high and clean[: first + 1].max() > low
            case Spike(step, height, width):
                assert step in curve.steps and 3 <= height <= 1e4 and width >= 1
                assert clean[step] == clean[step - 5 : step + 6].max()
                assert clean[step] > 1.5 * clean[step - 50]
            case Slowdown(step):
                assert 1 < step < last
                before, after = np.log(clean[[step - 20, step + 20]]) - np.log(clean[step])
                assert before > 0 > after
            case Floor(level, first):
                assert last - first >= 0.12 * last
                flat = np.abs(clean[first:] - level) < (at_level - 1) * level
                assert flat.mean() > 0.5 and clean[-1] == pytest.approx(level, rel=at_level - 1)
            case Unfinished():
                assert clean[-1] < clean[int(0.85 * last)]


@pytest.mark.parametrize("kind", OF_KIND)
def test_a_kind_has_what_it_is_named_after(kind):
    event, least = OF_KIND[kind]
    curve = drawn(kind, 0.03)
    assert sum(isinstance(found, event) for found in curve.truth) >= least
    assert sum(isinstance(found, Floor | Unfinished) for found in curve.truth) == 1
    assert any(isinstance(e, Repeats) for e in curve.truth) == (kind == "repeated_spikes")


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("shape", SHAPES)
def test_noise_is_as_asked_and_nothing_happens_without_structure(shape, noise):
    rng = np.random.default_rng(3)
    curves = [structureless(rng, noise, shape) for _ in range(10)]
    ratios = np.concatenate([c.values / c.clean for c in curves if c.clean.min() > 1e-3])
    assert np.std(ratios) == pytest.approx(noise, rel=0.05)
    assert np.mean(ratios) == pytest.approx(1, abs=0.1 * noise)
    assert all(curve.truth == [] for curve in curves)
    assert all((np.diff(np.sign(np.diff(curve.clean))) == 0).all() for curve in curves)


def test_noise_is_up_to_three_times_larger_where_the_loss_is_small():
    curves = [drawn("plateau_descent", 0.03, seed) for seed in range(40)]
    deep = [(c.values / c.clean)[c.clean < 1e-6] for c in curves]
    wide = [float(np.std(ratios)) for ratios in deep if len(ratios) > 300]
    assert len(wide) >= 3 and 0.027 < min(wide) < 0.06 < max(wide) < 0.1


def test_a_third_of_the_curves_remember_their_noise():
    memories = [drawn("plateau_descent", 0.01, seed).noise.memory for seed in range(60)]
    assert set(memories) == {0.0, 0.3} and 10 <= memories.count(0.3) <= 30
