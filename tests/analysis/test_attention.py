"""Attention finds the planted heads, and says what they look at."""

import numpy as np
import pytest
import torch

import ablab
from ablab.model.bigram_config import BigramConfig
from ablab.model.build import build_model
from ablab.model.transformer_config import TransformerConfig
from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig
from ablab.tasks.modular import Modular
from ablab.tasks.modular_config import ModularConfig
from ablab.tasks.probe import probe
from ablab.tasks.recall import Recall
from tests.analysis.planted.digits import digit_adder
from tests.analysis.planted.induction import induction_head
from tests.analysis.planted.modular import modular_adder
from tests.analysis.planted.settings import SETTINGS, WEIGHTS, setting_id
from tests.analysis.planted.tasks import Previous, Repetition
from tests.analysis.planted.token_heads import duplicate_token_head, previous_token_head
from tests.analysis.readers import row, rows, scalars

EVERY = pytest.mark.parametrize("settings", SETTINGS, ids=setting_id)
SAMPLES = 200


def looked(model, task, samples=SAMPLES, **settings):
    return ablab.analyze(model, "attention", task=task, samples=samples, settings=settings)


def untrained(planted, seed):
    config, task = planted.model.config, planted.task
    return build_model(config, task.vocab_size, task.input_length, seed).eval()


def score(found, head, name, samples):
    return row(found, "scores", block=head[0], head=head[1], score=name, samples=samples)


def significant(found):
    """The heads and scores that are larger than by chance."""
    own = rows(found, "scores")
    return {(e["block"], e["head"], e["score"]) for e in own if e["p_corrected"] <= 0.05}


@EVERY
def test_the_induction_head_is_found(settings):
    planted = induction_head(**settings)
    found = looked(planted.model, Recall(planted.task))
    previous, second = planted.previous_token_head, planted.induction_head
    assert significant(found) == {(*previous, "previous_token"), (*second, "induction")}
    assert score(found, previous, "previous_token", "probe")["value"] == pytest.approx(1, abs=1e-3)
    for samples in ("probe", "random"):
        own = score(found, second, "induction", samples)
        assert own["value"] == pytest.approx(1, abs=1e-3)
        assert own["null"] < 0.15 and own["p"] == 1 / 500
        for head in planted.idle_heads:  # an even head has its null exactly
            idle = score(found, head, "induction", samples)
            assert idle["value"] == pytest.approx(idle["null"]) and idle["p"] == 1
    numbers = scalars(found)
    assert numbers["induction_max"] == pytest.approx(1, abs=1e-3)
    assert numbers["induction_p"] <= 0.05 < numbers["duplicate_token_p"]
    assert numbers["entropy_share_max"] == pytest.approx(1, abs=1e-6)  # of the idle heads
    first = row(found, "heads", block=previous[0], head=previous[1])
    assert first["entropy"] < 0.01 and first["previous_token"] == pytest.approx(1, abs=1e-3)


@EVERY
def test_the_previous_token_head_is_found(settings):
    planted = previous_token_head(**settings)
    found = looked(planted.model, Previous(planted.task))
    assert significant(found) == {(*planted.head, "previous_token")}
    assert scalars(found)["previous_token_max"] == pytest.approx(1, abs=1e-3)
    # Among 1 + t visible keys, a permuted one is the previous with the probability 1 / (1 + t).
    expected = np.mean([1 / (1 + t) for t in range(1, 8)])
    idle = score(found, planted.idle_head, "previous_token", "probe")
    assert idle["value"] == pytest.approx(expected) and idle["p"] == 1
    assert score(found, planted.head, "previous_token", "probe")["null"] == pytest.approx(
        expected, abs=0.03
    )


@EVERY
def test_the_duplicate_token_head_is_found(settings):
    planted = duplicate_token_head(**settings)
    found = looked(planted.model, Repetition(planted.task))
    assert significant(found) == {(*planted.head, "duplicate_token")}
    for samples in ("probe", "random"):
        own = score(found, planted.head, "duplicate_token", samples)
        assert own["value"] == pytest.approx(1, abs=2e-3)
        assert score(found, planted.head, "induction", samples)["p"] > 0.5
    # Where it looks depends on the tokens, where the even head looks does not.
    shares = [e["explained"] for e in rows(found, "factors", head=planted.head[1])]
    assert all(share is not None for share in shares)
    assert {e["explained"] for e in rows(found, "factors", head=planted.idle_head[1])} == {None}


@pytest.mark.parametrize(
    ("make", "task"),
    [(induction_head, Recall), (previous_token_head, Previous), (duplicate_token_head, Repetition)],
)
def test_untrained_heads_are_of_no_kind(make, task):
    planted, small = make(norm="layer", bias=True), 0
    for seed in range(5):
        found = looked(untrained(planted, seed), task(planted.task))
        numbers = scalars(found)
        assert numbers["induction_max"] < 0.25
        assert numbers["duplicate_token_max"] < 0.25
        assert numbers["previous_token_max"] < 0.4
        assert numbers["entropy_share_mean"] > 0.8
        names = ("induction_p", "duplicate_token_p", "previous_token_p")
        small += any(numbers[name] <= 0.05 for name in names)
    assert small <= 1  # each with a probability of about 5%


