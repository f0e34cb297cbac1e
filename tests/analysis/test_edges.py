"""Models and samples at the edges of what analyses are made for: constant, not finite, unequal."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import ablab
from ablab.analysis.analyses.attention import AttentionSettings, _measured
from ablab.analysis.examine import subject_of
from ablab.analysis.methods.attention_tables import by_factor_table, factors_table
from ablab.analysis.methods.cyclic import cyclic_samples, forward_pass
from ablab.analysis.methods.explained import explained_by_labels
from ablab.analysis.methods.fourier_terms import share_outside, term_shares
from ablab.analysis.methods.head_scores import head_score, previous_token
from ablab.analysis.methods.last_mlp import last_mlp
from ablab.analysis.methods.neuron_ablation import ablate_each
from ablab.analysis.methods.nine_terms import fit_nine_terms
from ablab.analysis.methods.pairing import partners
from ablab.analysis.methods.read_out import read_out
from ablab.analysis.methods.similarity import chance_of_cosine
from ablab.analysis.methods.swapping import swap_change
from ablab.analysis.subject import Probing
from ablab.config import InputError
from ablab.model.build import build_model
from ablab.model.transformer_config import TransformerConfig
from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig
from ablab.tasks.base import Batch
from ablab.tasks.modular import Modular
from ablab.tasks.modular_config import ModularConfig
from ablab.tasks.sequences import Copy
from ablab.tasks.sequences_config import CopyConfig


def model_of(task, **settings):
    chosen = {"d_model": 8, "d_mlp": 8, "n_heads": 2, "bias": True} | settings
    sizes = task.config.vocab_size, task.config.input_length
    return build_model(TransformerConfig(**chosen), *sizes, seed=0).eval()


def numbers(found):
    rows = found.scalars.select("name", "value").iter_rows()
    return {name.split("/", 2)[-1]: value for name, value in rows}


@pytest.mark.parametrize("coefficients", [(1, 1), (1, -1), (-1, 1)])
def test_half_of_the_order_is_sum_and_difference(coefficients):
    a, b = np.meshgrid(np.arange(10), np.arange(10), indexing="ij")
    wave = np.cos(np.pi * (coefficients[0] * a + coefficients[1] * b))[:, :, None]
    assert share_outside(term_shares(wave, coefficients), (5,)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("permutations", [20, 100])
def test_few_neurons_with_a_frequency_are_found_among_many_without(permutations):
    a, b = np.meshgrid(np.arange(13), np.arange(13), indexing="ij")
    maps = np.random.default_rng(0).normal(size=(13, 13, 64))
    for neuron in range(10):
        maps[:, :, neuron] = np.cos(2 * np.pi * 3 * (a + b) / 13 + neuron)
    found = fit_nine_terms(maps, permutations, 0)
    assert (found.p_corrected[:10] < 1e-3).all()
    assert (found.p_corrected[10:] > 0.05).all()


@pytest.mark.parametrize("permutations", [20, 100])
def test_p_values_beyond_all_permutations_are_not_too_small_for_noise(permutations):
    maps = np.random.default_rng(1).normal(size=(13, 13, 3000))
    p = fit_nine_terms(maps, permutations, 1).p
    for level in (0.05, 0.01, 0.001):
        assert (p <= level).mean() <= 1.3 * level


def test_a_neuron_that_is_not_finite_is_left_out():
    maps = np.random.default_rng(0).normal(size=(7, 7, 3))
    maps[2, 3, 1] = np.nan
    found = fit_nine_terms(maps, 20, 0)
    assert np.isnan(found.explained).tolist() == [False, True, False]


class Times(Modular):
    """Answers 2a + 3b; inherits what describes the samples of a + b."""

    def draw(self, seed, first_step, steps, batch_size):
        return self._changed(super().draw(seed, first_step, steps, batch_size))

    def held_out(self, samples):
        return self._changed(super().held_out(samples))

    def _changed(self, batch):
        sums = 2 * batch.tokens[..., 0] + 3 * batch.tokens[..., 1]
        return Batch(batch.tokens, (sums % self.config.p)[..., None])


@pytest.mark.parametrize("name", ["fourier", "progress", "neurons"])
def test_groups_of_a_task_with_samples_of_its_own_are_not_inherited(name):
    task = Times(ModularConfig(p=7, operation="a + b"))
    found = ablab.analyze(model_of(task), name, task=task)
    assert not found.scalars.height and "does not apply" in " ".join(found.notes)


def test_rounding_is_no_variance():
    task = Modular(ModularConfig(p=7, operation="a + b"))
    model = model_of(task, attention=None)
    fourier = numbers(ablab.analyze(model, "fourier", task=task))
    assert fourier["gini_neurons"] is None and fourier["gini_embedding"] is not None
    outside = [f"{name}_outside_key_directions" for name in ("neurons", "mlp_logits", "logits")]
    assert [fourier[name] for name in outside] == [None, None, None]
    matrices = numbers(ablab.analyze(model, "matrices", task=task))
    assert {value for name, value in matrices.items() if name.startswith("explained")} <= {None}
    neurons = numbers(ablab.analyze(model, "neurons", task=task))
    assert neurons["neurons_that_matter"] == 0
    assert {value for name, value in neurons.items() if "_for_" in name} == {None}


def test_logits_that_are_not_finite_have_no_frequencies_and_agree_with_nothing():
    task = Modular(ModularConfig(p=5, operation="a - b"))
    model = model_of(task)
    with torch.no_grad():
        model.blocks[0].mlp.linear.bias[0] = float("nan")
    for name in ("fourier", "progress"):
        assert numbers(ablab.analyze(model, name, task=task))["key_frequencies"] is None
    found = numbers(ablab.analyze(model, "matrices", task=task))
    assert {value for name, value in found.items() if name.startswith("agreement")} == {None}
    with torch.no_grad():
        model.get_parameter("embedding.weight")[0, 0] = float("nan")
    ablab.analyze(model, "matrices", task=task)


def test_a_window_of_one_hides_nothing_from_itself():
    task = Modular(ModularConfig(p=5, operation="a + b"))
    found = ablab.analyze(model_of(task, attention={"window": 1}), "matrices", task=task)
    assert found.tables["rewritten"]["loss"].is_finite().all()


def test_ablation_by_passes_uses_the_weights_of_samples():
    task = Addition(AdditionConfig(n_digits=3, base=6, target=1))
    model = model_of(task, d_model=16, d_mlp=16)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.copy_(0.6 * torch.randn(parameter.shape, generator=generator))
    subject = subject_of(model, task, Probing(600, 0))
    samples, mlp = cyclic_samples(subject)[0], last_mlp(model)
    assert subject.probe.weights.max() > 10 * subject.probe.weights.min()
    found = forward_pass(subject, [*mlp.sites])
    exact = ablate_each(subject, samples, mlp, read_out(mlp, found, samples.rows, samples.place))
    passes = ablate_each(subject, samples, mlp, None)
    np.testing.assert_allclose(passes.change, exact.change, rtol=1e-3, atol=1e-5)


def test_cosines_of_vectors_without_their_mean_have_uniform_p_values():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(4000, 2, 4))
    vectors -= vectors.mean(-1, keepdims=True)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    p = chance_of_cosine((vectors[:, 0] * vectors[:, 1]).sum(-1), 4 - 1)
    assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.011)


@pytest.mark.parametrize("name", ["fourier", "progress"])
def test_a_level_that_no_permutation_can_reach_is_refused(name):
    task = Modular(ModularConfig(p=5, operation="a + b"))
    with pytest.raises(InputError, match="level"):
        ablab.analyze(model_of(task), name, task=task, settings={"level": 0.001})


def test_scores_are_of_all_positions():
    length = 100
    tokens = np.tile(np.arange(length), (4, 1))
    shares = np.zeros((4, 1, length, length))
    for query in range(length):  # a previous-token head from position 64 on
        shares[:, 0, query, query if query < 64 else query - 1] = 1
    visible = np.tri(length, dtype=bool)[None]

    def score(queries):
        return head_score(shares, previous_token(tokens), queries, visible, 99, 0)

    assert score(np.ones((4, length))).values[0] == pytest.approx(36 / 99)
    late = np.zeros((4, length))
    late[:, 70:] = 1
    nowhere = score(np.zeros((4, length)))
    assert np.isnan(nowhere.values[0]) and np.isnan(nowhere.p[0])
    found = score(late)
    assert found.values[0] == 1 and found.p[0] == 0.01 and found.null[0] < 0.05


@pytest.fixture(scope="module")
def padded():
    """The attention of a model of sequences of several lengths."""
    task = Copy(CopyConfig(n_symbols=4, length=5, min_length=2))
    model = model_of(task, d_model=16)
    return _measured(subject_of(model, task, Probing(400, 0)), model, AttentionSettings())


def test_queries_at_which_nothing_is_predicted_explain_nothing(padded):
    unused = padded.queries == 0
    assert unused[:, padded.destinations].any()
    shares = padded.shares.copy()
    shares[np.broadcast_to(unused[:, None], shares.shape[:3])] = 0
    shares[..., 0] += unused[:, None]
    other = replace(padded, shares=shares)
    for table in (lambda each: factors_table(each, 19, 0), lambda each: by_factor_table(each, 6)):
        assert table(padded).equals(table(other))


def test_explained_shares_are_sums_over_columns_with_their_own_samples():
    rng = np.random.default_rng(0)
    values, labels = rng.normal(size=(60, 1, 2)), rng.integers(0, 3, 60)
    values[:, 0, 0] += labels
    weights, used = rng.uniform(0.5, 2, 60), rng.random((60, 1, 2)) < 0.7
    between = total = 0.0
    for column in range(2):
        own = used[:, 0, column]
        x, w, kind = values[own, 0, column], weights[own], labels[own]
        mean = np.average(x, weights=w)
        total += w @ (x - mean) ** 2
        for each in range(3):
            part = (
                w[kind == each].sum()
                * (np.average(x[kind == each], weights=w[kind == each]) - mean) ** 2
            )
            between += part
    found = explained_by_labels(values, labels, weights, 9, 0, used)
    assert found.share[0] == pytest.approx(between / total)
    every = np.ones_like(used)
    plain, same = (
        explained_by_labels(values, labels, weights, 9, 0, each) for each in (None, every)
    )
    np.testing.assert_allclose(plain.share, same.share)
    np.testing.assert_allclose(plain.null, same.null)


def test_partners_are_drawn_as_samples_of_the_task_are():
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], [4, 3, 1])
    weights = np.array([0.1, 0.4, 0.3, 0.2, 1, 1, 2, 5])
    drawn = np.stack([partners(classes, weights, rng) for _ in range(20_000)])
    assert (drawn[:, 7] == -1).all() and (drawn[:, :7] != np.arange(7)).all()
    assert (classes[drawn[:, :7]] == classes[:7]).all()
    for sample in range(7):
        own = np.where((classes == classes[sample]) & (np.arange(8) != sample), weights, 0)
        shares = np.bincount(drawn[:, sample], minlength=8) / len(drawn)
        np.testing.assert_allclose(shares, own / own.sum(), atol=0.015)


def test_an_exchange_that_draws_another_sample_changes_as_much_as_other_samples():
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1, 2, 3], 1000)
    weights = np.array([0.17, 0.6, 0.2, 0.03])[kind]
    weights /= weights.sum()
    values = (kind == 3).astype(float)[:, None, None]
    other = rng.choice(len(kind), len(kind), p=weights)
    found = swap_change(values, values[other], weights, np.zeros(len(kind), dtype=int), 99, 0)
    assert found.relative[0] == pytest.approx(1, abs=0.15) and 0.02 < found.p[0] < 0.98
