"""The analysis ``matrices`` on models whose matrices are planted, and on controls."""

import numpy as np
import pytest

import ablab
from ablab.analysis.analysis import find_analysis
from ablab.analysis.methods.unit_outputs import blocks
from ablab.analysis.subject import DoesNotApplyError, Subject
from ablab.model.build import build_model
from ablab.model.thinker_config import ThinkerConfig
from ablab.model.transformer_config import TransformerConfig
from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig
from ablab.tasks.modular import Modular
from ablab.tasks.modular_config import ModularConfig
from ablab.tasks.sequences import Copy
from ablab.tasks.sequences_config import CopyConfig
from tests.analysis.planted.digits import digit_adder
from tests.analysis.planted.idle_parts import idle_parts
from tests.analysis.planted.modular import PHASES, modular_adder, untrained_adder
from tests.analysis.planted.settings import SETTINGS, setting_id
from tests.analysis.planted.tasks import Previous, Repetition
from tests.analysis.planted.token_heads import duplicate_token_head


def analyzed(model, task, samples=None, **settings):
    """The scalars by name, the tables, and the arrays."""
    found = ablab.analyze(model, "matrices", task=task, settings=settings, samples=samples)
    scalars = dict(found.scalars.select("name", "value").iter_rows())
    prefix = "analysis/matrices/"
    arrays = {name: own[None, None] for name, own in found.arrays.items()}
    return {name.removeprefix(prefix): x for name, x in scalars.items()}, found.tables, arrays


def ways(tables, column):
    return dict(tables["rewritten"].select("way", column).iter_rows())


def assert_near(found, expected, share=1e-3):
    """The same up to a share of the largest entry."""
    assert found.shape == np.shape(expected)
    np.testing.assert_allclose(found, expected, atol=share * np.abs(expected).max())


@pytest.mark.parametrize("activation", ["relu", "square"])
@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_the_modular_adder_is_three_matrices(settings, activation):
    planted = modular_adder(29, activation=activation, **settings)
    scalars, tables, arrays = analyzed(planted.model, Modular(planted.task))
    explained = ways(tables, "share_explained")
    assert len(explained) == 7
    assert explained == pytest.approx(dict.fromkeys(explained, 1), abs=1e-4)
    assert ways(tables, "agreement")["three_matrices"] == pytest.approx(1)
    assert scalars["loss_three_matrices"] == pytest.approx(planted.loss, rel=0.02)
    assert max(ways(tables, "share_explained_permuted_95").values()) < -0.8
    # Two neurons' worth of directions for each frequency: the outputs of a neuron are proportional
    # to A_k cos(2 φ - w_k c). Dead neurons have output weights, too.
    angles = 2 * np.pi * np.arange(29) / 29
    amplitude = dict(zip(planted.key_frequencies, planted.amplitudes, strict=True))
    weight = (3 * np.pi if activation == "relu" else 4) / PHASES
    weight *= planted.stream.divisor / settings["scale"]
    expected = np.array(
        [
            weight * amplitude[k] * np.cos(2 * phase - k * angles) * (not always)
            for k, phase, always in zip(
                planted.neuron_frequency,
                planted.neuron_phase,
                planted.always_active,
                strict=True,
            )
        ]
    )
    assert_near(arrays["neuron_logits"][0], expected)
    found = tables["singular_values"].filter(matrix="neuron_logits")["value"].to_numpy()
    # For m phases alone, both singular values of a frequency are weight A_k √(m/2) √(p/2).
    alone = [k for k in amplitude if not (planted.dead & (planted.neuron_frequency == k)).any()]
    for k in alone:
        one = weight * amplitude[k] * np.sqrt(PHASES / 2 * 29 / 2)
        assert np.isclose(found, one, rtol=1e-3).sum() == 2
    assert len(alone) == len(amplitude) - 2
    assert (found > 1e-3 * found[0]).sum() == 2 * len(amplitude)
    # The head's mean of waves: neurons read cos(w_k a - φ), each norm's scale apart.
    into = np.array(
        [
            np.cos(k * angles - phase)
            for k, phase in zip(planted.neuron_frequency, planted.neuron_phase, strict=True)
        ]
    ).T
    if activation == "square":
        into = into * ~planted.dead
    into = into * settings["scale"] * planted.stream.divisor**2
    assert_near(arrays["ov_neurons"][0], into)


