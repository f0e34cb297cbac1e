import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablab.tasks.config import IGNORED
from ablab.tasks.scores import accuracies, mean_over_predicted


@given(seed=st.integers(0, 2**32 - 1), samples=st.integers(1, 6), places=st.integers(1, 5))
def test_scores_are_those_of_a_loop_over_samples(seed, samples, places):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(samples, places, 3)).astype(np.float32)
    targets = random.choice([0, 1, 2, IGNORED], size=(samples, places))
    shares, whole = [], []
    for row, wanted in zip(logits.argmax(-1), targets, strict=True):
        right = [a == b for a, b in zip(row, wanted, strict=True) if b != IGNORED]
        shares.append(sum(right) / len(right) if right else 0)
        whole.append(all(right))
    found = accuracies(torch.from_numpy(logits), torch.from_numpy(targets))
    np.testing.assert_allclose(found["accuracy"].item(), np.mean(shares), rtol=1e-6)
    np.testing.assert_allclose(found["sequence_accuracy"].item(), np.mean(whole), rtol=1e-6)


def test_a_mean_over_predicted_positions_under_vmap():
    values = torch.tensor([[[1.0, 9.0], [4.0, 6.0]], [[2.0, torch.nan], [8.0, 0.0]]])
    targets = torch.tensor([[0, IGNORED], [1, 2]])
    found = torch.vmap(lambda each: mean_over_predicted(each, targets))(values)
    assert found.tolist() == [(1 + 5) / 2, (2 + 4) / 2]
