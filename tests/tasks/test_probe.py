"""Probes: whole tables, stratified samples, and labels worked by hand or by brute force."""

import re

import numpy as np
import pytest

from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig
from ablab.tasks.base import Batch
from ablab.tasks.config import IGNORED
from ablab.tasks.modular import Modular
from ablab.tasks.modular_config import ModularConfig
from ablab.tasks.probe import factor_labels, probe
from ablab.tasks.recall import Recall
from ablab.tasks.recall_config import RecallConfig
from ablab.tasks.sequences import Copy, Reverse, Roll
from ablab.tasks.sequences_config import CopyConfig, ReverseConfig, RollConfig
from ablab.tasks.text import Text
from ablab.tasks.text_config import TextConfig
from tests.tasks.my_samples import Even, EvenConfig, Parity, ParityConfig


def small_text(tmp_path, text="abracadabra, abracadabra. ", times=20, **settings):
    corpus = tmp_path / "text.txt"
    corpus.write_text(text * times, encoding="utf-8")
    return Text(TextConfig(corpus=str(corpus), **settings))


def labels(task, tokens, targets):
    """All labels of samples given as text."""
    batch = Batch(
        np.stack([task.tokens(text) for text in tokens]),
        np.stack([task.tokens(text) for text in targets]),
    )
    return {name: own.tolist() for name, own in factor_labels(task, batch).items()}


def test_the_whole_table_of_modular_arithmetic():
    task = Modular(ModularConfig(operation="a-b", p=7, train_fraction=0.4))
    found = probe(task)
    assert found.whole
    assert found.tokens.tolist() == [[a, b, 7] for a in range(7) for b in range(7)]
    assert found.targets.tolist() == [
        [IGNORED, IGNORED, (a - b) % 7] for a in range(7) for b in range(7)
    ]
    assert found.mask.sum(-1).tolist() == [1] * 49
    assert found.factors["a"].tolist() == found.tokens[:, 0].tolist()
    assert found.factors["b"].tolist() == found.tokens[:, 1].tolist()
    row = 7 * 3 + 5  # 3 - 5 = -2 = 5, and 3 + 5 = 8 = 1
    names = ("a", "b", "a_plus_b", "answer", "wraps")
    assert [found.factors[name][row] for name in names] == [3, 5, 1, 5, 1]
    assert set(found.factors) == set(names)
    assert found.names == {"wraps": ("no", "yes")}
    trained = {tuple(row) for row in task.draw(0, 1, 1, 20).tokens[0].tolist()}
    assert {tuple(row) for row in found.tokens[found.train].tolist()} == trained
    np.testing.assert_allclose(found.weights, 1 / 49)


def test_the_parts_of_a_table():
    task = Modular(ModularConfig(p=7, train_fraction=0.4))
    train, held_out = probe(task, split="train"), probe(task, split="held_out")
    assert (len(train.tokens), len(held_out.tokens)) == (20, 29)
    assert (train.whole, held_out.whole) == (True, True)
    assert train.train.all()
    assert not held_out.train.any()
    both = np.concatenate([train.tokens, held_out.tokens])
    assert len(np.unique(both, axis=0)) == 49
    assert held_out.tokens.tolist() == task.held_out(29).tokens.tolist()


