import doctest

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ablab.tasks.addition
from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig


def value(digits: list[int], base: int, first_is_most: bool) -> int:
    """A number from its digits."""
    if not first_is_most:
        digits = digits[::-1]
    total = 0
    for digit in digits:
        total = total * base + digit
    return total


@given(
    n=st.integers(1, 20),
    base=st.integers(2, 36),
    seed=st.integers(0, 99),
    order=st.sampled_from(["most_significant_first", "least_significant_first"]),
)
def test_the_answer_is_the_sum(n, base, seed, order):
    task = Addition(AdditionConfig(n_digits=n, base=base, order=order, target="all"))
    batch = task.draw(seed, 1, 2, 3)
    most = order == "most_significant_first"
    for tokens, targets in zip(
        batch.tokens.reshape(6, -1), batch.targets.reshape(6, -1), strict=True
    ):
        tokens, targets = tokens.tolist(), targets.tolist()
        a, plus, b, equals, shown = (
            tokens[:n],
            tokens[n],
            tokens[n + 1 : 2 * n + 1],
            tokens[2 * n + 1],
            tokens[2 * n + 2 :],
        )
        assert (plus, equals) == (base, base + 1)
        assert value(a, base, most) + value(b, base, most) == value(targets, base, most)
        assert shown == targets[:-1]
        assert len(targets) == n + 1


@pytest.mark.parametrize(("target", "place"), [("last", 3), ("next_to_last", 2), (3, 0), (0, 3)])
def test_a_single_target_is_that_digit_of_the_whole_answer(target, place):
    every = Addition(AdditionConfig(target="all")).draw(5, 9, 1, 50)
    one = Addition(AdditionConfig(target=target)).draw(5, 9, 1, 50)
    assert one.targets[0, :, 0].tolist() == every.targets[0, :, place].tolist()
    assert one.tokens[0].tolist() == every.tokens[0, :, :8].tolist()


def test_batches_are_a_function_of_seed_and_step():
    task = Addition(AdditionConfig())
    together = task.draw(3, 1, 10, 16)
    alone = task.draw(3, 7, 1, 16)
    assert (together.tokens[6] == alone.tokens[0]).all()
    assert not (together.tokens[5] == alone.tokens[0]).all()
    assert not (task.draw(4, 7, 1, 16).tokens == alone.tokens).all()


@pytest.mark.parametrize("order", ["most_significant_first", "least_significant_first"])
def test_measures_of_a_hand_worked_batch(order):
    # 58 + 67 = 125: without carries the digits are 1, 1 (5 + 6) and 5 (8 + 7); the naive sum of
    # the leading place is 0.
    config = AdditionConfig(n_digits=2, target="all", order=order)
    task = Addition(config)
    answer, question = [1, 2, 5], [5, 8, 10, 6, 7, 11]
    if order == "least_significant_first":
        answer, question = answer[::-1], [8, 5, 10, 7, 6, 11]
    tokens = torch.tensor([question + answer[:-1]] * 2)
    targets = torch.tensor([answer] * 2)
    guesses = targets.clone()
    middle = 1
    guesses[1, middle] = 1  # the naive sum, not the naive sum plus one
    guesses[1, answer.index(5)] = 10  # a plus sign, no digit
    logits = torch.nn.functional.one_hot(guesses, 12).float() * 20
    measures = {k: v.item() for k, v in task.measures(logits, tokens, targets).items()}
    assert measures["accuracy"] == pytest.approx(4 / 6)
    assert measures["sequence_accuracy"] == 0.5
    assert measures["accuracy/digit_1"] == 0.5
    assert measures["offset/digit_1/0"] == 0.5
    assert measures["offset/digit_1/1"] == 0.5
    assert measures["offset/digit_2/1"] == 1.0
    assert measures["offset/digit_0/0"] == 0.5
    assert measures["offset/digit_0/other"] == 0.5
    assert measures["loss/digit_2"] == pytest.approx(0, abs=1e-6)
    assert measures["loss/digit_1"] == pytest.approx(10, abs=1e-3)
    shares = [v for k, v in measures.items() if k.startswith("offset/digit_1/")]
    assert sum(shares) == 1.0


def test_the_held_out_sample_is_no_training_batch():
    task = Addition(AdditionConfig(n_digits=6))
    held_out = {tuple(row) for row in task.held_out(100).tokens.tolist()}
    trained = {tuple(row) for row in task.draw(0, 1, 20, 100).tokens.reshape(-1, 14).tolist()}
    assert len(held_out) == 100
    assert not held_out & trained


def test_the_example_in_its_documentation():
    found = doctest.testmod(ablab.tasks.addition)
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_of_digits_are_not_rounded_to_half_precision(dtype):
    task = Addition(AdditionConfig(n_digits=2, target="all"))
    batch = task.held_out(64)
    tokens, targets = torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(*targets.shape, task.config.vocab_size, generator=generator).to(dtype)
    found = task.measures(logits, tokens, targets)
    expected = torch.nn.functional.cross_entropy(
        logits.double().transpose(1, 2), targets, reduction="none"
    ).mean(0)
    for place, digit in enumerate(task.config.digits):
        assert found[f"loss/digit_{digit}"].item() == pytest.approx(
            expected[place].item(), abs=1e-5
        )
