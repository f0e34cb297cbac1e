import doctest

import numpy as np
import pytest
import torch
from pydantic import ValidationError

import ablab.tasks.modular
from ablab.tasks.modular import Modular
from ablab.tasks.modular_config import ModularConfig

OPERATIONS = {
    "a+b": lambda a, b: a + b,
    "a-b": lambda a, b: a - b,
    "a*b": lambda a, b: a * b,
    "a**2+a*b+b**2": lambda a, b: a**2 + a * b + b**2,
    "-a**3*b + 5": lambda a, b: -(a**3) * b + 5,
}


def pairs(batch):
    """The pairs (a, b) of a batch."""
    return [tuple(row[:2]) for row in batch.tokens.reshape(-1, 3).tolist()]


@pytest.mark.parametrize("p", [12, 113])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_answer_is_the_polynomial_modulo_p(operation, p):
    task = Modular(ModularConfig(operation=operation, p=p))
    for batch in (task.draw(2, 1, 3, 30), task.held_out(90)):
        answers = batch.targets.reshape(-1).tolist()
        for (a, b), answer in zip(pairs(batch), answers, strict=True):
            assert answer == OPERATIONS[operation](a, b) % p
        assert (batch.tokens[..., 2] == p).all()


def test_the_table_is_split_once_for_all_seeds():
    task = Modular(ModularConfig(p=20, train_fraction=0.3))
    trained = pairs(task.draw(0, 1, 6, 20))
    kept = pairs(task.held_out(1000))
    assert len(trained) == len(set(trained)) == task.config.train_size == 120
    assert len(kept) == len(set(kept)) == 280
    assert not set(trained) & set(kept)
    for seed in (1, 2, 4_000_000_000):
        assert set(pairs(task.draw(seed, 100, 30, 20))) == set(trained)
    other = Modular(ModularConfig(p=20, train_fraction=0.3, split_seed=1))
    assert set(pairs(other.draw(0, 1, 6, 20))) != set(trained)
    more = Modular(ModularConfig(p=20, train_fraction=0.6))
    assert set(trained) < set(pairs(more.draw(0, 1, 12, 20)))


def test_every_epoch_has_every_pair_once_in_another_order():
    task = Modular(ModularConfig(p=15, train_fraction=0.4))
    epochs = np.array(pairs(task.draw(3, 1, 20, 9))).reshape(2, 90, 2)
    assert sorted(map(tuple, epochs[0].tolist())) == sorted(map(tuple, epochs[1].tolist()))
    assert not (epochs[0] == epochs[1]).all()
    assert not (epochs[0] == np.array(pairs(task.draw(4, 1, 10, 9)))).all()


def test_a_batch_of_the_whole_share_is_the_same_at_every_step():
    task = Modular(ModularConfig(p=15, train_fraction=0.4))
    batch = task.draw(0, 5, 3, 90)
    assert len(set(pairs(task.draw(0, 5, 1, 90)))) == 90
    assert (batch.tokens[0] == batch.tokens[2]).all()


def test_batches_are_a_function_of_seed_and_step():
    task = Modular(ModularConfig(p=31))
    together = task.draw(3, 1, 10, 50)
    alone = task.draw(3, 7, 1, 50)
    assert (together.tokens[6] == alone.tokens[0]).all()
    assert (together.targets[6] == alone.targets[0]).all()
    assert not (together.tokens[5] == alone.tokens[0]).all()


def test_a_small_held_out_sample_is_spread_over_the_table():
    task = Modular(ModularConfig(p=40))
    first = [a for a, _ in pairs(task.held_out(40))]
    assert len(first) == 40
    assert first == sorted(first)
    assert max(np.diff(first)) <= 3


def test_training_pairs_look_drawn_at_random():
    trained = np.array(pairs(Modular(ModularConfig(p=100)).draw(0, 1, 1, 3000)))
    for column in trained.T:
        counts = np.bincount(column, minlength=100)
        # Drawn without replacement: mean 30, standard deviation 4.6.
        assert counts.min() > 30 - 5 * 4.6
        assert counts.max() < 30 + 5 * 4.6


def test_accuracy_of_a_hand_worked_batch():
    task = Modular(ModularConfig(p=5))
    guesses, targets = torch.tensor([[1], [2], [5], [0]]), torch.tensor([[1], [3], [0], [0]])
    logits = torch.nn.functional.one_hot(guesses, 6).float()
    measures = task.measures(logits, torch.zeros(4, 3, dtype=torch.long), targets)
    assert measures["accuracy"].item() == 0.5


def test_text_and_tokens():
    task = Modular(ModularConfig(p=12))
    assert task.tokens("3 11 =").tolist() == [3, 11, 12]
    assert task.text(task.tokens("3 11 =")) == "3 11 ="
    for text in ("3 12 =", "x", "-1", "3+4="):
        with pytest.raises(ValueError, match="neither a number from 0 to 11 nor ="):
            task.tokens(text)


def test_an_operation_is_the_same_run_however_it_is_spaced():
    assert (
        ModularConfig(operation="a+b").identity() == ModularConfig(operation="(a) + b").identity()
    )
    assert ModularConfig(operation="a-b").identity() != ModularConfig().identity()


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match="'/' is not allowed in an operation"):
        ModularConfig(operation="a/b")
    with pytest.raises(
        ValidationError,
        match="of 25 pairs is 0: training and evaluation each need at least one pair",
    ):
        ModularConfig(p=5, train_fraction=0.01)
    with pytest.raises(ValidationError, match="of 25 pairs is 25"):
        ModularConfig(p=5, train_fraction=0.99)


def test_the_example_in_its_documentation():
    found = doctest.testmod(ablab.tasks.modular)
    assert found.attempted > 0
    assert found.failed == 0
