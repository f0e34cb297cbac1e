"""Losses of logits: bit for bit torch's, also where exponentials underflow."""

import pytest
import torch

from ablab.analysis.methods.losses import cross_entropies, log_sum_exp


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 300.0, 1e4, 1e30])
@pytest.mark.parametrize("count", [1, 2, 7, 59, 300])
def test_the_logarithm_of_a_sum_is_torchs(dtype, scale, count):
    draw = torch.Generator().manual_seed(count)
    values = torch.randn(200, count, generator=draw).to(dtype) * scale
    values[3] = -torch.inf
    values[4, 0], values[5, 0] = torch.inf, torch.nan
    values[6:100, -1] = -torch.inf
    torch.testing.assert_close(
        log_sum_exp(values), values.logsumexp(-1), rtol=0, atol=0, equal_nan=True
    )


def test_it_takes_further_axes():
    values = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)) * 100
    assert torch.equal(log_sum_exp(values), values.logsumexp(-1))


def test_small_losses_keep_their_relative_precision():
    margins = torch.tensor([1.0, 20.0, 50.0, 600.0, 800.0], dtype=torch.float64)
    logits = torch.stack([margins, torch.zeros(5), torch.full((5,), -1e4)], 1).double()
    found = cross_entropies(logits, torch.zeros(5, dtype=torch.int64))
    torch.testing.assert_close(found[:4], torch.exp(-margins[:4]).log1p(), rtol=1e-13, atol=0)
    assert 0 <= found[4] < 1e-300
