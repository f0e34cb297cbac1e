"""Contrasts: the pairs differ where they should, and their answers are right."""

import numpy as np
import pytest

from ablab.config import InputError
from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig
from ablab.tasks.config import IGNORED
from ablab.tasks.contrasts import contrasts
from ablab.tasks.modular import Modular
from ablab.tasks.modular_config import ModularConfig
from ablab.tasks.probe import factor_labels
from ablab.tasks.recall import Recall
from ablab.tasks.recall_config import RecallConfig
from ablab.tasks.sequences import Copy, Reverse
from ablab.tasks.sequences_config import CopyConfig, ReverseConfig
from ablab.tasks.text import Text
from ablab.tasks.text_config import TextConfig
from tests.tasks.my_samples import Even, EvenConfig, Parity, ParityConfig

SUM = Modular(ModularConfig(p=23))
PRODUCT = Modular(ModularConfig(p=23, operation="a*b"))
DIGITS = Addition(AdditionConfig(n_digits=3, target="all"))
SHORT = Addition(AdditionConfig(max_value=70, base=7, order="least_significant_first"))
COPY = Copy(CopyConfig(length=6))
REVERSE = Reverse(ReverseConfig(length=6, min_length=3))
RECALL = Recall(RecallConfig(n_pairs=5, n_queries=3))


def edited(pairs):
    """The number of input tokens that differ in each pair."""
    return (pairs.clean.tokens != pairs.corrupted.tokens).sum(-1)


@pytest.mark.parametrize(
    ("task", "factor", "also"),
    [
        (SUM, "a", {"a_plus_b", "answer"}),
        (SUM, "b", {"a_plus_b", "answer"}),
        (SUM, "wraps", {"a", "b"}),
        (PRODUCT, "a", {"a_plus_b", "answer"}),
        (DIGITS, "a_digit_0", {"naive_sum_0", "answer_digit_0"}),
        (DIGITS, "b_digit_2", {"naive_sum_2", "answer_digit_2"}),
        (SHORT, "a_digit_1", {"naive_sum_1", "answer_digit_1"}),
        (COPY, "source_token", set()),
        (RECALL, "source_token", set()),
        (RECALL, "source_position", set()),
        (REVERSE, "source_token", set()),
        (REVERSE, "length", {"position", "end", "source_position", "source_token"}),
    ],
)
def test_what_else_differs(task, factor, also):
    found = contrasts(task, factor, 30, seed=1)
    assert found.differs[factor].all()
    assert set(found.also_differ) == also
    assert len(found.clean.tokens) == len(found.corrupted.tokens) == 30
    assert len(np.unique(found.clean.tokens, axis=0)) == 30
    before, after = factor_labels(task, found.clean), factor_labels(task, found.corrupted)
    np.testing.assert_array_equal(found.clean_labels, before[factor])
    np.testing.assert_array_equal(found.corrupted_labels, after[factor])
    for name in set(before) - also - {factor}:
        np.testing.assert_array_equal(before[name], after[name])


def test_an_operand_changes_alone_and_the_answer_with_it():
    for task, operation in ((SUM, np.add), (PRODUCT, np.multiply)):
        found = contrasts(task, "a", 40)
        assert (edited(found) == 1).all()
        tokens, answers = found.corrupted.tokens, found.corrupted.targets[:, 0]
        np.testing.assert_array_equal(tokens[:, 1], found.clean.tokens[:, 1])
        np.testing.assert_array_equal(operation(tokens[:, 0], tokens[:, 1]) % 23, answers)
        assert (answers != found.clean.targets[:, 0]).all()  # no products with 0


def test_a_sum_that_wraps_and_one_that_does_not_have_the_same_answer():
    found = contrasts(SUM, "wraps", 40)
    before, after = found.clean.tokens, found.corrupted.tokens
    wraps = [tokens[:, 0] + tokens[:, 1] >= 23 for tokens in (before, after)]
    assert (wraps[0] != wraps[1]).all()
    assert 0 < wraps[0].sum() < 40  # in both directions
    np.testing.assert_array_equal(before[:, :2].sum(-1) % 23, after[:, :2].sum(-1) % 23)
    np.testing.assert_array_equal(found.clean.targets, found.corrupted.targets)


def numbers_of(task, tokens):
    """Both operands as numbers, written from the first digit to the last."""
    texts = [task.text(row).split("=")[0].split("+") for row in tokens]
    return np.array([[int(each, task.config.base) for each in pair] for pair in texts])


def test_a_carry_changes_with_one_digit_and_no_other_carry():
    found = contrasts(DIGITS, "carry_into_2", 40, seed=2)
    before, after = numbers_of(DIGITS, found.clean.tokens), numbers_of(
        DIGITS, found.corrupted.tokens
    )  # fmt: skip
    assert ((before != after).sum(-1) == 1).all()

    def carries(numbers, digits):
        low = numbers % 10**digits
        return low.sum(-1) >= 10**digits

    assert (carries(before, 2) != carries(after, 2)).all()
    for digit in (1, 3):
        np.testing.assert_array_equal(carries(before, digit), carries(after, digit))
    # The tens of one operand differ, then their sum, and the two digits that depend on it.
    changed = {"a_digit_1", "b_digit_1", "naive_sum_1", "answer_digit_1", "answer_digit_2"}
    assert set(found.also_differ) - {"cascade", "longest_cascade"} == changed
    for numbers, batch in ((before, found.clean), (after, found.corrupted)):
        answers = [f"{total:04}" for total in numbers.sum(-1)]
        assert [DIGITS.text(row) for row in batch.targets] == answers
        assert [DIGITS.text(row[-3:]) for row in batch.tokens] == [each[:3] for each in answers]