def test_what_is_not_planted_is_not_found():
    planted = modular_adder(29)
    scalars, _, arrays = analyzed(planted.model, Modular(planted.task))
    matrix = arrays["neuron_logits"][0].astype(float)
    gram = matrix @ matrix.T
    ratio = np.trace(gram) ** 2 / np.square(gram).sum()
    # Three frequencies with two directions each, nearly equally used.
    assert scalars["participation_ratio_neuron_logits"] == pytest.approx(ratio)
    assert 5.8 < ratio < 6
    assert scalars["explained_three_matrices"] == pytest.approx(1, abs=1e-4)
    model, task = untrained_adder(29)
    control, _, _ = analyzed(model, Modular(task))
    assert control["participation_ratio_neuron_logits"] > 10
    assert control["explained_all"] == pytest.approx(1, abs=1e-4)
    assert control["explained_three_matrices"] < 0.1
    assert 0.5 < control["explained_without_mlp_skip"] < 0.9
    assert control["agreement_three_matrices"] < 0.5
    digits = digit_adder(1)
    model = build_model(
        digits.model.config, digits.task.vocab_size, digits.task.input_length, seed=0
    )
    control, _, _ = analyzed(model.eval(), Addition(digits.task))
    assert control["explained_all"] == pytest.approx(1, abs=1e-4)
    assert control["explained_without_positions"] > 0.9
    assert abs(control["explained_without_self_attention"]) < 0.2
    assert abs(control["explained_without_mlp_skip"]) < 0.2


@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_the_digit_adder_needs_its_skip_path_and_its_positions(settings):
    planted = digit_adder(1, **settings)
    scalars, tables, arrays = analyzed(planted.model, Addition(planted.task))
    explained = ways(tables, "share_explained")
    assert explained["all"] == pytest.approx(1, abs=1e-4)
    assert explained["without_attention_skip"] == pytest.approx(1, abs=1e-3)
    assert explained["without_self_attention"] == pytest.approx(1, abs=1e-3)
    # The logits are linear in r = s - 10 c, uniform with the variance 8.25. With the mean of the
    # sum s in its place, it is r - (s - 9), and the variance of s is 16.5.
    assert explained["without_mlp_skip"] == pytest.approx(1 - 16.5 / 8.25, abs=1e-3)
    # Without positions, the head attends evenly to a, +, b and =, and writes s / 2 < 9.5, so c = 0.
    # E (10 c - s / 2)² = 100 E c - 10 E c s + E s² / 4 = 45 - 57 + 97.5 / 4.
    assert explained["without_positions"] == pytest.approx(1 - 12.375 / 8.25, abs=1e-3)
    # The self-attention and the path around attention do not matter, and neither does both.
    both = explained["three_matrices_and_positions"]
    assert both == pytest.approx(explained["without_mlp_skip"], abs=1e-3)
    # r' = 9 - 10 c is right for the ten pairs with the sum 9, and r' = -1, for which the logit of 0
    # is largest among the digits, for the nine with the sum 10.
    assert ways(tables, "agreement")["without_mlp_skip"] == pytest.approx(0.19)
    assert scalars["loss_model"] == pytest.approx(scalars["loss_all"], rel=1e-3)
    places = np.array([40, 0, 40, 0]) - 20.0
    assert_near(arrays["qk_answer_positions"][1, 0], places * planted.stream.divisor)
    assert (np.abs(arrays["qk_answer"]) < 1e-2 * planted.stream.divisor).all()


