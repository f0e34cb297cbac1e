"""Every method gives the run that an eager one alone gives: the central invariant, by method."""

from itertools import product

import numpy as np
import pytest
import torch

from ablab.train.method import SOLO, STACK, Method
from ablab.train.stack import Stack
from tests.helpers import BIGRAM, TEXT, make_run
from tests.train.agreement import (
    COMPILED,
    CPU,
    DROPOUT,
    INNERMOST,
    OPTIMIZERS,
    PARTS,
    agree,
    alone,
)

EAGER = {
    "plain": Method("stack", attention="plain"),
    "row by row": Method("stack", rows=1),
    "two rows": Method("stack", rows=2),
    "uneven parts": Method("stack", samples=5),
}


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


HALF = {
    "stack": STACK,
    "plain": Method("stack", attention="plain"),
    "row by row": Method("stack", rows=1),
}


def agrees_in_half(method, **parts):
    runs = [make_run(seed, precision="bfloat16", lr=1e-3, **parts) for seed in (0, 1)]
    found = Stack(runs, None, CPU, method).advance(100).losses
    exact = np.concatenate([alone(run, 100).losses for run in runs], 1)
    for steps, most in ((1, 1e-3), (10, 1e-2), (100, 1e-1)):  # docs/guarantees.md
        np.testing.assert_allclose(found[:steps], exact[:steps], rtol=most)


@pytest.mark.parametrize("method", HALF)
def test_bfloat16_agrees_as_far_as_the_guarantee_says(method):
    agrees_in_half(HALF[method], **PARTS["text"])


@pytest.mark.compiled
@pytest.mark.parametrize("method", COMPILED)
def test_compiled_bfloat16_agrees_as_far_as_the_guarantee_says(method):
    agrees_in_half(COMPILED[method], **PARTS["text"])


@pytest.mark.parametrize("method", COMPILED)
def test_each_compiled_layout_agrees(method):
    agree(PARTS["bigram"], OPTIMIZERS["adam"], COMPILED[method])


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
        single = Stack([run], None, CPU, solo).advance(20)
        np.testing.assert_array_equal(together.losses[:, index], single.losses[:, 0])


def test_parts_of_batches_of_two_sizes_agree_in_one_process():
    for size in (16, 24):  # their parts are of one shape, and lie otherwise in memory
        agree(PARTS["bigram"], {"batch_size": size}, COMPILED["innermost, parts"])


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