def test_labels_of_a_sum_worked_by_hand():
    task = Addition(AdditionConfig(n_digits=3, target="all"))
    # 6+7 = 13 carries, 5+4 = 9 passes it on, and so does 4+5 = 9: a cascade of 3. 250+250 carries
    # once, at its tens. In 655+655, each place carries by itself.
    found = labels(task, ["456+547=100", "250+250=050", "655+655=131"], ["1003", "0500", "1310"])
    expected = {
        "a_digit_0": [6, 0, 5], "a_digit_1": [5, 5, 5], "a_digit_2": [4, 2, 6],
        "b_digit_0": [7, 0, 5], "b_digit_1": [4, 5, 5], "b_digit_2": [5, 2, 6],
        "naive_sum_0": [13, 0, 10], "naive_sum_1": [9, 10, 10], "naive_sum_2": [9, 4, 12],
        "carry_into_1": [1, 0, 1], "carry_into_2": [1, 1, 1], "carry_into_3": [1, 0, 1],
        "answer_digit_0": [3, 0, 0], "answer_digit_1": [0, 0, 1], "answer_digit_2": [0, 5, 3],
        "answer_digit_3": [1, 0, 1], "longest_cascade": [3, 1, 1],
    }  # fmt: skip
    # The declared factor stays one of positions: the answer is predicted from position 7 on.
    out = [-1] * 7
    expected["cascade"] = [[*out, 3, 2, 1, -1], [*out, 0, 1, 0, -1], [*out, 1, 1, 1, -1]]
    assert found == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"n_digits": 2, "target": "all"},
        {"n_digits": 2, "order": "least_significant_first", "held_out": 0.3},
        {"max_value": 70, "base": 7, "target": "all"},
    ],
)
def test_every_sum_of_a_table_by_brute_force(settings):
    task = Addition(AdditionConfig(**settings))
    base, n = task.config.base, task.config.n_digits
    found = probe(task)
    assert found.whole
    places = base ** np.arange(n)
    factors = {name: own.tolist() for name, own in found.factors.items()}
    pairs = set()
    for row in range(len(found.tokens)):
        first = sum(factors[f"a_digit_{d}"][row] * int(places[d]) for d in range(n))
        second = sum(factors[f"b_digit_{d}"][row] * int(places[d]) for d in range(n))
        pairs.add((first, second))
        classes = ""  # of the digit sums from the right: Generates, Passes on, Kills a carry
        for d in range(n):
            total = first // base**d % base + second // base**d % base
            assert factors[f"naive_sum_{d}"][row] == total
            classes += "G" if total >= base else "P" if total == base - 1 else "K"
        for d in range(1, n + 1):
            carry = first % base**d + second % base**d >= base**d
            assert factors[f"carry_into_{d}"][row] == carry
        for d in range(n + 1):
            assert factors[f"answer_digit_{d}"][row] == (first + second) // base**d % base
        cascades = [len(each) for each in re.findall("GP*", classes)]
        assert factors["longest_cascade"][row] == max(cascades, default=0)
    largest = settings.get("max_value", base**n - 1)
    assert pairs == {(a, b) for a in range(largest + 1) for b in range(largest + 1)}


def test_the_shares_of_cascades_of_five_digits():
    task = Addition(AdditionConfig(n_digits=5))
    # Of 100 pairs of digits, 45 have a sum of ten or more, 10 of nine, and 45 of less.
    kinds, shares = np.array([[0, 0], [4, 5], [5, 5]]), np.array([0.45, 0.10, 0.45])
    chosen = np.indices((3,) * 5).reshape(5, -1).T  # (243, 5)
    operands = kinds[chosen]
    plus = np.full((243, 1), 10)
    tokens = np.concatenate([operands[..., 0], plus, operands[..., 1], plus + 1], axis=-1)
    found = factor_labels(task, Batch(tokens, np.zeros((243, 1), dtype=int)))
    exact = np.bincount(found["longest_cascade"], shares[chosen].prod(-1))
    np.testing.assert_allclose(exact[:4], [0.0503, 0.7757, 0.1604, 0.0126], atol=5e-5)
    sample = probe(task, samples=4000)
    estimated = np.bincount(sample.factors["longest_cascade"], sample.weights)
    # Of 16,000 samples that were drawn: four standard errors.
    errors = 4 * np.sqrt(exact[:4] * (1 - exact[:4]) / 16_000)
    assert (np.abs(estimated[:4] - exact[:4]) < errors).all()