def test_the_largest_operand_is_kept():
    found = contrasts(SHORT, "b_digit_2", 10)  # 70 is 130 in base 7
    for batch in (found.clean, found.corrupted):
        digits = batch.tokens[:, [0, 1, 2, 4, 5, 6]].reshape(-1, 2, 3)  # the last digit first
        assert (digits @ 7 ** np.arange(3) <= 70).all()


def test_the_longest_cascade_changes_by_the_digit_that_it_needs():
    found = contrasts(DIGITS, "longest_cascade", 40)
    problems = (found.clean.tokens, found.corrupted.tokens)
    before, after = (numbers_of(DIGITS, tokens) for tokens in problems)
    assert ((before != after).sum(-1) == 1).all()
    assert (found.clean_labels != found.corrupted_labels).all()


def test_one_copied_symbol():
    found = contrasts(COPY, "source_token", 20)
    changed = found.clean.tokens[:, :6] != found.corrupted.tokens[:, :6]
    assert (changed.sum(-1) == 1).all()
    np.testing.assert_array_equal(changed, found.clean.targets != found.corrupted.targets)
    np.testing.assert_array_equal(found.corrupted.targets, found.corrupted.tokens[:, :6])


def test_lengths_of_a_reversed_sequence_differ_by_one():
    found = contrasts(REVERSE, "length", 20)
    assert (np.abs(found.clean_labels - found.corrupted_labels) == 1).all()
    for tokens, targets in zip(found.corrupted.tokens, found.corrupted.targets, strict=True):
        sequence = REVERSE.text(tokens[:6]).rstrip("_")
        assert 3 <= len(sequence) <= 6
        assert REVERSE.text(targets) == sequence[::-1] + "."


@pytest.mark.parametrize("factor", ["source_token", "source_position", "distance"])
def test_pairs_of_a_recalled_value(factor):
    found = contrasts(RECALL, factor, 20)
    for batch in (found.clean, found.corrupted):
        for tokens, targets in zip(batch.tokens, batch.targets, strict=True):
            shown = dict(zip(tokens[:10:2].tolist(), tokens[1:10:2].tolist(), strict=True))
            assert len(shown) == 5
            assert [shown[key] for key in tokens[10::2].tolist()] == targets.tolist()
            assert tokens[11::2].tolist() == targets[:-1].tolist()
    same_query = (found.clean.tokens[:, 10::2] == found.corrupted.tokens[:, 10::2]).all()
    same_pairs = [
        {tuple(pair) for pair in row[:10].reshape(5, 2).tolist()} for row in found.clean.tokens
    ] == [{tuple(pair) for pair in row[:10].reshape(5, 2).tolist()} for row in
          found.corrupted.tokens]  # fmt: skip
    assert same_query
    assert same_pairs == (factor != "source_token")


def test_one_token_of_a_text():
    task = Text(TextConfig(corpus="python-stdlib", seq_len=16))
    found = contrasts(task, "bigram_seen", 20)
    windows = [
        np.concatenate([each.tokens, each.targets[:, -1:]], axis=-1)
        for each in (found.clean, found.corrupted)
    ]
    assert ((windows[0] != windows[1]).sum(-1) == 1).all()
    np.testing.assert_array_equal(found.corrupted.tokens[:, 1:], found.corrupted.targets[:, :-1])


def test_a_users_task_redraws_one_position():
    found = contrasts(Parity(ParityConfig()), "token_1", 5)
    np.testing.assert_array_equal(
        found.clean.tokens != found.corrupted.tokens, [[False, True, False, False]] * 5
    )
    assert (found.corrupted.targets == IGNORED).all()
    with pytest.raises(ValueError, match=r"no contrasts for first.*expected token_T"):
        contrasts(Parity(ParityConfig()), "first", 5)
    with pytest.raises(ValueError, match="no two of its similar samples differ"):
        contrasts(Parity(ParityConfig()), "token_3", 5)
    even = contrasts(Even(EvenConfig(n_digits=1)), "token_0", 5)
    assert (even.corrupted.tokens[:, 0] < 5).all()


def test_pairs_depend_on_the_seed_alone():
    first, again, other = (contrasts(DIGITS, "carry_into_1", 10, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.corrupted.tokens, again.corrupted.tokens)
    np.testing.assert_array_equal(first.clean.tokens, again.clean.tokens)
    assert not np.array_equal(first.clean.tokens, other.clean.tokens)


def test_what_cannot_be_asked_for():
    with pytest.raises(InputError, match="addition has no factor 'carry_in_1'") as caught:
        contrasts(DIGITS, "carry_in_1", 5)
    assert caught.value.problems[0].suggestion == "carry_into_1"
    with pytest.raises(ValueError, match="no contrasts for position of the task copy"):
        contrasts(COPY, "position", 5)
    with pytest.raises(ValueError, match="n 0 is not positive"):
        contrasts(COPY, "source_token", 0)
