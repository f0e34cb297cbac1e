"""Expected attention patterns, worked by hand."""

import numpy as np

from tests.analysis.planted import patterns

TOKENS = np.array([[5, 7, 5, 5, 7]])


def test_idle():
    expected = [[1, 0, 0], [1 / 2, 1 / 2, 0], [1 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(patterns.idle(np.array([[5, 7, 5]])), [expected])


def test_previous_token():
    expected = [[1, 0, 0], [1, 0, 0], [0, 1, 0]]
    np.testing.assert_array_equal(patterns.previous_token(np.array([[5, 7, 5]])), [expected])


def test_duplicate_token():
    expected = [
        [1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [1, 0, 0, 0, 0],
        [1 / 2, 0, 1 / 2, 0, 0],
        [0, 1, 0, 0, 0],
    ]
    np.testing.assert_allclose(patterns.duplicate_token(TOKENS), [expected])


def test_induction():
    expected = [
        [1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],  # no earlier 7: all but the first
        [0, 1, 0, 0, 0],  # what followed the first 5
        [0, 1 / 2, 0, 1 / 2, 0],  # what followed the first and the second 5
        [0, 0, 1, 0, 0],  # what followed the 7
    ]
    np.testing.assert_allclose(patterns.induction(TOKENS), [expected])
