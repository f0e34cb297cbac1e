"""The planted induction head: its patterns, and what it predicts."""

import numpy as np
import pytest
import torch

from ablab.model.interventions import replace, watch
from ablab.tasks.recall import Recall
from tests.analysis.planted.induction import induction_head
from tests.analysis.planted.settings import (
    SETTINGS,
    WEIGHTS,
    logits_of,
    losses,
    setting_id,
    tolerance,
    without_constant,
)


def random_tokens(samples=20):
    return np.random.default_rng(0).integers(0, 20, (samples, 19))


def repeated(samples=20):
    """Nine different tokens, repeated."""
    rng = np.random.default_rng(1)
    half = np.stack([rng.permutation(20)[:9] for _ in range(samples)])
    return np.concatenate([half, half], axis=-1)


@pytest.mark.parametrize("mlp", [False, True])
@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_patterns_and_logits_on_random_tokens(settings, mlp):
    planted = induction_head(mlp=mlp, **settings)
    tokens = random_tokens()
    _, seen = watch(planted.model, torch.from_numpy(tokens), ["blocks.*.attn.pattern"])
    for found, expected in zip(seen.values(), planted.patterns(tokens), strict=True):
        np.testing.assert_allclose(found.detach().numpy(), expected, atol=WEIGHTS)
    attended = planted.patterns(tokens)[1][:, 0]  # (B, T, T)
    expected = 8.0 * attended @ np.eye(20)[tokens]
    np.testing.assert_allclose(
        without_constant(logits_of(planted.model, tokens)),
        without_constant(expected),
        atol=tolerance(settings, 8.0),
    )


@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_it_continues_a_repeated_sequence(settings):
    planted = induction_head(**settings)
    tokens = repeated()
    logits = logits_of(planted.model, tokens)
    assert (logits[:, 9:-1].argmax(-1) == tokens[:, 10:]).all()
    found = losses(logits[:, :-1], tokens[:, 1:])
    np.testing.assert_allclose(found[:, 9:], planted.loss, rtol=1e-3)
    assert planted.loss == pytest.approx(np.log(1 + 19 * np.exp(-8)))
    assert found[:, :8].mean() > np.log(20)
    _, seen = watch(planted.model, torch.from_numpy(tokens), ["blocks.1.attn.pattern"])
    pattern = seen["blocks.1.attn.pattern"].detach().numpy()[:, planted.induction_head[1]]
    for place in range(9, 18):
        np.testing.assert_allclose(pattern[:, place, place - 8], 1, atol=WEIGHTS)


@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_it_solves_recall(settings):
    planted = induction_head(**settings)
    task = Recall(planted.task)
    batch = task.held_out(50)
    logits = logits_of(planted.model, batch.tokens)[:, task.predicted]
    assert (logits.argmax(-1) == batch.targets).all()
    np.testing.assert_allclose(losses(logits, batch.targets), planted.loss, rtol=1e-3)


def test_scores_are_those_of_the_docstring():
    planted = induction_head()
    tokens = np.array([[3, 12, 4, 3, 3]])
    _, seen = watch(planted.model, torch.from_numpy(tokens), ["blocks.*.attn.attn_scores"])
    first, second = (each.detach().numpy()[0] for each in seen.values())
    inf, high = np.inf, planted.sharpness
    expected = [
        [0, -inf, -inf, -inf, -inf],
        [high, 0, -inf, -inf, -inf],
        [0, high, 0, -inf, -inf],
        [0, 0, high, 0, -inf],
        [0, 0, 0, high, 0],
    ]
    np.testing.assert_allclose(first[1], expected, atol=1e-3)
    expected = [
        [0, -inf, -inf, -inf, -inf],  # its own token counts as "previous", minus the first position
        [-high, 0, -inf, -inf, -inf],
        [-high, 0, 0, -inf, -inf],
        [0, high, 0, 0, -inf],
        [0, high, 0, 0, high],
    ]
    np.testing.assert_allclose(second[0], expected, atol=1e-3)
    np.testing.assert_allclose(np.maximum(first[0], 0), 0)
    np.testing.assert_allclose(np.maximum(second[1], 0), 0)


@pytest.mark.parametrize(("block", "head"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_only_the_two_heads_matter(block, head):
    planted = induction_head(mlp=True, norm="rms", bias=True)
    tokens = torch.from_numpy(repeated())

    def without_head(z):
        z = z.clone()
        z[:, :, head] = 0
        return z

    with torch.no_grad():
        logits = replace(planted.model, tokens, {f"blocks.{block}.attn.z": without_head})
        unchanged = planted.model(tokens)
    if (block, head) in planted.idle_heads:
        torch.testing.assert_close(logits, unchanged)
    else:
        assert (block, head) in (planted.previous_token_head, planted.induction_head)
        right = logits[:, 9:-1].argmax(-1) == tokens[:, 10:]
        assert right.double().mean() < 0.3


def test_the_mlps_write_what_nothing_reads():
    planted = induction_head(mlp=True)
    tokens = torch.from_numpy(random_tokens())
    _, seen = watch(planted.model, tokens, ["blocks.*.mlp_out"])
    assert all(each.std() > 0.01 for each in seen.values())
    with torch.no_grad():
        logits = replace(planted.model, tokens, {"blocks.*.mlp_out": torch.zeros_like})
        torch.testing.assert_close(logits, planted.model(tokens), rtol=1e-4, atol=1e-4)


def head_matrices(planted, place):
    """W_Q, W_K, W_V (K, D) and W_O (D, K) of a head, with the gain of the norm before it."""
    block, head = place
    attention, norm = planted.model.blocks[block].attention, planted.model.blocks[block].norm1
    rows = slice(head * attention.d_head, (head + 1) * attention.d_head)
    gain = getattr(norm, "weight", torch.ones(1))
    readers = (attention.query, attention.key, attention.value)
    found = [linear.weight[rows] * gain for linear in readers]
    found.append(attention.projection.weight[:, rows])
    return [each.detach().double().numpy() for each in found]


def composition(second, first):
    return np.linalg.norm(second @ first) / np.linalg.norm(second) / np.linalg.norm(first)


@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_composition_scores(settings):
    planted = induction_head(**settings)
    _, _, value, output = head_matrices(planted, planted.previous_token_head)
    written = output @ value
    query, key, value, output = head_matrices(planted, planted.induction_head)
    scores = query.T @ key
    assert composition(scores, written) == pytest.approx(planted.k_composition, rel=1e-4)
    assert planted.k_composition == pytest.approx(0.15811, rel=1e-4)  # 1 / sqrt(40)
    assert composition(scores.T, written) < 1e-5
    assert composition(output @ value, written) < 1e-5


@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_the_induction_head_copies_tokens(settings):
    planted = induction_head(**settings)
    _, _, value, output = head_matrices(planted, planted.induction_head)
    embedding = planted.model.embedding.weight.detach().double().numpy()
    embedding = embedding - embedding.mean(0)  # without the ballast and the coordinate of one
    gain = getattr(planted.model.norm, "weight", torch.ones(1))
    unembedding = (planted.model.unembedding.weight * gain).detach().double().numpy()
    circuit = unembedding @ output @ value @ embedding.T  # (V, V)
    expected = np.eye(20) - 1 / 20
    np.testing.assert_allclose(circuit / circuit[0, 0], expected / 0.95, atol=1e-4)
    if settings["norm"] == "none":
        assert circuit[0, 0] == pytest.approx(8 * 0.95, rel=1e-4)
