import doctest

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import ablab.tasks.sequences
from ablab.tasks.config import IGNORED
from ablab.tasks.sequences import Copy, Reverse, Roll
from ablab.tasks.sequences_config import CopyConfig, ReverseConfig, RollConfig

TASKS = {
    "copy": (Copy, CopyConfig, {}, lambda x: x),
    "reverse": (Reverse, ReverseConfig, {}, lambda x: x[::-1]),
    "roll": (Roll, RollConfig, {"shift": 5}, lambda x: np.roll(x, 5).tolist()),
    "roll back": (Roll, RollConfig, {"shift": -2}, lambda x: np.roll(x, -2).tolist()),
}


@pytest.mark.parametrize("name", TASKS)
def test_answers_of_one_length(name):
    task_class, config_class, settings, answer = TASKS[name]
    config = config_class(n_symbols=7, length=6, **settings)
    task = task_class(config)
    batch = task.draw(4, 3, 5, 20)
    assert (config.vocab_size, config.padding, config.ragged) == (8, None, False)
    assert batch.tokens.shape == (5, 20, config.input_length)
    for tokens, targets in zip(
        batch.tokens.reshape(100, -1).tolist(), batch.targets.reshape(100, -1).tolist(), strict=True
    ):
        source, separator, shown = tokens[:6], tokens[6], tokens[7:]
        assert max(source) < 7
        assert separator == 7
        assert targets == answer(source)
        assert shown == targets[:-1]


@pytest.mark.parametrize("name", TASKS)
def test_answers_of_varying_length(name):
    task_class, config_class, settings, answer = TASKS[name]
    config = config_class(n_symbols=4, length=6, min_length=3, **settings)
    task = task_class(config)
    separator, end, padding = 4, 5, 6
    batch = task.draw(4, 3, 10, 40)
    lengths = set()
    assert (config.vocab_size, config.padding, config.ragged) == (7, padding, True)
    assert batch.tokens.shape == (10, 40, config.input_length)
    for tokens, targets in zip(
        batch.tokens.reshape(400, -1).tolist(), batch.targets.reshape(400, -1).tolist(), strict=True
    ):
        source = [token for token in tokens[:6] if token != padding]
        rest = 6 - len(source)
        lengths.add(len(source))
        assert max(source) < 4
        assert tokens[:7] == source + [padding] * rest + [separator]
        assert targets == [*answer(source), end] + [IGNORED] * rest
        assert tokens[7:] == ([*answer(source), end] + [padding] * rest)[:6]
    assert lengths == {3, 4, 5, 6}


@pytest.mark.parametrize(
    "config",
    [
        CopyConfig(n_symbols=2, length=8),
        CopyConfig(n_symbols=3, length=5, min_length=2, held_out=0.5),
        ReverseConfig(n_symbols=100, length=12),
        RollConfig(n_symbols=2, length=12, min_length=1, shift=3, held_out=0.02),
    ],
    ids=str,
)
def test_training_never_meets_a_held_out_sequence(config):
    task = {"copy": Copy, "reverse": Reverse, "roll": Roll}[config.kind](config)
    held_out = task.held_out(500).tokens[:, : config.length]
    distinct = {tuple(row) for row in held_out.tolist()}
    assert len(distinct) == len(held_out) > 10
    for seed in (0, 1, 4_000_000_000):
        for first in (1, 10_000_000):
            drawn = task.draw(seed, first, 20, 100).tokens[..., : config.length]
            trained = {tuple(row) for row in drawn.reshape(2000, -1).tolist()}
            assert not distinct & trained


def test_the_split_is_the_same_for_all_three_tasks():
    sets = []
    for task in (
        Copy(CopyConfig(n_symbols=2, length=8)),
        Roll(RollConfig(n_symbols=2, length=8, shift=3)),
    ):
        sets.append({tuple(row[:8]) for row in task.held_out(1000).tokens.tolist()})
    assert sets[0] == sets[1]
    assert 10 < len(sets[0]) < 45  # 256 sequences, a tenth of them


