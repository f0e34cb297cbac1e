"""Scores of heads, worked by hand."""

import numpy as np
import pytest
import statsmodels.formula.api as smf
from pandas import DataFrame
from scipy import stats

from ablab.analysis.methods.explained import explained_by_labels
from ablab.analysis.methods.head_scores import (
    duplicate_token,
    head_score,
    induction,
    previous_token,
    repeated_sequences,
)

TOKENS = np.array([[4, 2, 4, 4]])


def positions(matches):
    return {tuple(pair) for pair in np.argwhere(matches[0]).tolist()}


def test_matches():
    assert positions(previous_token(TOKENS)) == {(1, 0), (2, 1), (3, 2)}
    assert positions(duplicate_token(TOKENS)) == {(2, 0), (3, 0), (3, 2)}
    # After an occurrence of 4 at 0 and, for the last query, at 2: itself.
    assert positions(induction(TOKENS)) == {(2, 1), (3, 1), (3, 3)}


def scored(shares, matches, **options):
    length = shares.shape[-1]
    visible = np.tri(length, dtype=bool)[None]
    queries = np.ones((len(shares), length)) / len(shares)
    arguments = {"permutations": 2000, "seed": 0} | options
    return head_score(shares, matches, queries, visible, **arguments)


def test_a_score_by_hand():
    shares = np.zeros((1, 1, 3, 3))
    shares[0, 0] = [[1, 0, 0], [0.8, 0.2, 0], [0.1, 0.6, 0.3]]
    found = scored(shares, previous_token(TOKENS[:, :3]))
    assert found.values[0] == pytest.approx((0.8 + 0.6) / 2)
    # Of 2 · 3 permutations one gives 0.8 + 0.6, and none more; the mean is (0.5 + 1/3) / 2.
    assert found.p[0] == pytest.approx(1 / 6, abs=0.03)
    assert found.null[0] == pytest.approx((0.5 + 1 / 3) / 2, abs=0.01)


def test_without_a_match_there_is_no_score():
    shares = np.broadcast_to(np.tri(3) / [[1], [2], [3]], (1, 1, 3, 3))
    found = scored(shares, duplicate_token(np.array([[1, 2, 3]])))
    assert np.isnan(found.values[0]) and np.isnan(found.p[0])


def test_p_values_of_random_heads_are_uniform():
    small = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        fixed = rng.exponential(size=(8, 8)) * np.tri(8)
        shares = np.broadcast_to(fixed / fixed.sum(-1, keepdims=True), (5, 1, 8, 8))
        tokens = rng.integers(4, size=(5, 8))
        small += scored(shares, previous_token(tokens), permutations=99).p[0] <= 0.1
    assert 8 <= small <= 34  # 10% of 200 is 20, with a standard deviation of 4.2


def test_the_correction_is_over_heads():
    """Of many random heads, seldom any seems to be one of a kind."""
    small = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        fixed = rng.exponential(size=(20, 8, 8)) ** 3 * np.tri(8)
        shares = np.broadcast_to(fixed / fixed.sum(-1, keepdims=True), (3, 20, 8, 8))
        visible = np.broadcast_to(np.tri(8, dtype=bool), (20, 8, 8))
        queries = np.ones((3, 8))
        found = head_score(shares, previous_token(np.zeros((3, 8))), queries, visible, 99, seed)
        assert (found.p_any >= found.p).all()
        small += (found.p_any <= 0.1).any()
    assert small <= 14  # 10% of 60 is 6, with a standard deviation of 2.3


def test_hidden_keys_are_not_permuted():
    visible = np.tri(6, dtype=bool) & ~np.tri(6, k=-3, dtype=bool)
    shares = np.where(visible, 1.0, 0) / visible.sum(-1, keepdims=True)
    shares = np.broadcast_to(shares, (1, 1, 6, 6))
    found = head_score(
        shares, previous_token(np.zeros((1, 6), int)), np.ones((1, 6)), visible[None], 50, 0
    )
    expected = (1 / 2 + 4 / 3) / 5
    for values in (found.values, found.null, found.high):
        assert values[0] == pytest.approx(expected)


def test_repeated_sequences():
    known = np.array([3, 5, 8, 9])
    found = repeated_sequences(known, 9, 50, 0)
    assert found.shape == (50, 8) and set(found.ravel()) == {3, 5, 8, 9}
    np.testing.assert_array_equal(found[:, :4], found[:, 4:])
    assert all(len(set(line[:4])) == 4 for line in found)
    assert repeated_sequences(known[:2], 8, 5, 0).shape == (5, 8)  # with repetitions in a half
    assert repeated_sequences(known, 3, 5, 0) is None
    assert repeated_sequences(known[:1], 8, 5, 0) is None


def test_explained_variance_is_that_of_a_regression():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=60)
    values = rng.normal(size=60) + 1.5 * labels
    weights = rng.uniform(0.5, 2, 60)
    frame = DataFrame({"y": values, "label": labels})
    expected = smf.wls("y ~ C(label)", frame, weights=weights).fit().rsquared
    found = explained_by_labels(values[:, None, None], labels, weights, 199, 0)
    assert found.share[0] == pytest.approx(expected)
    assert found.p[0] < 1e-3


@pytest.mark.parametrize("effect", [0.0, 0.3, 0.6, 0.9])
def test_its_p_value_is_that_of_the_f_test(effect):
    rng = np.random.default_rng(4)
    labels = np.arange(150) % 5
    values = rng.normal(size=150) + effect * (labels == 2)
    (p,) = explained_by_labels(values[:, None, None], labels, np.ones(150), 499, 0).p
    expected = stats.f_oneway(*(values[labels == label] for label in range(5))).pvalue
    assert np.log10(p) == pytest.approx(np.log10(expected), rel=0.25, abs=0.1)


def test_its_p_values_are_uniform_by_chance():
    rng = np.random.default_rng(3)
    labels = rng.integers(4, size=80)
    values = rng.exponential(size=(80, 400, 2))
    found = explained_by_labels(values, labels, np.ones(80), 199, 0)
    assert stats.kstest(found.p, "uniform").pvalue > 0.01
    assert 0.02 < (found.p <= 0.05).mean() < 0.09


def test_explained_variance_by_chance():
    rng = np.random.default_rng(1)
    labels = np.arange(100) % 5
    values = rng.normal(size=(100, 2, 3))
    found = explained_by_labels(values, labels, np.ones(100), 999, 0)
    np.testing.assert_allclose(found.null, 4 / 99, rtol=0.05)  # (k - 1) / (n - 1)
    assert (found.p > 0.01).all() and (found.high > found.null).all()


def test_explained_variance_by_hand():
    labels = np.array([0, 0, 1, 1])
    values = np.array([[1.0, 5], [3, 5], [5, 5], [7, 5]])[:, :, None]
    found = explained_by_labels(values, labels, np.ones(4), 19, 0)
    assert found.share[0] == pytest.approx(16 / 20)  # means 2 and 6 around 4
    assert np.isnan(found.share[1]) and np.isnan(found.p[1])


def test_a_label_of_each_sample_explains_everything_by_chance():
    values = np.random.default_rng(0).normal(size=(6, 1, 2))
    found = explained_by_labels(values, np.arange(6), np.ones(6), 19, 0)
    assert found.share[0] == pytest.approx(1) == found.null[0]
    assert found.p[0] == 1
