"""Cosines of matrices: planted similarity is found, and unrelated heads are not similar."""

import numpy as np
import pytest

from ablab.analysis.methods.effective_matrices import EffectiveMatrix
from ablab.analysis.methods.matrix_similarity import similarities
from ablab.analysis.methods.resampling import corrected, corrected_array

D = 24


def head(number, read, weight, after, name="ov_logits"):
    return EffectiveMatrix(name, 0, number, read @ weight @ after, (read, weight, after))


def random_heads(rng, count):
    """Heads that share the embedding and what reads the residual stream after them."""
    read, unembedding = rng.normal(size=(30, D)), rng.normal(size=(D, 15))
    found = [
        head(number, read, rng.normal(size=(D, 4)), rng.normal(size=(4, D)) @ unembedding)
        for number in range(count)
    ]
    direct = EffectiveMatrix("embedding_logits", None, None, read @ unembedding)
    return [*found, direct]


def test_similar_heads_are_found():
    rng = np.random.default_rng(0)
    first, second, direct = random_heads(rng, 2)
    read, weight, after = first.factors
    copy = head(2, read, 3 * weight, after)
    opposite = head(3, read, weight, -2 * after)
    found = similarities([first, second, copy, opposite, direct], 199, 0)
    by_pair = {(each.head, each.other): each for each in found}
    assert sorted(by_pair, key=str) == sorted(
        [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2), *((n, None) for n in range(4))], key=str
    )
    assert by_pair[2, 0].cosine == pytest.approx(1)
    assert by_pair[3, 0].cosine == pytest.approx(-1)
    assert by_pair[2, 0].p == by_pair[3, 0].p == 1 / 200
    x, y = first.values, second.values
    expected = (x * y).sum() / np.linalg.norm(x) / np.linalg.norm(y)
    assert by_pair[1, 0].cosine == pytest.approx(expected)
    assert by_pair[2, 1].cosine == pytest.approx(expected)


def test_a_head_that_copies_what_it_reads_is_similar_to_the_direct_path():
    rng = np.random.default_rng(0)
    read, unembedding = rng.normal(size=(30, D)), rng.normal(size=(D, 15))
    weight = np.linalg.qr(rng.normal(size=(D, 12)))[0]
    copying = head(0, read, weight, weight.T @ unembedding)
    direct = EffectiveMatrix("embedding_logits", None, None, read @ unembedding)
    (found,) = similarities([copying, direct], 199, 0)
    # A projection on half of the directions: cos² is about 1/2.
    assert found.cosine == pytest.approx(0.5**0.5, abs=0.1)
    assert found.random < 0.3
    assert found.p == 1 / 200


def test_unrelated_heads_are_similar_as_often_as_chance_has_it():
    p = []
    for seed in range(60):
        found = similarities(random_heads(np.random.default_rng(seed), 3), 99, seed)
        p += [each.p for each in found]
    assert len(p) == 60 * 6
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.035)
    assert np.mean(p) == pytest.approx(0.5, abs=0.06)


def test_what_has_no_cosine_is_left_out():
    rng = np.random.default_rng(0)
    first, second, direct = random_heads(rng, 2)
    read, weight, after = first.factors
    nothing = head(0, read, weight, 0 * after)
    found = similarities([nothing, second, direct], 19, 0)
    assert [(each.head, each.other) for each in found] == [(1, None)]
    assert similarities([], 19, 0) == []
    assert similarities(random_heads(rng, 33), 19, 0) == []


def test_corrections_after_benjamini_and_hochberg():
    # 0.01 · 4 / 1; min(0.02 · 4 / 2, 0.03 · 4 / 3, 0.5) for the second and third.
    assert corrected([0.5, 0.01, 0.03, 0.02]) == pytest.approx([0.5, 0.04, 0.04, 0.04])
    assert corrected([]) == []
    found = corrected_array(np.array([0.5, np.nan, 0.01, 0.03, 0.02]))
    np.testing.assert_allclose(found, [0.5, np.nan, 0.04, 0.04, 0.04])
    assert np.isnan(corrected_array(np.array([np.nan]))).all()