def test_without_a_held_out_share_all_sequences_are_drawn():
    task = Copy(CopyConfig(n_symbols=2, length=3, held_out=0))
    for batch in (task.draw(0, 1, 1, 200).tokens[0], task.held_out(200).tokens):
        assert len({tuple(row[:3]) for row in batch.tolist()}) == 8
        assert len(batch) == 200


def test_batches_are_a_function_of_seed_and_step():
    task = Reverse(ReverseConfig(n_symbols=3, length=9, min_length=4, held_out=0.6))
    together = task.draw(3, 1, 10, 16)
    alone = task.draw(3, 7, 1, 16)
    assert (together.tokens[6] == alone.tokens[0]).all()
    assert (together.targets[6] == alone.targets[0]).all()
    assert not (together.tokens[5] == alone.tokens[0]).all()
    assert not (task.draw(4, 7, 1, 16).tokens == alone.tokens).all()


def test_measures_leave_out_what_is_not_predicted():
    task = Copy(CopyConfig(n_symbols=4, length=4, min_length=1, held_out=0))
    targets = torch.tensor([[1, 2, 5, IGNORED, IGNORED], [3, 3, 3, 3, 5], [0, 5, *[IGNORED] * 3]])
    guesses = torch.tensor([[1, 2, 5, 0, 1], [3, 3, 0, 3, 5], [1, 0, 2, 2, 2]])
    logits = torch.nn.functional.one_hot(guesses, 7).float()
    found = task.measures(logits, torch.zeros(3, 9, dtype=torch.long), targets)
    assert found["accuracy"].item() == pytest.approx((1 + 4 / 5 + 0) / 3)
    assert found["sequence_accuracy"].item() == pytest.approx(1 / 3)
    logits2 = torch.stack([logits, torch.nn.functional.one_hot(targets.clamp(min=0), 7).float()])
    stacked = torch.vmap(lambda each: task.measures(each, targets, targets))(logits2)
    assert stacked["accuracy"].tolist() == [pytest.approx(0.6), 1.0]


@given(
    n_symbols=st.sampled_from([2, 10, 36, 37, 200]),
    min_length=st.sampled_from([None, 1, 5]),
    seed=st.integers(0, 99),
)
def test_text_and_tokens_are_each_others_inverse(n_symbols, min_length, seed):
    task = Copy(CopyConfig(n_symbols=n_symbols, length=7, min_length=min_length))
    tokens = task.draw(seed, 1, 1, 1).tokens[0, 0]
    assert task.tokens(task.text(tokens)).tolist() == tokens.tolist()


def test_a_short_prompt_is_padded_and_a_wrong_one_refused():
    task = Copy(CopyConfig(n_symbols=16, length=5, min_length=2))
    assert task.text(task.tokens("a0f>")) == "a0f__>"
    with pytest.raises(ValueError, match="no symbol 'g'; symbols are 0 to f"):
        task.tokens("ag>")
    with pytest.raises(ValueError, match=r"2 to 5 symbols, but '1>' has 1"):
        task.tokens("1>")
    with pytest.raises(ValueError, match="has 6"):
        task.tokens("111111>")
    with pytest.raises(ValueError, match=r"no symbol '\.'"):
        Copy(CopyConfig()).tokens("12.")
    with pytest.raises(ValueError, match="0 to 98, separated by spaces"):
        Copy(CopyConfig(n_symbols=99)).tokens("4 99")


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match="min_length 6 is greater than length 5"):
        CopyConfig(length=5, min_length=6)
    with pytest.raises(ValidationError, match="only 32 distinct samples"):
        CopyConfig(n_symbols=2, length=5)
    with pytest.raises(ValidationError, match="too few on one side"):
        CopyConfig(n_symbols=3, length=9, held_out=0.002)


def test_the_examples_in_its_documentation():
    found = doctest.testmod(ablab.tasks.sequences)
    assert found.attempted > 0
    assert found.failed == 0