def test_where_the_digit_adder_looks():
    planted = digit_adder(2, norm="rms")
    found = looked(planted.model, Addition(planted.task))
    for head, places in planted.head_positions.items():
        own = {e["source"]: e for e in rows(found, "sources", head=head)}
        assert {e["destination"] for e in own.values()} == {5}
        assert [own[place]["source_role"] for place in range(6)] == [
            "a1",
            "a2",
            "+",
            "b1",
            "b2",
            "=",
        ]
        for place in range(6):
            expected = 0.5 if place in places else 0.0
            assert own[place]["weight"] == pytest.approx(expected, abs=WEIGHTS)
            assert own[place]["share"] == pytest.approx(expected, abs=WEIGHTS)
            assert own[place]["uniform"] == pytest.approx(1 / 6)
        line = row(found, "heads", head=head)
        assert line["answer_to_operands"] == pytest.approx(1, abs=WEIGHTS)
        assert line["answer_to_itself"] == pytest.approx(0, abs=WEIGHTS)
    by_carry = rows(found, "by_factor", head=1, source=4, factor="carry_into_1")
    assert [e["value"] for e in by_carry] == [0, 1]
    assert all(e["share"] == pytest.approx(0.5, abs=WEIGHTS) for e in by_carry)
    assert {e["explained"] for e in rows(found, "factors")} == {None}  # always the same
    patterns = found.arrays["patterns"][None, None]
    assert patterns.shape == (2, 6, 6) and patterns.dtype == np.float32
    np.testing.assert_allclose(patterns[1, 5], [0, 0.5, 0, 0, 0.5, 0], atol=WEIGHTS)


@EVERY
def test_attention_of_the_modular_adder_to_itself_is_negligible(settings):
    planted = modular_adder(29, **settings)
    found = looked(planted.model, Modular(planted.task), samples=None)
    numbers = scalars(found)
    assert numbers["answer_to_itself_max"] == pytest.approx(0, abs=WEIGHTS)
    assert numbers["answer_to_operands_mean"] == pytest.approx(1, abs=WEIGHTS)
    weights = {e["source_role"]: e["weight"] for e in rows(found, "sources")}
    assert weights == pytest.approx({"a": 0.5, "b": 0.5, "=": 0.0}, abs=WEIGHTS)
    # Three tokens have too few permutations for a small p-value, and are not repeated.
    assert min(e["p"] for e in rows(found, "scores")) > 0.1
    assert set(found.tables["scores"]["samples"]) == {"probe"}


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "tanh", "relu", "softmax1"])
def test_measures_are_those_of_a_loop(activation):
    task = Addition(AdditionConfig(n_digits=2, target="all"))
    config = TransformerConfig(
        d_model=16, n_heads=2, n_layers=2, attention={"activation": activation, "window": 5}
    )
    model = build_model(config, 12, 8, seed=3).eval()
    with torch.no_grad():
        for block in model.blocks:
            block.attention.query.weight.mul_(30)
            block.attention.query.bias.normal_()
    own = probe(task, samples=40)
    found = looked(model, task, samples=40, permutations=19)
    names = ["blocks.0.attn.pattern", "blocks.1.attn.pattern"]
    with torch.no_grad():
        _, seen = ablab.watch(model, torch.from_numpy(own.tokens), names)
    for number, name in enumerate(names):
        for head in range(2):
            expected = by_loop(seen[name][:, head].double().numpy(), own)
            line = row(found, "heads", block=number, head=head)
            for key, value in expected.items():
                if key in line:
                    assert line[key] == pytest.approx(value, rel=1e-4, abs=1e-6), key
            for key in ("previous_token", "duplicate_token", "induction"):
                values = score(found, (number, head), key, "probe")
                assert values["value"] == pytest.approx(expected[f"{key} on the probe"], rel=1e-4)
    sums = found.tables["heads"]["row_sum"]
    assert (abs(sums - 1) < 1e-5).all() == (activation == "softmax")
    if activation == "relu":
        assert (found.tables["heads"]["silent"] > 0).any()


def by_loop(pattern, own):
    """The measures of one head from its pattern (N, T, S), query by query."""
    sums = {}

    def count(name, value, weight):
        total, weights = sums.get(name, (0.0, 0.0))
        sums[name] = (total + weight * value, weights + weight)

    for sample, tokens in enumerate(own.tokens):
        weight = own.weights[sample]
        for t in range(8):
            line, visible = pattern[sample, t], range(max(0, t - 4), t + 1)
            count("row_sum", line.sum(), weight)
            count("silent", float(np.abs(line).sum() == 0), weight)
            if np.abs(line).sum() == 0:
                continue
            shares = np.abs(line) / np.abs(line).sum()
            entropy = sum(-s * np.log(s) for s in shares if s > 0)
            count("entropy", entropy, weight)
            if t >= 5:
                count("answer_to_itself", shares[t], weight)
                count("answer_to_operands", shares[[0, 1, 3, 4]].sum(), weight)
            if len(visible) == 1:
                continue
            count("entropy_share", entropy / np.log(len(visible)), weight)
            matches = {
                "previous_token on the probe": [t - 1],
                "duplicate_token on the probe": [
                    s for s in visible if s < t and tokens[s] == tokens[t]
                ],
                "induction on the probe": [
                    s for s in visible if s > 0 and tokens[s - 1] == tokens[t] and s - 1 < t
                ],
            }
            for name, keys in matches.items():
                if keys:
                    count(name, shares[keys].sum(), weight)
    return {name: total / weights for name, (total, weights) in sums.items()}


def test_models_without_such_heads():
    task = Modular(ModularConfig(p=5))
    for config, said in (
        (BigramConfig(), "not a transformer"),
        (TransformerConfig(attention=None), "no attention"),
    ):
        model = build_model(config, task.config.vocab_size, 3, seed=0)
        found = looked(model, task)
        assert found.scalars.height == 0 and said in found.notes[0]
