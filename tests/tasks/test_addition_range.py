"""Operands up to a largest value, problems held out, and prompts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig


def operands(task, tokens):
    """Both operands of some questions, read from their text."""
    base, n = task.config.base, task.config.n_digits
    texts = [task.text(row[: 2 * n + 2]) for row in tokens.reshape(-1, tokens.shape[-1])]
    pairs = [text[:-1].split("+") for text in texts]
    if task.config.order == "least_significant_first":
        pairs = [[a[::-1], b[::-1]] for a, b in pairs]
    return [(int(a, base), int(b, base)) for a, b in pairs]


@given(
    max_value=st.integers(1, 2**20 - 1),
    base=st.integers(2, 36),
    seed=st.integers(0, 99),
    order=st.sampled_from(["most_significant_first", "least_significant_first"]),
)
def test_answers_with_a_largest_operand(max_value, base, seed, order):
    config = AdditionConfig(max_value=max_value, base=base, order=order, target="all")
    assert base ** (config.n_digits - 1) <= max_value < base**config.n_digits
    task = Addition(config)
    batch = task.draw(seed, 1, 2, 3)
    targets = [task.text(row) for row in batch.targets.reshape(6, -1)]
    step = -1 if order == "least_significant_first" else 1
    for (a, b), target in zip(operands(task, batch.tokens), targets, strict=True):
        assert max(a, b) <= max_value
        assert int(target[::step], base) == a + b


def test_operands_are_uniform_to_the_largest():
    task = Addition(AdditionConfig(max_value=11))
    drawn = np.array(operands(task, task.draw(0, 1, 10, 600).tokens))
    counts = np.bincount(drawn.ravel(), minlength=12)
    # chi-squared with 11 degrees of freedom: below 37.4 with probability 0.9999
    assert ((counts - 1000) ** 2 / 1000).sum() < 37.4


@pytest.mark.parametrize("target", ["last", "next_to_last", 1, "all"])
def test_the_question_ends_with_the_equals_sign(target):
    config = AdditionConfig(max_value=500, target=target)
    task = Addition(config)
    tokens = task.draw(0, 1, 1, 5).tokens[0]
    assert (tokens[:, config.source_length - 1] == 11).all()
    assert task.predicted.start == config.source_length - 1
    assert tokens.shape[-1] == config.input_length


@pytest.mark.parametrize(
    "settings",
    [
        {"n_digits": 1, "held_out": 0.3},
        {"n_digits": 4, "held_out": 0.5, "base": 3},
        {"max_value": 40, "held_out": 0.1, "order": "least_significant_first"},
    ],
    ids=str,
)
def test_training_never_meets_a_held_out_problem(settings):
    task = Addition(AdditionConfig(**settings))
    kept = operands(task, task.held_out(400).tokens)
    assert len(set(kept)) == len(kept) > 10
    for seed in (0, 1, 4_000_000_000):
        for first in (1, 10_000_000):
            trained = operands(task, task.draw(seed, first, 4, 100).tokens)
            assert len(set(trained)) > 50
            assert not set(kept) & set(trained)


def test_the_split_depends_on_neither_order_nor_target():
    sets = [
        set(operands(task, task.held_out(5000).tokens))
        for task in (
            Addition(AdditionConfig(n_digits=1, held_out=0.2)),
            Addition(
                AdditionConfig(
                    n_digits=1, held_out=0.2, order="least_significant_first", target="all"
                )
            ),
        )
    ]
    assert sets[0] == sets[1]
    assert 8 <= len(sets[0]) <= 32  # of a hundred problems, a fifth


def test_held_out_batches_are_a_function_of_seed_and_step():
    task = Addition(AdditionConfig(max_value=999, held_out=0.5))
    together = task.draw(3, 1, 10, 16)
    alone = task.draw(3, 7, 1, 16)
    assert (together.tokens[6] == alone.tokens[0]).all()
    assert not (together.tokens[5] == alone.tokens[0]).all()


def test_settings_of_before_enter_the_identity_as_before():
    expected = {
        "kind": "addition",
        "n_digits": 3,
        "base": 10,
        "order": "most_significant_first",
        "target": 0,
    }
    assert AdditionConfig().identity() == expected
    changed = AdditionConfig(max_value=255, base=16, held_out=0.1).identity()
    assert changed == expected | {"n_digits": 2, "base": 16, "max_value": 255, "held_out": 0.1}


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(
        ValidationError, match="4 digits in base 10, but n_digits is 3: set n_digits: null"
    ):
        AdditionConfig(max_value=1000, n_digits=3)
    with pytest.raises(ValidationError, match="has 32 digits in base 2; at most 20"):
        AdditionConfig(max_value=2**32 - 1, base=2)
    with pytest.raises(ValidationError, match="only 16 distinct samples"):
        AdditionConfig(max_value=3, held_out=0.1)
    with pytest.raises(ValidationError, match="digits 0 \\(the last\\) to 2"):
        AdditionConfig(max_value=99, target=3)
    assert AdditionConfig(max_value=1000, n_digits=4).n_digits == 4


def test_prompts():
    task = Addition(AdditionConfig(n_digits=3, target="all"))
    assert task.tokens("123+456=").tolist() == [1, 2, 3, 10, 4, 5, 6, 11]
    assert task.text(task.tokens("7+46=00")) == "007+046=00"
    least = Addition(AdditionConfig(n_digits=3, order="least_significant_first", base=16))
    assert least.text(least.tokens("f+0a=")) == "f00+0a0="
    assert task.text(task.tokens("12+")) == "12+"
    with pytest.raises(ValueError, match="no symbol 'a'; symbols are 0 to 9, \\+ and ="):
        task.tokens("12a+3=")
    with pytest.raises(ValueError, match="operands have 3 digits, but '1234' has 4"):
        task.tokens("1234+3=")


@given(seed=st.integers(0, 99), base=st.integers(2, 36), n=st.integers(1, 20))
def test_text_and_tokens_are_each_others_inverse(seed, base, n):
    task = Addition(AdditionConfig(n_digits=n, base=base, target="all"))
    tokens = task.draw(seed, 1, 1, 1).tokens[0, 0]
    assert task.tokens(task.text(tokens)).tolist() == tokens.tolist()


def test_digits_may_be_left_open_over_a_file_that_gives_them():
    assert AdditionConfig(n_digits=None, max_value=1000).n_digits == 4
    with pytest.raises(ValueError, match="set n_digits: null"):
        AdditionConfig(n_digits=2, max_value=1000)