def test_a_stratified_sample_has_equal_strata_where_it_can():
    task = Addition(AdditionConfig(n_digits=5, held_out=0.2))
    found = probe(task, samples=400, seed=3)
    counts = np.bincount(found.factors["longest_cascade"])
    assert not found.whole
    assert len(np.unique(found.tokens, axis=0)) == len(found.tokens) == 400
    # Of the 1,600 samples that were drawn, about 80 have no carry and 20 a cascade of 3.
    assert 50 < counts[0] < 110
    assert abs(counts[1] - counts[2]) <= 1
    assert 0 < counts[3] < 40
    assert found.weights.sum() == pytest.approx(1)
    again = probe(task, samples=400, seed=3)
    np.testing.assert_array_equal(found.tokens, again.tokens)
    other = probe(task, samples=400, seed=4)
    assert not (found.tokens == other.tokens).all()
    problems = task._digits(found.tokens).reshape(-1, 10)
    np.testing.assert_array_equal(found.train, ~task.config.split.is_held_out(problems))
    assert 0.7 < found.train.mean() < 0.9
    for split, side in (("train", True), ("held_out", False)):
        assert (probe(task, samples=100, split=split).train == side).all()


def test_sources_of_copied_symbols():
    found = labels(Reverse(ReverseConfig(length=5)), ["59763>3679"], ["36795"])
    assert found["source_position"] == [[-1] * 5 + [4, 3, 2, 1, 0]]
    assert found["source_token"] == [[-1] * 5 + [3, 6, 7, 9, 5]]
    found = labels(Roll(RollConfig(length=5, shift=2)), ["59763>6359"], ["63597"])
    assert found["source_position"] == [[-1] * 5 + [3, 4, 0, 1, 2]]
    task = Copy(CopyConfig(length=4, min_length=2))
    targets = np.array([[*task.tokens("976."), IGNORED], task.tokens("1234.")])
    tokens = np.stack([task.tokens("976_>976."), task.tokens("1234>1234")])
    found = factor_labels(task, Batch(tokens, targets))
    assert found["source_position"].tolist() == [
        [-1, -1, -1, -1, 0, 1, 2, -1, -1],
        [-1, -1, -1, -1, 0, 1, 2, 3, -1],
    ]
    assert found["length"].tolist() == [3, 4]


@pytest.mark.parametrize(
    "task",
    [
        Copy(CopyConfig(n_symbols=3, length=5)),
        Reverse(ReverseConfig(n_symbols=3, length=4, min_length=2)),
        Roll(RollConfig(n_symbols=3, length=5, min_length=2, shift=2)),
        Recall(RecallConfig(n_pairs=2, n_queries=2, n_keys=4, n_values=3)),
    ],
    ids=lambda task: task.config.kind,
)
def test_every_sample_of_a_table_has_its_source(task):
    found = probe(task)
    assert found.whole
    assert len(np.unique(found.tokens, axis=0)) >= 0.5 * len(found.tokens)  # some end differently
    rows, places = np.nonzero(found.factors["source_position"] >= 0)
    sources = found.factors["source_position"][rows, places]
    np.testing.assert_array_equal(found.tokens[rows, sources], found.targets[rows, places])
    np.testing.assert_array_equal(found.factors["source_token"][rows, places],
                                  found.targets[rows, places])  # fmt: skip
    drawn = task.draw(5, 1, 1, 200)
    joined = np.concatenate([drawn.tokens[0], drawn.targets[0]], axis=-1).tolist()
    batch = found.batch(task)
    table = np.concatenate([batch.tokens, batch.targets], axis=-1).tolist()
    assert len(table) == task.table_size == len(set(map(tuple, table)))
    assert set(map(tuple, joined)) <= set(map(tuple, table))
    if found.train is not None:
        train = {tuple(row) for row, own in zip(table, found.train, strict=True) if own}
        assert set(map(tuple, joined)) <= train


