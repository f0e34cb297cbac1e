import doctest
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import ablab.tasks.recall
from ablab.tasks.random import Stream, words
from ablab.tasks.recall import Recall, _different
from ablab.tasks.recall_config import RecallConfig


@given(
    n_pairs=st.integers(1, 12),
    queries=st.floats(0, 1),
    more_keys=st.integers(0, 20),
    n_values=st.integers(2, 30),
    seed=st.integers(0, 99),
)
def test_the_answer_stood_beside_the_key(n_pairs, queries, more_keys, n_values, seed):
    n_queries = max(1, round(queries * n_pairs))
    n_keys = n_pairs + more_keys
    config = RecallConfig(n_pairs=n_pairs, n_queries=n_queries, n_keys=n_keys, n_values=n_values)
    task = Recall(config)
    batch = task.draw(seed, 1, 2, 3)
    assert batch.tokens.shape == (2, 3, config.input_length)
    for tokens, targets in zip(
        batch.tokens.reshape(6, -1), batch.targets.reshape(6, -1), strict=True
    ):
        tokens, targets = tokens.tolist(), targets.tolist()
        keys, values = tokens[0 : 2 * n_pairs : 2], tokens[1 : 2 * n_pairs : 2]
        table = dict(zip(keys, values, strict=True))
        assert len(table) == n_pairs, "keys are different"
        assert max(keys) < n_keys <= min(values)
        assert max(values) < config.vocab_size
        asked = tokens[task.predicted]
        assert len(set(asked)) == len(asked) == n_queries
        assert [table[key] for key in asked] == targets
        assert tokens[2 * n_pairs + 1 :: 2] == targets[:-1]


def test_every_choice_of_keys_and_every_order_is_equally_likely():
    task = Recall(RecallConfig(n_pairs=2, n_queries=2, n_keys=4, n_values=2))
    tokens = task.draw(0, 1, 10, 1200).tokens.reshape(-1, 7)
    shown = [tuple(row) for row in tokens[:, [0, 2]].tolist()]
    pairs = list(itertools.permutations(range(4), 2))
    counts = np.array([shown.count(pair) for pair in pairs])
    # chi-squared with 11 degrees of freedom: below 37.4 with probability 0.9999
    assert counts.sum() == 12_000
    assert ((counts - 1000) ** 2 / 1000).sum() < 37.4
    first_is_asked_first = (tokens[:, 4] == tokens[:, 0]).mean()
    assert abs(first_is_asked_first - 0.5) < 0.02
    assert abs((tokens[:, 1] == 4).mean() - 0.5) < 0.02


@given(seed=st.integers(0, 99), below=st.integers(1, 40))
def test_all_of_a_small_range_can_be_chosen(seed, below):
    raw = words(seed, Stream.BATCH, 0, 3, below)
    assert np.sort(_different(raw, below)).tolist() == [list(range(below))] * 3


def test_batches_are_a_function_of_seed_and_step():
    task = Recall(RecallConfig())
    together = task.draw(3, 1, 10, 16)
    alone = task.draw(3, 7, 1, 16)
    assert (together.tokens[6] == alone.tokens[0]).all()
    assert (together.targets[6] == alone.targets[0]).all()
    assert not (together.tokens[5] == alone.tokens[0]).all()
    assert not (task.draw(4, 7, 1, 16).tokens == alone.tokens).all()


def test_the_held_out_sample_is_no_training_batch():
    task = Recall(RecallConfig())
    held_out = {tuple(row) for row in task.held_out(100).tokens.tolist()}
    trained = {tuple(row) for row in task.draw(0, 1, 20, 100).tokens.reshape(2000, -1).tolist()}
    assert len(held_out) == 100
    assert not held_out & trained


def test_measures_of_a_hand_worked_batch():
    task = Recall(RecallConfig(n_pairs=3, n_queries=2, n_keys=3, n_values=2))
    targets = torch.tensor([[3, 4], [4, 4], [3, 3], [4, 3]])
    guesses = torch.tensor([[3, 4], [4, 0], [4, 4], [4, 4]])
    logits = torch.nn.functional.one_hot(guesses, 5).float()
    measures = task.measures(logits, torch.zeros(4, 9, dtype=torch.long), targets)
    assert measures["accuracy"].item() == 0.5
    assert measures["sequence_accuracy"].item() == 0.25


def test_text_and_tokens():
    task = Recall(RecallConfig(n_pairs=2, n_queries=1, n_keys=12, n_values=20))
    assert task.tokens("k11 v0 k3 v19 k3").tolist() == [11, 12, 3, 31, 3]
    assert task.text(task.tokens("k11 v0 k3 v19 k3")) == "k11 v0 k3 v19 k3"
    for word in ("k12", "v20", "x1", "k", "7", "k-1"):
        with pytest.raises(ValueError, match="k0 to k11 and v0 to v19"):
            task.tokens(word)


def test_levels():
    levels = RecallConfig(n_pairs=8, n_values=64).natural_levels
    assert levels == {
        "log(64)": pytest.approx(np.log(64)),
        "log(8)": pytest.approx(np.log(8)),
    }


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match="n_pairs 9 needs as many distinct keys"):
        RecallConfig(n_pairs=9, n_keys=8)
    with pytest.raises(ValidationError, match="n_queries 5 is greater than n_pairs 4"):
        RecallConfig(n_pairs=4, n_queries=5)


def test_the_example_in_its_documentation():
    found = doctest.testmod(ablab.tasks.recall)
    assert found.attempted > 0
    assert found.failed == 0
