"""Planted parts with and without effect."""

import math

import numpy as np
import pytest
import torch

from ablab.model.interventions import replace, watch
from tests.analysis.planted.idle_parts import idle_parts
from tests.analysis.planted.settings import SETTINGS, WEIGHTS, logits_of, losses, setting_id
from tests.analysis.planted.tasks import Previous

BOTH = pytest.mark.parametrize("skip_matters", [True, False])
EVERY = pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)


def samples(planted):
    return Previous(planted.task).held_out(100)


def losses_with(planted, replacements):
    """The losses (B, P) with tensors replaced."""
    batch = samples(planted)
    with torch.no_grad():
        logits = replace(planted.model, torch.from_numpy(batch.tokens), replacements)
    return losses(logits[:, 1:].double(), batch.targets)


def one_head(head, change):
    def changed(z):
        z = z.clone()
        z[:, :, head] = change(z[:, :, head])
        return z

    return {"blocks.0.attn.z": changed}


def mean_over_samples(tensor):
    return tensor.mean(0, keepdim=True).expand_as(tensor)


@BOTH
@EVERY
def test_it_predicts_the_previous_token(settings, skip_matters):
    planted = idle_parts(skip_matters, **settings)
    batch = samples(planted)
    logits = logits_of(planted.model, batch.tokens)[:, 1:]
    assert (logits.argmax(-1) == batch.targets).all()
    np.testing.assert_allclose(losses(logits, batch.targets), planted.loss, rtol=1e-3)
    assert planted.loss == pytest.approx(math.log(1 + 5 * math.exp(-8)))


@BOTH
@EVERY
def test_the_zero_head_has_no_effect(settings, skip_matters):
    planted = idle_parts(skip_matters, **settings)
    head = planted.zero_head
    _, seen = watch(planted.model, torch.from_numpy(samples(planted).tokens), ["blocks.0.attn.*"])
    assert seen["blocks.0.attn.z"][:, :, head].std() > 0.1 * settings["scale"]
    pattern = seen["blocks.0.attn.pattern"][:, head].detach()
    np.testing.assert_allclose(pattern[:, :, 0].numpy(), 1, atol=WEIGHTS)
    for change in (torch.zeros_like, mean_over_samples, lambda z: z.flip(0)):
        found = losses_with(planted, one_head(head, change))
        np.testing.assert_allclose(found, planted.loss, rtol=1e-3)


@BOTH
@EVERY
def test_the_constant_head_has_an_effect_only_if_it_becomes_zero(settings, skip_matters):
    planted = idle_parts(skip_matters, **settings)
    head = planted.constant_head
    _, seen = watch(planted.model, torch.from_numpy(samples(planted).tokens), ["blocks.0.attn.*"])
    z = seen["blocks.0.attn.z"][:, :, head].detach()
    np.testing.assert_allclose(z.std((0, 1)).numpy(), 0, atol=1e-4 * settings["scale"])
    assert z.abs().max() == pytest.approx(settings["scale"], rel=1e-3)
    assert seen["blocks.0.attn.pattern"][:, head].std(0).max() > 0.2  # its pattern is not constant
    for change in (mean_over_samples, lambda z: z.flip(0)):
        found = losses_with(planted, one_head(head, change))
        np.testing.assert_allclose(found, planted.loss, rtol=1e-3)
    found = losses_with(planted, one_head(head, torch.zeros_like))
    is_zero = samples(planted).targets == 0
    first, second = planted.loss_without_constant
    np.testing.assert_allclose(found[is_zero], first, rtol=1e-3)
    np.testing.assert_allclose(found[~is_zero], second, rtol=1e-3)
    # Logits of the right token and of others: 8 - 5 and 0 if token 0 is right, else 8, 0 and -5.
    assert first == pytest.approx(-math.log(math.exp(3) / (math.exp(3) + 5)))
    assert second == pytest.approx(-math.log(math.exp(8) / (math.exp(8) + 4 + math.exp(-5))))


@BOTH
@EVERY
def test_the_important_head_matters(settings, skip_matters):
    planted = idle_parts(skip_matters, **settings)
    found = losses_with(planted, one_head(planted.important_head, torch.zeros_like))
    np.testing.assert_allclose(found, planted.loss_without, rtol=1e-3)
    assert planted.loss_without == pytest.approx(math.log(6))


@BOTH
@EVERY
def test_the_path_that_matters(settings, skip_matters):
    """The logits from the residual stream after the block, with each part at its mean."""
    planted = idle_parts(skip_matters, **settings)
    batch = samples(planted)
    sites = ["blocks.0.resid_mid", "blocks.0.mlp_out"]
    _, seen = watch(planted.model, torch.from_numpy(batch.tokens), sites)
    skip, mlp = (seen[site] for site in sites)
    # A mean over all samples and positions keeps constants, and the distribution of targets.
    without_skip = skip.mean((0, 1)) + mlp
    without_mlp = skip + mlp.mean((0, 1))
    for stream, matters in (
        (without_skip, planted.skip_matters),
        (without_mlp, planted.mlp_matters),
    ):
        found = losses_with(planted, {"blocks.0.resid_post": lambda _, stream=stream: stream})
        if matters:
            assert found.mean() > 1.0
        else:
            np.testing.assert_allclose(found, planted.loss, rtol=2e-3)
    assert planted.skip_matters is skip_matters
    assert planted.mlp_matters is not skip_matters


@BOTH
@pytest.mark.parametrize("bias", [True, False])
def test_without_a_norm_a_path_can_be_removed_by_zero(skip_matters, bias):
    planted = idle_parts(skip_matters, scale=2.0, bias=bias)
    _, seen = watch(planted.model, torch.from_numpy(samples(planted).tokens), ["blocks.0.mlp_out"])
    mlp = seen["blocks.0.mlp_out"]
    assert mlp.std() > 0.1
    without_mlp = losses_with(planted, {"blocks.0.mlp_out": torch.zeros_like})
    without_skip = losses_with(planted, {"blocks.0.resid_post": lambda _: mlp})
    if skip_matters:
        np.testing.assert_allclose(without_mlp, planted.loss, rtol=1e-4)
        assert without_skip.mean() > 1.0
    else:
        np.testing.assert_allclose(without_skip, planted.loss, rtol=1e-4)
        np.testing.assert_allclose(without_mlp, planted.loss_without, rtol=1e-4)
