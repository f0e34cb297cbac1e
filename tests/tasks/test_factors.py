"""Labels of samples, compared with examples that were worked by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig
from ablab.tasks.base import Batch, Task
from ablab.tasks.config import IGNORED
from ablab.tasks.factors import check_factors, octave_of, octaves, sample_labels
from ablab.tasks.modular import Modular
from ablab.tasks.modular_config import ModularConfig
from ablab.tasks.recall import Recall
from ablab.tasks.recall_config import RecallConfig
from ablab.tasks.sequences import Copy
from ablab.tasks.sequences_config import CopyConfig
from ablab.tasks.text import Text
from ablab.tasks.text_config import TextConfig


def batch_of(task: Task, tokens: list[str], targets: list[str]) -> Batch:
    return Batch(
        np.stack([task.tokens(text) for text in tokens]),
        np.stack([task.tokens(text) for text in targets]),
    )


def labels_of(task: Task, batch: Batch) -> dict[str, list[Any]]:
    return {name: labels.tolist() for name, labels in task.factors(batch).items()}


def test_carries_into_each_digit_of_a_sum() -> None:
    task = Addition(AdditionConfig(n_digits=3, target="all"))
    # 6+7 carries, and 5+4 and 4+5 pass it on. 250+250 carries once, at its tens. In 655+655 each
    # place carries by itself.
    batch = batch_of(
        task,
        ["456+547=100", "123+456=057", "250+250=050", "199+101=030", "655+655=131"],
        ["1003", "0579", "0500", "0300", "1310"],
    )
    no, yes, out = 0, 1, -1
    assert labels_of(task, batch) == {
        # The answer is predicted from its first digit, the thousands, to the ones.
        "carry_into_1": [
            [out, out, yes, out],
            [out, out, no, out],
            [out, out, no, out],
            [out, out, yes, out],
            [out, out, yes, out],
        ],
        "carry_into_2": [
            [out, yes, out, out],
            [out, no, out, out],
            [out, yes, out, out],
            [out, yes, out, out],
            [out, yes, out, out],
        ],
        "carry_into_3": [
            [yes, out, out, out],
            [no, out, out, out],
            [no, out, out, out],
            [no, out, out, out],
            [yes, out, out, out],
        ],
        "cascade": [
            [3, 2, 1, out],
            [0, 0, 0, out],
            [0, 1, 0, out],
            [0, 2, 1, out],
            [1, 1, 1, out],
        ],
    }
    assert task.config.factors == {
        "carry_into_1": ("no", "yes"),
        "carry_into_2": ("no", "yes"),
        "carry_into_3": ("no", "yes"),
        "cascade": ("0", "1", "2", "3"),
    }


def test_a_single_digit_has_the_carry_into_it() -> None:
    task = Addition(AdditionConfig(n_digits=5, target=4))
    batch = batch_of(task, ["09999+00001=", "05000+05000=", "12345+54321="], ["1", "1", "6"])
    assert labels_of(task, batch) == {
        "carry_into_4": [[1], [1], [0]],
        "cascade": [[3], [1], [0]],  # 4 places, in the class "3 or more"
    }
    assert task.config.factors["cascade"] == ("0", "1", "2", "3_or_more")
    assert AdditionConfig(n_digits=3, target="last").factors == {}
    assert AdditionConfig(n_digits=3, target=1).factors == {"carry_into_1": ("no", "yes")}


def test_carries_in_the_other_order_and_another_base() -> None:
    config = AdditionConfig(n_digits=2, base=16, order="least_significant_first", target="all")
    task = Addition(config)
    batch = batch_of(task, ["f1+1e=00"], ["001"])  # 0x1f + 0xe1 = 0x100
    assert labels_of(task, batch) == {
        "carry_into_1": [[-1, 1, -1]],
        "carry_into_2": [[-1, -1, 1]],
        "cascade": [[-1, 1, 2]],
    }


def test_places_and_the_end_of_a_sequence() -> None:
    task = Copy(CopyConfig(n_symbols=10, length=5, min_length=3))
    tokens = np.stack([task.tokens("97635>97635"), task.tokens("976__>976._")])
    ends = [*task.tokens("976."), IGNORED, IGNORED]
    batch = Batch(tokens, np.stack([task.tokens("97635."), np.array(ends)]))
    assert labels_of(task, batch) == {
        "position": [[0, 1, 2, 3, 4, -1], [0, 1, 2, -1, -1, -1]],
        "end": [[0, 0, 0, 0, 0, 1], [0, 0, 0, 1, -1, -1]],
    }
    assert task.config.factors == {"position": ("1", "2", "3", "4", "5"), "end": ("no", "yes")}


def test_thirds_of_a_long_sequence() -> None:
    task = Copy(CopyConfig(n_symbols=10, length=10))
    batch = batch_of(task, ["0123456789>012345678"], ["0123456789"])
    assert labels_of(task, batch) == {"position": [[0, 0, 0, 0, 1, 1, 1, 2, 2, 2]]}
    assert task.config.factors == {"position": ("first", "middle", "last")}


@pytest.mark.parametrize(
    ("operation", "labels"),
    [("a+b", [0, 1, 1, 0]), ("b + a", [0, 1, 1, 0]), ("a-b", [1, 1, 0, 0]), ("b-a", [0, 0, 0, 1])],
)
def test_sums_and_differences_that_wrap(operation: str, labels: list[int]) -> None:
    task = Modular(ModularConfig(operation=operation, p=11))
    batch = batch_of(
        task, ["2 3 =", "5 6 =", "10 10 =", "4 1 ="], ["0"] * 4
    )  # answers do not matter
    assert labels_of(task, batch) == {"wraps": labels}


def test_a_product_has_no_factors() -> None:
    task = Modular(ModularConfig(operation="a*b", p=11))
    assert task.config.factors == {}
    assert labels_of(task, batch_of(task, ["2 3 ="], ["6"])) == {}


def test_the_distance_to_the_queried_pair() -> None:
    task = Recall(RecallConfig(n_pairs=3, n_queries=2, n_keys=10, n_values=10))
    # k4 is 2 pairs back and k2 is 2 pairs back; in the second sample k9 is 3 back, then k2 is 2.
    batch = batch_of(
        task,
        ["k9 v8 k4 v6 k2 v7 k4 v6 k2", "k9 v8 k4 v6 k2 v7 k9 v8 k9", "k9 v8 k4 v6 k2 v7 k2 v7 k4"],
        ["v6 v7", "v8 v8", "v7 v6"],
    )
    assert task.config.factors == {"distance": ("1", "2-3", "4")}
    assert labels_of(task, batch) == {"distance": [[1, 1], [1, 2], [0, 1]]}


def test_words_and_places_in_a_text(tmp_path: Path) -> None:
    corpus = tmp_path / "text.txt"
    corpus.write_text("ab cd, e_2\n" * 20, encoding="utf-8")
    task = Text(TextConfig(corpus=str(corpus), seq_len=10))
    batch = batch_of(task, ["ab cd, e_2", "\nab cd, e_"], ["b cd, e_2\n", "ab cd, e_2"])
    start, inside, outside = 0, 1, 2
    assert labels_of(task, batch) == {
        "position": [[0, 1, 2, 2, 3, 3, 3, 3, 4, 4]] * 2,
        "word": [
            # b, space, c, d, comma, space, e, _, 2, newline
            [inside, outside, start, inside, outside, outside, start, inside, inside, outside],
            # a, b, space, c, d, comma, space, e, _, 2
            [start, inside, outside, start, inside, outside, outside, start, inside, inside],
        ],
    }
    assert task.config.factors == {
        "position": ("0", "1", "2-3", "4-7", "8-9"),
        "word": ("start", "inside", "outside"),
    }


def test_octaves() -> None:
    assert octaves(63) == ("0", "1", "2-3", "4-7", "8-15", "16-31", "32-63")
    assert octaves(4, first=1) == ("1", "2-3", "4")
    assert octave_of(np.array([0, 1, 2, 3, 4, 7, 8])).tolist() == [0, 1, 2, 2, 3, 3, 4]


def test_labels_of_samples_from_those_of_positions() -> None:
    assert sample_labels(np.array([1, 0])).tolist() == [1, 0]
    # The second sample has two different labels, the third none.
    per_position = np.array([[-1, 1, -1], [0, 1, -1], [-1, -1, -1], [2, -1, 2]])
    assert sample_labels(per_position).tolist() == [1, -1, -1, 2]


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"": ("a", "b")}, "factor '' is not a valid name"),
        ({"my factor": ("a", "b")}, "factor 'my factor' is not a valid name"),
        ({"a.b": ("a", "b")}, "factor 'a.b' is not a valid name"),
        ({"kind": ("a", "3+")}, "value '3+' of factor kind is not a valid name"),
        ({"kind": ("a", "a")}, "factor kind has the value a twice"),
        ({"kind": ()}, "factor kind has no values"),
        ({"kind": tuple(map(str, range(65)))}, "factor kind has 65 values; at most 64"),
    ],
)
def test_names_of_factors_are_checked(factors: Any, message: str) -> None:
    with pytest.raises(ValueError, match="^" + message.replace("+", r"\+")):
        check_factors(factors)


def test_names_fit_the_grammar_of_measures() -> None:
    from ablab.experiments.measures import parse_measure

    for column in ("eval_loss/position.2-3", "eval_accuracy/cascade.3_or_more"):
        assert parse_measure(f"steps_to({column}, 0.5)").column == column
        assert parse_measure(column).column == column
