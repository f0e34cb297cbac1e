import math

import numpy as np
import pytest
import torch
from torch import nn

import ablab
from ablab.config import InputError
from ablab.watching.reducers.effective_rank import effective_rank


class Held(nn.Module):
    """A module of some parameters."""

    def __init__(self, **parameters):
        super().__init__()
        for name, value in parameters.items():
            self.register_parameter(name, nn.Parameter(torch.as_tensor(value)))


def measured(value):
    """What is said of one parameter: its row of the table."""
    found = ablab.analyze(Held(w=value), "parameter_norms")
    row = found.tables["parameters"].row(0, named=True)
    scalars = dict(found.scalars.select("name", "value").iter_rows())
    for name, number in scalars.items():
        assert row[name.rpartition("/")[2]] == number
    return row | {"values": found.tables["singular_values"]["value"].to_list()}


def test_a_case_worked_by_hand():
    row = measured(torch.diag(torch.tensor([3.0, -4.0])))
    assert row["rms"] == pytest.approx(math.sqrt((9 + 16) / 4))
    assert row["spectral_norm"] == pytest.approx(4)
    assert row["effective_rank"] == pytest.approx((9 + 16) ** 2 / (81 + 256))
    assert row["values"] == pytest.approx([4, 3])


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3), (1, 4), (3, 2, 2)])
def test_numpy_says_the_same(shape):
    w = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    row = measured(w)
    matrix = w.astype(np.float64).reshape(shape[0], -1)
    gram = matrix.T @ matrix
    values = np.sqrt(np.linalg.eigvalsh(gram)[::-1][: min(matrix.shape)].clip(0))
    assert row["rms"] == pytest.approx(np.sqrt(np.mean(matrix**2)))
    assert row["spectral_norm"] == pytest.approx(np.linalg.norm(matrix, 2))
    # tr(WᵀW)² / tr((WᵀW)²), which needs no singular values
    assert row["effective_rank"] == pytest.approx(np.trace(gram) ** 2 / np.trace(gram @ gram))
    assert row["values"] == pytest.approx(values.tolist(), rel=1e-6)
    assert (row["axes"], row["entries"]) == (len(shape), w.size)


def test_the_effective_rank_counts_equal_directions():
    orthogonal, _ = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)))
    assert measured(0.01 * orthogonal)["effective_rank"] == pytest.approx(6, rel=1e-5)
    assert measured(torch.outer(torch.ones(4), torch.arange(3.0)))["effective_rank"] == 1
    two = torch.diag(torch.tensor([1.0, 1.0, 0.0, 0.0]))
    assert measured(two)["effective_rank"] == pytest.approx(2)
    assert measured(1e-30 * two)["effective_rank"] == pytest.approx(2)


def test_the_effective_rank_is_the_statistics():
    w = torch.randn(7, 4, generator=torch.Generator().manual_seed(1))
    assert measured(w)["effective_rank"] == pytest.approx(float(effective_rank(w)), rel=1e-5)


def test_a_vector_has_a_size_alone():
    found = ablab.analyze(Held(b=[3.0, 4.0], s=2.0), "parameter_norms")
    scalars = dict(found.scalars.select("name", "value").iter_rows())
    assert scalars == {
        "analysis/parameter_norms/b/rms": pytest.approx(math.sqrt(12.5)),
        "analysis/parameter_norms/s/rms": 2.0,
    }
    assert found.tables["parameters"]["spectral_norm"].null_count() == 2
    assert found.tables["singular_values"].height == 0


def test_what_has_no_value_is_null():
    zero = measured(torch.zeros(2, 3))
    assert (zero["rms"], zero["spectral_norm"], zero["effective_rank"]) == (0, 0, None)
    broken = measured(torch.tensor([[1.0, torch.nan]]))
    assert broken["rms"] is broken["spectral_norm"] is broken["effective_rank"] is None
    empty = measured(torch.zeros(0, 3))
    assert empty["rms"] is empty["spectral_norm"] is None and empty["entries"] == 0


def test_parameters_are_chosen_by_patterns():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    found = ablab.analyze(model, "parameter_norms", settings={"parameters": ["*.weight"]})
    assert found.tables["parameters"]["parameter"].to_list() == ["0.weight", "1.weight"]
    assert found.settings.parameters == ("*.weight",)
    with pytest.raises(InputError, match=r"no parameter '2\.\*'"):
        ablab.analyze(model, "parameter_norms", settings={"parameters": ["2.*"]})
    with pytest.raises(InputError, match=r"parameter_norms\.parameters has a wrong value"):
        ablab.analyze(model, "parameter_norms", settings={"parameters": []})
