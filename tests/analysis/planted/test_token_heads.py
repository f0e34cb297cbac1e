"""The planted previous-token head and duplicate-token head."""

import numpy as np
import pytest
import torch

from ablab.model.interventions import watch
from tests.analysis.planted.settings import (
    SETTINGS,
    WEIGHTS,
    logits_of,
    losses,
    setting_id,
    tolerance,
    without_constant,
)
from tests.analysis.planted.tasks import Previous, Repetition
from tests.analysis.planted.token_heads import duplicate_token_head, previous_token_head


@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
@pytest.mark.parametrize("make", [previous_token_head, duplicate_token_head])
def test_patterns(make, settings):
    planted = make(**settings)
    tokens = np.random.default_rng(0).integers(0, 6, (30, 8))
    _, seen = watch(planted.model, torch.from_numpy(tokens), ["blocks.0.attn.pattern"])
    found = seen["blocks.0.attn.pattern"].detach().numpy()
    np.testing.assert_allclose(found, planted.patterns(tokens), atol=WEIGHTS)


def test_the_heads_are_those_that_are_named():
    assert previous_token_head().head == (0, 1)
    assert duplicate_token_head().head == (0, 0)
    tokens = np.array([[4, 2, 4]])
    previous = previous_token_head(length=3).patterns(tokens)[0]
    np.testing.assert_array_equal(previous[1], [[1, 0, 0], [1, 0, 0], [0, 1, 0]])
    duplicate = duplicate_token_head(length=3).patterns(tokens)[0]
    np.testing.assert_array_equal(duplicate[0], [[1, 0, 0], [0, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_the_previous_token_is_predicted(settings):
    planted = previous_token_head(**settings)
    batch = Previous(planted.task).held_out(60)
    logits = logits_of(planted.model, batch.tokens)[:, 1:]
    expected = 8.0 * np.eye(6)[batch.tokens[:, :-1]]
    np.testing.assert_allclose(
        without_constant(logits), without_constant(expected), atol=tolerance(settings, 8.0)
    )
    assert (logits.argmax(-1) == batch.targets).all()
    found = losses(logits, batch.targets)
    np.testing.assert_allclose(found, np.log(1 + 5 * np.exp(-8)), rtol=1e-3)


@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_repetitions_are_found(settings):
    planted = duplicate_token_head(**settings)
    batch = Repetition(planted.task).held_out(60)
    logits = without_constant(logits_of(planted.model, batch.tokens))
    assert (logits.argmax(-1) == batch.targets).all()
    expected = np.zeros((60, 8, 8))
    expected[:, :, 6] = 4.0
    for sample, tokens in enumerate(batch.tokens):
        for place, token in enumerate(tokens):
            earlier = np.flatnonzero(tokens[:place] == token)
            expected[sample, place, 7] = 8.0 * (place - earlier.mean()) if len(earlier) else 0.0
    np.testing.assert_allclose(logits, without_constant(expected), atol=tolerance(settings, 56.0))
