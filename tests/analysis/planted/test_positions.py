"""Planted positional embeddings, and that they have no effect on the answers."""

import numpy as np
import pytest

from tests.analysis.planted.modular import modular_adder, pairs
from tests.analysis.planted.positions import positions
from tests.analysis.planted.settings import SETTINGS, logits_of, setting_id, tolerance


@pytest.mark.parametrize("kind", ["equal", "random"])
@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_embeddings_and_answers(settings, kind):
    planted = positions(kind, **settings)
    model = planted.adder.model
    weight = model.positional_embedding.weight.detach().double().numpy()
    norms = np.linalg.norm(weight, axis=-1)
    np.testing.assert_allclose(
        weight @ weight.T / np.outer(norms, norms), planted.cosines, atol=1e-6
    )
    distances = np.linalg.norm(weight[:, None] - weight, axis=-1)
    np.testing.assert_allclose(distances, planted.distances, rtol=1e-4, atol=1e-5)
    assert np.array_equal(weight[0], weight[1]) == planted.operands_equal == (kind == "equal")
    assert np.abs(weight[0] - weight[2]).max() > 0.1
    plain = logits_of(modular_adder(**settings).model, pairs(29))[:, -1]
    found = logits_of(model, pairs(29))[:, -1]
    np.testing.assert_allclose(found, plain, atol=2 * tolerance(settings, 140.0))
    assert planted.adder.accuracy == 1


def test_random_embeddings_are_independent():
    drawn = [positions("random", seed=seed) for seed in range(12)]
    cosines = np.array([each.cosines[np.triu_indices(3, 1)] for each in drawn])
    # Standard deviation 1 / sqrt(32) = 0.177; the mean of 36 is within 4 standard errors of 0.
    assert abs(cosines.mean()) < 4 * 0.177 / np.sqrt(36)
    assert 0.1 < cosines.std() < 0.27
    norms = np.linalg.norm([each.components for each in drawn], axis=-1)
    assert ((norms > 3) & (norms < 8.5)).all()  # about sqrt(32) = 5.7