def test_the_size_of_a_table_of_recall():
    # 4 · 3 keys in order, 3 · 3 values, 2 orders of the queries.
    task = Recall(RecallConfig(n_pairs=2, n_queries=2, n_keys=4, n_values=3))
    assert task.table_size == len(probe(task).tokens) == 12 * 9 * 2


def test_where_a_recalled_value_was_shown():
    task = Recall(RecallConfig(n_pairs=3, n_queries=2, n_keys=10, n_values=10))
    found = labels(task, ["k9 v8 k4 v6 k2 v7 k4 v6 k2"], ["v6 v7"])
    assert found["source_position"] == [[-1] * 6 + [3, -1, 5]]
    assert found["source_token"] == [[-1] * 6 + [16, -1, 17]]


def test_labels_of_a_text_worked_by_hand(tmp_path):
    task = small_text(tmp_path, seq_len=8)
    found = labels(task, ["abracada"], ["bracadab"])
    a, b, r, c, d = (int(task.tokens(each)[0]) for each in "abrcd")
    assert found["previous_token"] == [[-1, a, b, r, a, c, a, d]]
    assert found["tokens_before"] == [[0, 1, 2, 3, 4, 5, 6, 7]]
    # Only the last bigram, a and b, is the same as another, the first.
    assert found["bigram_seen"] == [[0, 0, 0, 0, 0, 0, 0, 1]]


def test_all_windows_of_a_short_text(tmp_path):
    task = small_text(tmp_path, seq_len=9)
    found = probe(task)
    assert found.whole
    assert len(found.tokens) == task.table_size == (468 - 9) + (52 - 9)  # 90% and 10% of 520
    assert found.train.tolist() == [True] * 459 + [False] * 43
    assert task.text(found.tokens[0]) == "abracadab"
    assert task.text(found.targets[0]) == "bracadabr"
    for row in range(0, len(found.tokens), 50):
        text = task.text(found.tokens[row]) + task.text(found.targets[row, -1:])
        pairs = [text[place : place + 2] for place in range(9)]
        seen = [int(pair in pairs[:place]) for place, pair in enumerate(pairs)]
        assert found.factors["bigram_seen"][row].tolist() == seen
    sample = probe(task, samples=100, split="held_out")
    assert sample.whole
    assert len(sample.tokens) == 43
    assert len(probe(task, samples=100).tokens) == 100


def test_a_long_text_has_fewer_windows_in_a_probe():
    task = Text(TextConfig(corpus="python-stdlib", seq_len=1024))
    found = probe(task)
    assert found.tokens.shape == (2**20 // 1024, 1024)
    assert 0.05 < 1 - found.train.mean() < 0.15
    assert not found.whole


def test_a_users_task_has_tokens_as_factors():
    task = Parity(ParityConfig())
    found = probe(task, samples=30)
    assert set(found.factors) == {"first", "token_0", "token_1", "token_2", "token_3"}
    for place in range(4):
        np.testing.assert_array_equal(found.factors[f"token_{place}"], found.tokens[:, place])
    assert found.train is None  # nothing is known about a split
    assert not found.whole
    assert len(found.tokens) == 8  # drawn several times each
    assert found.weights.sum() == pytest.approx(1)
    np.testing.assert_array_equal(found.targets[:, 3], found.tokens[:, :3].sum(-1) % 2)
    for split in ("train", "held_out"):
        assert len(probe(task, samples=30, split=split).tokens) == 8


def test_a_task_that_draws_other_samples_inherits_no_table():
    task = Even(EvenConfig(n_digits=1))
    found = probe(task, samples=50, split="train")
    assert (found.tokens[:, [0, 2]] < 5).all()
    assert set(found.factors) == {f"token_{place}" for place in range(4)}


def test_what_cannot_be_asked_for():
    task = Addition(AdditionConfig(n_digits=2))
    with pytest.raises(ValueError, match="addition holds no samples out"):
        probe(task, split="held_out")
    with pytest.raises(ValueError, match="samples 0 is not positive"):
        probe(task, samples=0)
