"""The analysis ``sensitivity`` on models whose inputs are planted, and on controls."""

import numpy as np
import polars as pl
import pytest
import torch

import ablab
from ablab.analysis.methods.unit_outputs import Unit
from ablab.analysis.methods.variance_shares import Variances, exact_indices
from ablab.analysis.subject import DoesNotApplyError, Subject
from ablab.config import InputError
from ablab.model.bigram_config import BigramConfig
from ablab.model.build import build_model
from ablab.model.interventions import watch
from ablab.model.transformer_config import TransformerConfig
from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig
from ablab.tasks.modular import Modular
from ablab.tasks.modular_config import ModularConfig
from ablab.tasks.sequences import Copy
from ablab.tasks.sequences_config import CopyConfig
from tests.analysis.planted.digits import digit_adder
from tests.analysis.planted.modular import modular_adder, pairs
from tests.analysis.planted.settings import SETTINGS, setting_id


def analyzed(model, task, **arguments):
    """The scalars by name, and the tables."""
    found = ablab.analyze(model, "sensitivity", task=task, **arguments)
    scalars = dict(found.scalars.select("name", "value").iter_rows())
    prefix = "analysis/sensitivity/"
    return {name.removeprefix(prefix): value for name, value in scalars.items()}, found.tables


def of_unit(table, kind, unit=None):
    """The rows of a unit."""
    chosen = table.filter(kind=kind)
    return chosen if unit is None else chosen.filter(unit=unit)


def untrained(config, task):
    return build_model(config, task.vocab_size, task.input_length, seed=0).eval()


@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_the_carry_of_two_digits(settings):
    planted = digit_adder(1, **settings)
    scalars, tables = analyzed(planted.model, Addition(planted.task))
    rows = of_unit(tables["inputs"], "neuron", planted.carry)
    assert rows["position"].to_list() == [0, 2]
    np.testing.assert_allclose(rows["main"], planted.carry_sobol[0], atol=1e-4)
    np.testing.assert_allclose(rows["total"], planted.carry_sobol[1], atol=1e-4)
    assert (rows["low"] == rows["total"]).all()
    assert (rows["high"] == rows["total"]).all()
    assert 1 - rows["main"].sum() == pytest.approx(planted.carry_interaction, abs=1e-4)
    assert scalars["positions_per_neuron"] == 2
    assert scalars["neurons_of_two_positions"] == scalars["neurons_of_all_positions"] == 1
    # The logit of d minus the mean over d = 0 … 9, -10, -11 is a constant plus 16 (d - 2) r with
    # r = (a + b) mod 10. For a given a, r is uniform.
    logits = of_unit(tables["inputs"], "logit").filter(pl.col("unit") != 2)
    np.testing.assert_allclose(logits["total"], 1, atol=1e-3)
    np.testing.assert_allclose(logits["main"], 0, atol=1e-3)
    if settings["norm"] == "none":
        assert of_unit(tables["inputs"], "logit", 2)["total"].null_count() == 2
    # The sum of the digits is additive: the vector of the head depends half on each.
    head = of_unit(tables["inputs"], "head", 1)
    np.testing.assert_allclose(head["main"], 0.5, atol=1e-3)
    np.testing.assert_allclose(head["total"], 0.5, atol=1e-3)


@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_two_neurons_of_two_digits_each(settings):
    planted = digit_adder(2, **settings)
    scalars, tables = analyzed(planted.model, Addition(planted.task))
    for neuron, expected in (
        (planted.carry, planted.carry_sobol),
        (planted.wrap, planted.wrap_sobol),
    ):
        rows = of_unit(tables["inputs"], "neuron", neuron)
        assert rows["position"].to_list() == list(planted.digit_positions)
        np.testing.assert_allclose(rows["main"], expected[0], atol=1e-4)
        np.testing.assert_allclose(rows["total"], expected[1], atol=1e-4)
    # Of five neurons, the carry alone depends on two positions.
    assert scalars["neurons_of_two_positions"] == pytest.approx(1 / 5)
    assert scalars["positions_per_neuron"] == pytest.approx((4 * 4 + 2) / 5)
    factors = tables["factors"]
    carry = {
        row["factor"]: row
        for row in of_unit(factors, "neuron", planted.carry).iter_rows(named=True)
    }
    assert carry["carry_into_1"]["share"] == pytest.approx(1, abs=1e-4)
    assert carry["naive_sum_0"]["share"] == pytest.approx(1, abs=1e-4)
    assert carry["a_digit_0"]["share"] == pytest.approx(1 / 3, abs=1e-4)
    assert carry["a_digit_1"]["share"] == pytest.approx(0, abs=1e-4)
    assert carry["a_digit_1"]["p_corrected"] > 0.9
    assert carry["b_digit_0"]["p_corrected"] < 1e-9
    # P(a + b ≥ 100 | carry) is 0.55 with and 0.45 without a carry: 0.01 · 0.2475 / 0.249975.
    wrap = {
        row["factor"]: row["share"]
        for row in of_unit(factors, "neuron", planted.wrap).iter_rows(named=True)
    }
    assert wrap["carry_into_1"] == pytest.approx(0.002475 / 0.249975, abs=1e-4)
    assert wrap["carry_into_2"] == pytest.approx(1, abs=1e-4)
    assert scalars["largest_share/carry_into_1"] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("settings", SETTINGS[:2], ids=setting_id)
