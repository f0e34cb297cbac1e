import hashlib
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, qmc

from ablab.experiments.sweep_values import rounded, sobol_rows, sweep_values
from ablab.experiments.sweeps import Bounds

LOG = Bounds("loguniform", 1e-4, 1e-2, 8)


def values(kind, low, high, n, whole=False, name="x", key="train.lr", **more):
    return sweep_values(Bounds(kind, low, high, n), name, key, whole, **more)


def test_a_geometric_space_is_numpys_with_four_digits():
    found = values("geomspace", 1e-4, 1e-2, 8)
    assert found == [0.0001, 0.0001931, 0.0003728, 0.0007197, 0.001389, 0.002683, 0.005179, 0.01]
    np.testing.assert_allclose(found, np.geomspace(1e-4, 1e-2, 8), rtol=5e-4)


def test_values_that_are_exact_keep_up_to_eight_digits():
    assert values("geomspace", 1, 65536, 17) == [2.0**k for k in range(17)]
    assert values("linspace", 0, 1, 11) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert values("linspace", 1, 2, 17)[1] == 1.0625
    assert rounded(2 / 3) == 0.6667
    assert rounded(-12345.6789) == -12350.0


def test_ends_are_as_they_were_given_and_a_narrow_range_has_more_digits():
    found = values("linspace", 0.123456, 0.123465, 4)
    assert found == [0.123456, 0.123459, 0.123462, 0.123465]
    assert values("linspace", 0.5, 1.0, 1) == [0.5]  # as in NumPy


def test_whole_numbers_are_rounded_and_not_repeated():
    found = values("geomspace", 16, 512, 6, whole=True)
    assert found == [16, 32, 64, 128, 256, 512]
    assert all(isinstance(each, int) for each in found)
    assert values("linspace", 1, 4, 10, whole=True) == [1, 2, 3, 4]
    assert values("geomspace", 1, 20000, 3, whole=True) == [1, 141, 20000]
    assert values("uniform", 1, 4, 10, whole=True) == [1, 2, 3, 4]


def test_paired_values_keep_repetitions():
    found = values("linspace", 1, 2, 4, whole=True, paired=True)
    assert found == [1, 1, 2, 2]


def test_drawn_values_are_digests_of_the_name_the_key_and_a_counter():
    shares = []
    for counter in range(3):
        text = f'["lr-sweep", "train.lr", {counter}]'
        digest = hashlib.sha256(text.encode()).hexdigest()
        shares.append(int(digest[:13], 16) / 16**13)
    expected = [float(f"{10 ** (-4 + 2 * share):.4g}") for share in shares]
    assert values("loguniform", 1e-4, 1e-2, 3, name="lr-sweep") == sorted(expected)
    assert values("loguniform", 1e-4, 1e-2, 3, name="lr-sweep", paired=True) == expected
    expected = [float(f"{2 + 3 * share:.4g}") for share in shares]
    assert values("uniform", 2, 5, 3, name="lr-sweep") == sorted(expected)


def test_other_names_and_keys_have_other_values():
    found = values("uniform", 0, 1, 5)
    assert values("uniform", 0, 1, 5) == found
    assert values("uniform", 0, 1, 5, name="y") != found
    assert values("uniform", 0, 1, 5, key="train.weight_decay") != found


def test_more_values_include_those_of_fewer():
    assert set(values("loguniform", 1e-4, 1, 4)) < set(values("loguniform", 1e-4, 1, 16))


def test_drawn_values_are_spread_as_they_should_be():
    found = values("loguniform", 1e-4, 1e-2, 2000)
    assert len(set(found)) == 2000
    assert kstest((np.log10(found) + 4) / 2, "uniform").pvalue > 0.01
    whole = values("uniform", 1, 4, 4000, whole=True, paired=True)
    counts = [whole.count(each) for each in (1, 2, 3, 4)]
    assert min(counts) > 900  # the ends are as likely as the others
    assert sum(counts) == 4000


@given(
    kind=st.sampled_from(["geomspace", "linspace", "loguniform", "uniform"]),
    low=st.floats(1e-6, 1e3),
    factor=st.floats(1.001, 1e6),
    n=st.integers(2, 40),
)
def test_values_increase_within_their_range(kind, low, factor, n):
    found = values(kind, low, low * factor, n)
    assert len(found) == n
    assert all(before < after for before, after in pairwise(found))
    assert low <= found[0] <= found[-1] <= low * factor


def test_sobol_is_scipys_sequence_with_a_digital_shift():
    over = {"a": Bounds("uniform", 0, 1, None), "b": Bounds("uniform", 0, 1, None)}
    rows = sobol_rows(8, over, "x", lambda _: False)
    unshifted = qmc.Sobol(2, scramble=False).random_base2(3)
    for place, key in enumerate("ab"):
        text = f'["x", "sobol {key}", 0]'
        shift = int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) >> 34
        expected = [(round(u * 2**30) ^ shift) / 2**30 for u in unshifted[:, place]]
        np.testing.assert_allclose([row[key] for row in rows], expected, rtol=5e-4)


def test_each_cell_of_a_sobol_sequence_has_a_point():
    over = {"a": LOG, "b": ["x", "y", "z", "w"]}
    rows = sobol_rows(16, over, "any", lambda _: False)
    cells = {(math.floor(2 * math.log10(row["a"] / 1e-4)), row["b"]) for row in rows}
    assert len(cells) == 16


def test_whole_numbers_of_a_sobol_sequence():
    rows = sobol_rows(64, {"n": Bounds("uniform", 1, 4, None)}, "x", lambda _: True)
    numbers = [row["n"] for row in rows]
    assert [numbers.count(each) for each in (1, 2, 3, 4)] == [16, 16, 16, 16]
    assert all(isinstance(each, int) for each in numbers)


@pytest.mark.parametrize("n", [1, 3, 16])
def test_any_number_of_points(n):
    assert len(sobol_rows(n, {"n": LOG}, "x", lambda _: False)) == n


def test_whole_numbers_can_be_drawn_from_a_range_of_any_length():
    drawn = sweep_values(Bounds("uniform", 1, 1e30, 3), "x", "model.d_model", whole=True)
    assert len(set(drawn)) == 3
    assert all(isinstance(each, int) and 1 <= each <= 1e30 for each in drawn)
