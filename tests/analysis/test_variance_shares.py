"""Shares of a variance, against worked cases, published values, SciPy, and real permutations."""

import itertools

import numpy as np
import pytest
from scipy import stats

from ablab.analysis.methods.unit_outputs import Unit
from ablab.analysis.methods.variance_shares import (
    Variances,
    dimensions,
    estimated_indices,
    exact_indices,
    is_constant,
    random_share,
)

SIGNS = np.array(list(itertools.product([-1, 1], repeat=2)))


def scalars(count):
    """Units of one column each."""
    return [Unit("neuron", 0, number) for number in range(count)]


def uniform(count):
    return np.full(count, 1 / count)


def test_exact_indices_of_a_case_worked_by_hand():
    # y = x + 2 z + x z for signs x and z: the three terms are uncorrelated, with the variances 1,
    # 4 and 1.
    x, z = SIGNS.T
    values = np.stack([x + 2 * z + x * z, x, x * z, 0 * x + 3], axis=-1).astype(float)
    found = exact_indices(values, SIGNS, scalars(4))
    np.testing.assert_allclose(found.main[:, :3], [[1 / 6, 1, 0], [4 / 6, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(found.total[:, :3], [[2 / 6, 1, 1], [5 / 6, 0, 1]], atol=1e-12)
    assert np.isnan(found.main[:, 3]).all()
    assert np.isnan(found.total[:, 3]).all()


def test_the_order_of_samples_and_the_names_of_tokens_do_not_matter():
    rng = np.random.default_rng(0)
    tokens = np.array(list(itertools.product([3, 7, 20], [0, 1], [5, 6, 8, 9])))
    values = rng.normal(size=(24, 5))
    order = rng.permutation(24)
    found = exact_indices(values, tokens, scalars(5))
    shuffled = exact_indices(values[order], tokens[order], scalars(5))
    np.testing.assert_allclose(found.total, shuffled.total)
    # The definitions, sample by sample.
    for position in range(3):
        same = (tokens[:, None, position] == tokens[None, :, position]).astype(float)
        others = (np.delete(tokens, position, 1)[:, None] == np.delete(tokens, position, 1)).all(-1)
        means = same @ values / same.sum(1, keepdims=True)
        known = others.astype(float) @ values / others.sum(1, keepdims=True)
        np.testing.assert_allclose(found.main[position], means.var(0) / values.var(0))
        np.testing.assert_allclose(found.total[position], 1 - known.var(0) / values.var(0))


def test_a_vector_adds_its_entries():
    x, z = SIGNS.T.astype(float)
    values = np.stack([3 * x, z, x], axis=-1)
    units = [Unit("head", 0, 0, 2), Unit("neuron", 0, 0)]
    found = exact_indices(values, SIGNS, units)
    np.testing.assert_allclose(found.main, [[0.9, 1], [0.1, 0]], atol=1e-12)
    np.testing.assert_allclose(dimensions(values, uniform(4), units), [100 / 82, 1])


def ishigami(x):
    """sin x₁ + 7 sin² x₂ + 0.1 x₃⁴ sin x₁ (Ishigami and Homma, 1990), and an unused input."""
    return (np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0]))[
        :, None
    ]


def estimated(count, seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(-np.pi, np.pi, size=(2, count, 4))
    changed = []
    for position in range(4):
        ab = a.copy()
        ab[:, position] = b[:, position]
        changed.append(ishigami(ab))
    return ishigami(a), ishigami(b), changed


def test_estimates_are_those_of_scipy_and_near_the_published_values():
    a, b, changed = estimated(2**14)
    found = estimated_indices(a, b, changed, scalars(1))
    scipy = stats.sobol_indices(
        func={"f_A": a.T, "f_B": b.T, "f_AB": np.stack([each.T for each in changed])}, n=2**14
    )
    np.testing.assert_allclose(found.main[:, 0], np.ravel(scipy.first_order), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.total[:, 0], np.ravel(scipy.total_order), rtol=1e-9)
    np.testing.assert_allclose(found.main[:, 0], [0.3139, 0.4424, 0, 0], atol=0.03)
    np.testing.assert_allclose(found.total[:, 0], [0.5576, 0.4424, 0.2437, 0], atol=0.03)
    assert found.main[3, 0] == found.total[3, 0] == found.total_high[3, 0] == 0


def test_intervals_cover():
    truths = np.array([[0.3139, 0.4424, 0.0], [0.5576, 0.4424, 0.2437]])
    covered = []
    for seed in range(200):
        found = estimated_indices(*estimated(512, seed), scalars(1))
        covered.append(
            [
                (found.main_low[:3, 0] <= truths[0]) & (truths[0] <= found.main_high[:3, 0]),
                (found.total_low[:3, 0] <= truths[1]) & (truths[1] <= found.total_high[:3, 0]),
            ]
        )
    rates = np.mean(covered, axis=0)
    # 0.95 with the standard error 0.015.
    assert rates.min() > 0.9
    assert rates.max() < 1


def test_a_correlation_ratio_worked_by_hand():
    values = np.array([[0.0, 5.0], [2.0, 5.0], [10.0, 5.0], [12.0, 5.0], [99.0, 5.0]])
    labels = np.array([4, 4, 7, 7, -1])
    # The means are 1 and 11, with the variance 25; the variance of 0, 2, 10, 12 is 26.
    found = Variances(values, uniform(5), scalars(2)).between(labels)
    assert found[0] == pytest.approx(25 / 26)
    assert np.isnan(found[1])
    # With three times the weight on label 7: mean 8.5, between 18.75, within 1.
    weights = np.array([1, 1, 3, 3, 1]) / 9
    found = Variances(values, weights, scalars(2)).between(labels)
    assert found[0] == pytest.approx(18.75 / 19.75)


def test_p_values_are_those_of_the_analysis_of_variance():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 200)
    values = rng.normal(size=(200, 3)) + labels[:, None] * [0, 0.05, 0.2]
    groups = [values[labels == label] for label in range(5)]
    expected = stats.f_oneway(*groups)
    shares = Variances(values, uniform(200), scalars(3)).between(labels)
    f = shares / (1 - shares) * (200 - 5) / (5 - 1)
    np.testing.assert_allclose(f, expected.statistic)
    random = random_share(labels, uniform(200))
    # Labels are not equally frequent, so only nearly.
    np.testing.assert_allclose(random.p_values(shares), expected.pvalue, rtol=0.02)
    labels = np.arange(200) % 5
    shares = Variances(values, uniform(200), scalars(3)).between(labels)
    expected = stats.f_oneway(*[values[labels == label] for label in range(5)])
    np.testing.assert_allclose(random_share(labels, uniform(200)).p_values(shares), expected.pvalue)


def rarely_active(rng):
    """A neuron that is active for 3% of samples."""
    return np.maximum(rng.normal(size=(900, 1)) - 1.9, 0)


CASES = {
    "balanced": (lambda rng: rng.normal(size=(900, 1)), np.arange(900) % 30, np.ones(900)),
    "rarely active": (rarely_active, np.arange(900) % 30, np.ones(900)),
    "stratified": (
        lambda rng: rng.normal(size=(900, 1)),
        np.repeat([0, 1, 2, 3], [300, 300, 200, 100]),
        np.repeat([10.0, 1.0, 1.0, 0.3], [300, 300, 200, 100]),
    ),
    "two columns": (
        lambda rng: rng.normal(size=(900, 2)) * [1, 2],
        np.arange(900) % 30,
        np.ones(900),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_random_shares_are_those_of_permutations(name):
    draw, labels, weights = CASES[name]
    weights = weights / weights.sum()
    rng = np.random.default_rng(0)
    values = draw(rng)
    units = [Unit("head", 0, 0, values.shape[1])]
    permuted = [
        Variances(rng.permutation(values), weights, units).between(labels)[0] for _ in range(1000)
    ]
    random = random_share(labels, weights, dimensions(values, weights, units))
    assert np.mean(permuted) == pytest.approx(
        (random.first / (random.first + random.second))[0], rel=0.1
    )
    assert np.quantile(permuted, 0.95) == pytest.approx(random.percentile(0.95)[0], rel=0.1)
    assert np.mean(random.p_values(np.array(permuted)) < 0.05) == pytest.approx(0.05, abs=0.03)


def test_rounding_is_no_variance():
    values = np.ones((100, 3))
    values[:, 1] += 1e-8 * np.arange(100)
    values[:, 2] = 1e-12 * np.arange(100)
    assert is_constant(values, scalars(3)).all()
    others = [Unit("neuron", 0, 0), Unit("neuron", 0, 1), Unit("neuron", 1, 0)]
    assert is_constant(values, others).tolist() == [True, True, False]