def test_square_neurons_of_the_modular_adder(settings):
    # (cos α + cos β)² / 4 = (cos² α + cos² β + 2 cos α cos β) / 4 with independent, uniform α and
    # β: the terms have the variances 1/8, 1/8 and 1. In a + b, cos(α + β) / 4 has 2/5 of 5/64.
    planted = modular_adder(29, activation="square", **settings)
    scalars, tables = analyzed(planted.model, Modular(planted.task))
    for neuron in np.flatnonzero(planted.trigonometric):
        rows = of_unit(tables["inputs"], "neuron", neuron)
        np.testing.assert_allclose(rows["main"], 0.1, atol=1e-4)
        np.testing.assert_allclose(rows["total"], 0.9, atol=1e-4)
        shares = of_unit(tables["factors"], "neuron", neuron)
        expected = {"a": 0.1, "b": 0.1, "a_plus_b": 0.4, "answer": 0.4}
        for factor, share in expected.items():
            assert shares.filter(factor=factor)["share"].item() == pytest.approx(share, abs=1e-4)
    dead = np.flatnonzero(planted.dead)
    rows = of_unit(tables["inputs"], "neuron").filter(pl.col("unit").is_in(dead.tolist()))
    assert rows["main"].null_count() == rows["total"].null_count() == 2 * len(dead)
    assert scalars["constant_neurons"] == pytest.approx(planted.dead.mean())


@pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
def test_rectified_neurons_of_the_modular_adder(settings):
    planted = modular_adder(29, **settings)
    _, tables = analyzed(planted.model, Modular(planted.task))
    angles = 2 * np.pi * np.arange(29) / 29
    for neuron in np.flatnonzero(~planted.dead):
        waves = np.cos(planted.neuron_frequency[neuron] * angles - planted.neuron_phase[neuron])
        constant = 2 * planted.always_active[neuron]
        values = np.maximum(waves[:, None] / 2 + waves / 2 + constant, 0)
        main = values.mean(1).var() / values.var()
        rows = of_unit(tables["inputs"], "neuron", neuron)
        np.testing.assert_allclose(rows["main"], main, atol=2e-3)
        np.testing.assert_allclose(rows["total"], 1 - main, atol=2e-3)  # of two inputs
        if planted.always_active[neuron]:  # a sum
            assert main == pytest.approx(0.5)


def test_what_is_not_planted_is_not_found():
    planted = digit_adder(2)
    task = Addition(planted.task)
    tokens = torch.from_numpy(task.table().batch.tokens)
    _, seen = watch(planted.model, tokens, ["blocks.0.mlp.post"])
    carry = seen["blocks.0.mlp.post"][:, -1, planted.carry].detach().double().numpy()
    # The same values in a random order: each digit explains what chance gives, 9 / 9999. If the
    # others are known, the ten values for this digit have 9/10 of the variance.
    shuffled = np.random.default_rng(0).permutation(carry)[:, None]
    digits = tokens[:, list(planted.digit_positions)].numpy()
    found = exact_indices(shuffled, digits, [Unit("neuron", 0, 0)])
    assert found.main.max() < 0.003
    np.testing.assert_allclose(found.total, 0.9, atol=0.02)
    labels = task.table().batch.tokens[:, [1, 4]].sum(-1) >= 10
    values = Variances(shuffled, np.ones(len(labels)), [Unit("neuron", 0, 0)])
    assert values.between(labels.astype(int)).max() < 0.001  # 1 / 9999 on average
    # Untrained weights: neurons depend on every position, and none is a carry.
    scalars, tables = analyzed(untrained(planted.model.config, planted.task), task)
    assert scalars["neurons_of_two_positions"] == 0
    assert scalars["neurons_of_all_positions"] == 1
    assert scalars["largest_share/carry_into_1"] < 0.2
    rows = of_unit(tables["inputs"], "neuron")
    assert rows["main"].max() < 0.33
    assert rows["total"].min() > 0.2
    assert rows["total"].max() < 0.33
    square = modular_adder(29, activation="square")
    _, tables = analyzed(untrained(square.model.config, square.task), Modular(square.task))
    rows = of_unit(tables["inputs"], "neuron")
    assert rows["main"].mean() == pytest.approx(0.5, abs=0.01)  # nearly linear
    assert rows["total"].mean() == pytest.approx(0.5, abs=0.01)
    shares = of_unit(tables["factors"], "neuron").filter(factor="a_plus_b")["share"]
    assert shares.max() < 0.01


