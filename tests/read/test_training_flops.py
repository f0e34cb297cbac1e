"""The arithmetic of a training step, worked by hand and compared with torch's count."""

import pytest

import ablab
from ablab.execute.cost import count_cost
from ablab.read.training_flops import step_flops

MODEL = {"kind": "transformer", "n_layers": 2, "n_heads": 4, "d_head": 8, "attention": {}}


def test_a_transformer():
    found = step_flops(MODEL, n_params=1000, samples=4, input_length=10)
    # 40 tokens: 6 · 1,000 each, and 12 · 2 layers · 10 positions · 32 wide.
    assert found.flops == 40 * (6_000 + 7_680)
    assert found.complete


def test_blocks_can_differ():
    other = MODEL | {"n_heads": 1, "attention": {"window": 4}}
    found = step_flops(MODEL | {"blocks": {"1": other}}, 1000, 1, 10)
    # 10 tokens; the second block is 8 wide and sees 4 positions.
    assert found.flops == 10 * (6_000 + 12 * 10 * 32 + 12 * 4 * 8)
    none = step_flops(MODEL | {"attention": None}, 1000, 1, 10)
    assert none.flops == 60_000


def test_a_thinker_counts_each_thought():
    model = {"kind": "thinker", "n_latents": 3, "n_thoughts": 5, "n_heads": 2, "d_head": 4}
    found = step_flops(model, 900, samples=2, input_length=7, source_length=5)
    # A third of the parameters acts on 3 latents, on 3 in each of 5 thoughts, and on 7 positions.
    products = 2 * 900 * (3 + 15 + 7)
    pairs = 12 * 8 * (3 * 5 + 5 * 9 + 7 * 3)
    assert found.flops == 2 * (products + pairs)


def test_a_users_model_has_products_with_parameters_only():
    found = step_flops({"kind": "mine:Model"}, 1000, samples=4, input_length=10)
    assert (found.flops, found.complete) == (240_000, False)
    assert found.formula == "6 N per token, without attention"


def test_it_agrees_with_torchs_count():
    asked = ablab.experiment(
        {
            "name": "counted",
            "task": {"kind": "text", "seq_len": 32},
            "model": {"d_model": 64, "n_layers": 2, "n_heads": 4},
            "train": {"steps": 1, "batch_size": 8},
        }
    )
    (run,) = asked.variants[0].runs[:1]
    counted = count_cost(run)
    model = sum(each.numel() for each in asked.variants[0].model().parameters())
    found = step_flops(run.model.identity(), model, 8, 32)
    assert found.flops == pytest.approx(counted.flops + counted.attention_flops, rel=0.2)