@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_heads_that_copy_and_heads_that_do_not(settings):
    planted = idle_parts(skip_matters=True, **settings)
    scalars, tables, arrays = analyzed(planted.model, Previous(planted.task), samples=1000)
    copies = planted.stream.divisor**2 * 8.0 * (np.eye(6) - 1 / 6)
    assert_near(arrays["ov_logits"][planted.important_head], copies)
    for head in (planted.zero_head, planted.constant_head):
        assert np.abs(arrays["ov_logits"][head]).max() < 1e-4 * np.abs(copies).max()
    row = tables["matrices"].filter(matrix="ov_logits", head=planted.important_head)
    # Five equal singular values: the identity without the mean.
    assert row["participation_ratio"].item() == pytest.approx(5, abs=0.01)
    assert row["stable_rank"].item() == pytest.approx(5, abs=0.01)
    assert row["spectral"].item() == pytest.approx(planted.stream.divisor**2 * 8, rel=1e-3)
    assert row["frobenius"].item() == pytest.approx(row["spectral"].item() * 5**0.5, rel=1e-3)
    assert scalars["explained_all"] == pytest.approx(1, abs=1e-4)
    assert scalars["explained_without_mlp_skip"] < 0.1  # all that matters goes around the MLP
    assert "qk_answer" not in arrays  # the last token varies
    other = idle_parts(skip_matters=False, **settings)
    scalars, _, _ = analyzed(other.model, Previous(other.task), samples=1000)
    assert scalars["explained_without_mlp_skip"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_a_head_that_attends_to_duplicates(settings):
    planted = duplicate_token_head(**settings)
    scalars, _, arrays = analyzed(planted.model, Repetition(planted.task), samples=1000)
    # Queries and keys read the stream by a norm, whose scale is not in the matrix. It is the same
    # for all tokens, as all have the same ballast.
    scale = 1.0
    if settings["norm"] != "none":
        scale = float(
            blocks(planted.model)[0].norm1.scale(planted.model.embedding.weight.detach()[0])
        )
    assert_near(arrays["qk"][0], planted.sharpness * scale**2 * (np.eye(6) - 1 / 6))
    assert scalars["explained_all"] == pytest.approx(1, abs=1e-4)
    assert "neuron_logits" not in arrays


def test_models_that_are_not_described():
    task = ModularConfig(p=5)

    def examined(config, task=task, made=Modular):
        model = build_model(config, task.vocab_size, task.input_length, seed=0).eval()
        return analyzed(model, made(task))

    scalars, tables, arrays = examined(TransformerConfig(d_model=8, n_heads=2, n_layers=2))
    assert scalars["explained_all"] is None
    assert not len(tables["rewritten"])
    assert tables["matrices"]["block"].unique().sort().to_list() == [None, 0, 1]
    assert arrays["ov_neurons"].shape == (4, 5, 32)
    scalars, _, arrays = examined(TransformerConfig(d_model=8, n_heads=2, position="rope"))
    assert scalars["explained_all"] is None
    assert "qk" not in arrays
    found = find_analysis("matrices")
    copied = CopyConfig(n_symbols=4, length=3)
    model = build_model(
        ThinkerConfig(d_model=8, n_heads=2), copied.vocab_size, copied.input_length,
        source_length=copied.source_length, seed=0,
    )  # fmt: skip
    with pytest.raises(DoesNotApplyError, match="a transformer of ablab"):
        found.examine(Subject(model.eval(), Copy(copied)), found.settings())


def test_a_stratified_sample_of_a_large_table():
    task = AdditionConfig(n_digits=4, target="all")
    config = TransformerConfig(d_model=8, n_heads=2, n_layers=1)
    model = build_model(config, task.vocab_size, task.input_length, seed=0).eval()
    scalars, _, arrays = analyzed(model, Addition(task))
    assert scalars["explained_all"] == pytest.approx(1, abs=1e-6)
    assert arrays["qk"].shape == (2, 10, 10)
    # The first predicted digit is 0 or 1.
    assert arrays["neuron_logits"].shape == (1, 32, 2)