def test_estimates_for_a_large_table():
    planted = digit_adder(2)
    task = Addition(planted.task)
    _, tables = analyzed(planted.model, task, samples=2000, settings={"base_points": 4096})
    for neuron, expected in (
        (planted.carry, planted.carry_sobol),
        (planted.wrap, planted.wrap_sobol),
    ):
        rows = of_unit(tables["inputs"], "neuron", neuron)
        assert rows["position"].to_list() == list(planted.digit_positions)
        np.testing.assert_allclose(rows["main"], expected[0], atol=0.05)
        np.testing.assert_allclose(rows["total"], expected[1], atol=0.05)
        assert (rows["low"] <= rows["total"]).all()
        assert (rows["total"] <= rows["high"]).all()
        untouched = rows["total"].to_numpy() == 0
        assert (untouched == (expected[1] == 0)).all()
    assert not len(of_unit(tables["inputs"], "answer_logit"))
    assert len(of_unit(tables["factors"], "answer_logit"))
    # The probe is stratified by carries; the weights undo that.
    shares = of_unit(tables["factors"], "neuron", planted.carry)
    assert shares.filter(factor="a_digit_0")["share"].item() == pytest.approx(1 / 3, abs=0.05)
    assert shares.filter(factor="carry_into_1")["share"].item() == pytest.approx(1, abs=1e-4)


def test_the_same_seed_gives_the_same_numbers():
    planted = digit_adder(2)
    task = Addition(planted.task)
    arguments = {"samples": 500, "settings": {"base_points": 64, "seed": 3}}
    one, other = (analyzed(planted.model, task, **arguments)[1]["inputs"] for _ in range(2))
    assert one.equals(other)
    arguments["settings"]["seed"] = 4
    assert not one.equals(analyzed(planted.model, task, **arguments)[1]["inputs"])


def test_positions_that_are_not_independent_have_factors_alone():
    # Not all pairs of digits are numbers up to 12, and copies depend on what they copy.
    limited = AdditionConfig(max_value=12)
    model = untrained(TransformerConfig(d_model=8, n_heads=2), limited)
    scalars, tables = analyzed(model, Addition(limited))
    assert not len(tables["inputs"])
    assert scalars["positions_per_neuron"] is None
    assert scalars["constant_neurons"] == 0
    assert len(tables["factors"])
    copied = CopyConfig(n_symbols=3, length=3, held_out=0)
    model = untrained(TransformerConfig(d_model=8, n_heads=2), copied)
    _, tables = analyzed(model, Copy(copied))  # before any symbol of the answer
    assert tables["inputs"]["position"].unique().to_list() == [0, 1, 2]
    _, tables = analyzed(model, Copy(copied), settings={"position": copied.input_length - 1})
    assert not len(tables["inputs"])
    with pytest.raises(InputError, match="no such position"):
        analyzed(model, Copy(copied), settings={"position": copied.input_length})


def test_causal_models_do_not_see_later_positions():
    task = ModularConfig(p=5)
    model = untrained(TransformerConfig(d_model=8, n_heads=2, n_layers=2), task)
    _, tables = analyzed(model, Modular(task), settings={"position": 0})
    assert tables["inputs"]["position"].unique().to_list() == [0]
    np.testing.assert_allclose(tables["inputs"]["total"].drop_nulls(), 1, atol=1e-6)
    assert not len(of_unit(tables["factors"], "answer_logit"))
    assert tables["inputs"]["block"].unique().sort().to_list() == [0, 1]


@pytest.mark.parametrize("adds", [True, False])
def test_the_logit_of_the_right_answer(adds):
    planted = modular_adder(29)
    model = planted.model if adds else untrained(TransformerConfig(d_model=16), planted.task)
    _, tables = analyzed(model, Modular(planted.task))
    tokens = pairs(29)
    with torch.no_grad():
        logits = model(torch.from_numpy(tokens))[:, -1].double()
    logits = (logits - logits.mean(-1, keepdim=True)).numpy()
    answers = tokens[:, :2].sum(-1) % 29
    right = logits[np.arange(len(tokens)), answers].reshape(29, 29)
    row = of_unit(tables["inputs"], "answer_logit")
    share = right.mean(1).var() / right.var()
    assert (share < 1e-6) == adds  # of a sum, no summand alone says anything
    np.testing.assert_allclose(row["main"][0], share, rtol=1e-6, atol=1e-9)  # of a whole of 1


def test_parts_that_the_model_lacks():
    task = ModularConfig(p=5)
    model = untrained(TransformerConfig(d_model=8, n_heads=2, mlp=None), task)
    scalars, tables = analyzed(model, Modular(task))
    assert set(tables["inputs"]["kind"]) == {"head", "head_norm", "logit", "answer_logit"}
    assert scalars["constant_neurons"] is None
    model = untrained(BigramConfig(), task)
    subject = Subject(model, Modular(task))
    found = ablab.analysis.analysis.find_analysis("sensitivity")
    with pytest.raises(DoesNotApplyError, match="a transformer of ablab"):
        found.examine(subject, found.settings())
