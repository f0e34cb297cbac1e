"""Every method gives the run that an eager one alone gives: the central invariant, by method."""

from itertools import product

import numpy as np
import pytest
import torch

from ablab.model.attention_config import AttentionConfig
from ablab.model.transformer_config import TransformerConfig
from ablab.train.method import SOLO, STACK, Method
from ablab.train.stack import Stack, initial_model
from tests.helpers import ADDITION, BIGRAM, TEXT, make_run

CPU = torch.device("cpu")
STEPS = 40
DROPOUT = TransformerConfig(d_model=8, n_heads=2, dropout=0.1)
BARE = TransformerConfig(
    d_model=8, n_heads=2, norm="none", tied_embeddings=True, residual=False,
    attention=AttentionConfig(output_projection=False), mlp=None,
)  # fmt: skip
INNERMOST = Method("stack", True, "innermost", "plain", rows=1)
COMPILED = {
    "usual": Method("stack", True, rows=1),
    "usual, plain, parts": Method("stack", True, attention="plain", rows=1, samples=8),
    "usual, two rows": Method("stack", True, rows=2),
    "innermost": INNERMOST,
    "innermost, parts": Method("stack", True, "innermost", "plain", rows=1, samples=8),
    "innermost, two rows": Method("stack", True, "innermost", "plain", rows=2),
}
EAGER = {
    "plain": Method("stack", attention="plain"),
    "row by row": Method("stack", rows=1),
    "two rows": Method("stack", rows=2),
    "uneven parts": Method("stack", samples=5),
}
OPTIMIZERS = {
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "decay": "matrices", "clip_norm": 0.5},
    "adam": {"optimizer": "adam", "weight_decay": 0.01},
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "lr": 0.05},
    "nesterov": {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "lr": 0.05},
    "muon": {"optimizer": "muon", "lr": 5e-3},
}
PARTS = {
    "addition": {"model": DROPOUT, "task": ADDITION},
    "text": {"model": DROPOUT, "task": TEXT},
    "bigram": {"model": BIGRAM, "task": TEXT},
    "bare": {"model": BARE, "task": ADDITION},
    "float64": {"model": DROPOUT, "precision": "float64"},
    "loss in float64": {"model": DROPOUT, "loss": {"dtype": "float64"}},
}


_ALONE = {}


def alone(run, steps):
    """What a run by itself comes to, trained eagerly; worked out once for all methods."""
    key = repr(run), steps
    if key not in _ALONE:
        stack = Stack([run], None, CPU, SOLO)
        assert torch.equal(stack.layout.flatten(initial_model(run)), stack.theta[0])
        _ALONE[key] = stack.advance(steps)
    return _ALONE[key]


def agree(parts, settings, method, steps=STEPS):
    runs = [make_run(seed, **parts, **settings) for seed in (0, 1, 7)]
    advance = Stack(runs, None, CPU, method).advance(steps)
    for index, run in enumerate(runs):
        single = alone(run, steps)
        np.testing.assert_allclose(advance.losses[:, index], single.losses[:, 0], rtol=1e-4)
        np.testing.assert_allclose(advance.grad_norms[index], single.grad_norms[0], rtol=1e-2)


@pytest.mark.parametrize("method", EAGER.values(), ids=EAGER)
def test_eager_methods_agree(method):
    agree(PARTS["text"], OPTIMIZERS["adamw"], method)


def test_bfloat16_takes_products_in_half_and_keeps_the_rest():
    half, full = (make_run(precision=precision) for precision in ("bfloat16", "float32"))
    stack = Stack([half], None, CPU, SOLO)
    found = stack.advance(50).losses
    exact = Stack([full], None, CPU, SOLO).advance(50).losses
    assert stack.theta.dtype == torch.float32
    assert 1e-5 < abs(found / exact - 1).max() < 0.1
    together = Stack([half, make_run(3, precision="bfloat16")], None, CPU, STACK).advance(50)
    np.testing.assert_allclose(together.losses[:, :1], found, rtol=2e-2)


@pytest.mark.parametrize("parts", ["addition", "text"])
def test_the_innermost_layout_agrees(parts):
    agree(PARTS[parts], OPTIMIZERS["adamw"], INNERMOST)


def test_a_compiled_program_in_the_usual_layout_agrees():
    agree(PARTS["bigram"], OPTIMIZERS["adam"], COMPILED["usual"])


@pytest.mark.compiled
@pytest.mark.parametrize(("parts", "method"), list(product(PARTS, COMPILED)))
def test_compiled_methods_agree_with_every_optimizer(parts, method):
    for optimizer in OPTIMIZERS.values():  # which share one program
        agree(PARTS[parts], optimizer, COMPILED[method])


def test_rows_of_a_stack_are_bit_equal_to_one_row_by_itself_when_compiled():
    runs = [make_run(seed, model=BIGRAM, task=TEXT) for seed in (0, 1, 7)]
    together = Stack(runs, None, CPU, INNERMOST).advance(20)
    solo = Method("solo", True, "innermost", "plain")
    for index, run in enumerate(runs):
        alone = Stack([run], None, CPU, solo).advance(20)
        np.testing.assert_array_equal(together.losses[:, index], alone.losses[:, 0])


def test_parts_of_batches_of_two_sizes_agree_in_one_process():
    parts = Method("stack", True, "innermost", "plain", rows=1, samples=8)
    for size in (16, 24):  # their parts are of one shape, and lie otherwise in memory
        agree(PARTS["bigram"], {"batch_size": size}, parts, 20)


def test_a_method_can_change_on_the_way():
    runs = [make_run(seed, model=DROPOUT) for seed in (0, 1)]
    changing, steady = Stack(runs, None, CPU, STACK), Stack(runs, None, CPU, STACK)
    changing.advance(5)
    assert changing.time_gradient() > 0
    changing.use(Method("stack", rows=1, attention="plain"))
    found = changing.advance(5).losses
    steady.advance(5)
    np.testing.assert_allclose(found, steady.advance(5).losses, rtol=1e-5)


def test_an_innermost_layout_that_is_not_compiled_is_refused():
    with pytest.raises(ValueError, match="compiled"):
        Method("solo", layout="innermost")
