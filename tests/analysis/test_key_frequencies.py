"""The rule for key frequencies, on logits made by hand."""

import numpy as np
import pytest

from ablab.analysis.examine import subject_of
from ablab.analysis.methods.cyclic import cyclic_samples
from ablab.analysis.methods.key_frequencies import checked_frequencies, find_key_frequencies
from ablab.analysis.subject import WHOLE
from ablab.config import InputError
from ablab.model.build import build_model
from ablab.model.transformer_config import TransformerConfig
from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig
from ablab.tasks.modular import Modular
from ablab.tasks.modular_config import ModularConfig


def samples_of(task):
    config = TransformerConfig(d_model=4, n_heads=1)
    model = build_model(config, task.config.vocab_size, task.config.input_length, seed=0)
    return cyclic_samples(subject_of(model, task, WHOLE))


def waves(samples, amplitudes):
    """Σ_k α_k cos w_k (s - c) of each sample for the tokens c, (S, V); other tokens have 7."""
    logits = np.full((len(samples.sums), samples.group.elements.max() + 2), 7.0)
    offsets = samples.sums[:, None] - np.arange(samples.order)
    logits[:, samples.group.elements] = sum(
        alpha * np.cos(2 * np.pi * k * offsets / samples.order) for k, alpha in amplitudes.items()
    )
    return logits


@pytest.mark.parametrize("operation", ["a+b", "a-b", "b-a", "a*b"])
def test_waves_are_found_with_their_amplitudes(operation):
    (samples,) = samples_of(Modular(ModularConfig(operation=operation, p=23)))
    found = find_key_frequencies(waves(samples, {3: 2.0, 7: 1.0, 11: 1.5}), samples)
    assert found.keys == (3, 7, 11)
    np.testing.assert_allclose(found.amplitudes[[2, 6, 10]], [2, 1, 1.5], atol=1e-12)
    # The waves have α² / 2 each, and those of the frequency n / 2 have α².
    power = np.array([4, 1, 2.25]) * [1, 1, 2 if operation == "a*b" else 1]
    np.testing.assert_allclose(found.judged_share[[2, 6, 10]], power / power.sum(), atol=1e-12)
    assert found.explained == pytest.approx(1)
    assert found.explained_permuted < 0.1


def test_a_constant_of_a_sample_and_other_tokens_do_not_matter():
    (samples,) = samples_of(Modular(ModularConfig(p=23)))
    logits = waves(samples, {3: 2.0, 7: 1.0})
    moved = logits + np.arange(len(logits))[:, None]
    moved[:, -1] = -5
    ours, theirs = (find_key_frequencies(each, samples) for each in (logits, moved))
    np.testing.assert_allclose(ours.judged_share, theirs.judged_share, atol=1e-9)


def test_the_share_is_that_of_what_was_added():
    (samples,) = samples_of(Modular(ModularConfig(p=59)))
    rng = np.random.default_rng(0)
    logits = waves(samples, {5: 1.0, 9: 1.0}) + rng.normal(0, 2.0, (len(samples.sums), 60))
    found = find_key_frequencies(logits, samples)
    assert found.keys == (5, 9)
    assert found.explained == pytest.approx(1 / (1 + 4), abs=0.01)
    assert found.train_share[4] == pytest.approx(0.1, abs=0.01)


def test_large_frequencies_do_not_hide_a_small_one():
    (samples,) = samples_of(Modular(ModularConfig(p=59)))
    noise = np.random.default_rng(3).normal(0, 0.5, (len(samples.sums), 60))
    amplitudes = {5: 8.0, 9: 6.0, 20: 1.5, 28: 0.5}  # shares of 0.62, 0.35, 0.022 and 0.002
    logits = waves(samples, amplitudes) + noise
    found = find_key_frequencies(logits, samples)
    assert found.keys == (5, 9, 20)
    assert (found.p[[4, 8, 19, 27]] < 0.01).all() and found.p[0] > 0.05
    assert find_key_frequencies(logits, samples, smallest_share=0.001).keys == (5, 9, 20, 28)


def test_the_rest_of_a_wave_is_no_key():
    (samples,) = samples_of(Modular(ModularConfig(p=59)))
    rest = np.random.default_rng(4).normal(0, 1, (59, 60))[samples.sums]  # a table of the sum
    found = find_key_frequencies(waves(samples, {5: 2.0}) + rest, samples, smallest_share=0)
    assert found.keys == (5,)
    assert found.explained == pytest.approx(2 / 3, abs=0.02)


def test_negative_amplitudes_are_no_keys():
    (samples,) = samples_of(Modular(ModularConfig(p=23)))
    found = find_key_frequencies(waves(samples, {3: -2.0, 7: 1.0}), samples)
    assert found.keys == (7,)
    assert found.chosen_share[2] == pytest.approx(-0.8)


def test_memorized_training_samples_are_none():
    (samples,) = samples_of(Modular(ModularConfig(p=23, train_fraction=0.4)))
    logits = np.random.default_rng(1).normal(size=(len(samples.sums), 24))
    right = np.flatnonzero(samples.train)
    logits[right, samples.targets[right]] += 30
    found = find_key_frequencies(logits, samples)
    assert found.keys == () and found.explained == 0
    np.testing.assert_allclose(found.train_share, 2 / 22, atol=0.01)  # all alike


def test_noise_has_a_key_about_as_often_as_the_level_says():
    (samples,) = samples_of(Modular(ModularConfig(p=11)))
    rng = np.random.default_rng(2)
    found = [
        find_key_frequencies(rng.normal(size=(121, 12)), samples, level=0.1, seed=seed).keys
        for seed in range(200)
    ]
    assert 8 <= sum(map(bool, found)) <= 34  # of 200 · 0.1, four standard deviations


@pytest.mark.parametrize("of_the_sum", [True, False])
def test_waves_in_no_order_of_the_sum_or_of_the_answer_are_seldom_keys(of_the_sum):
    """A test that relabels only the answers of the logits has a false key in 21% of the first."""
    (samples,) = samples_of(Modular(ModularConfig(p=59)))
    rng, n, found = np.random.default_rng(5), 59, 0
    for seed in range(40):
        order, keys = rng.permutation(n), rng.integers(1, 30, 4)
        right, answers = samples.sums[:, None], np.arange(n)
        apart = order[right] - answers if of_the_sum else right - order[answers]
        logits = np.zeros((len(samples.sums), n + 1))
        logits[:, :n] = np.cos(2 * np.pi * apart[..., None] * keys / n).sum(-1)
        found += bool(find_key_frequencies(logits, samples, seed=seed).keys)
    assert found <= 3  # 40 · 0.01, four standard deviations


def test_constant_logits_have_none():
    (samples,) = samples_of(Modular(ModularConfig(p=11)))
    found = find_key_frequencies(np.ones((121, 12)), samples)
    assert found.keys == () and found.explained is found.explained_permuted is None


def test_the_carry_is_a_part_of_the_sum():
    every = samples_of(Addition(AdditionConfig(n_digits=2, base=7, target="all")))
    assert [each.answer for each in every] == ["digit_1", "digit_0"]
    tens = every[0]
    found = find_key_frequencies(waves(tens, {2: 1.0, 3: 2.0}), tens)
    assert found.keys == (2, 3) and found.explained == pytest.approx(1)


def test_frequencies_are_checked():
    assert checked_frequencies([5, 2, 5], 11) == (2, 5)
    for wrong in (0, 6):
        with pytest.raises(InputError, match="does not have this frequency"):
            checked_frequencies([wrong], 11)
