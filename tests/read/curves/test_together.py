import numpy as np
import pytest

from ablab.read.curves.pair_sentences import group_pair_sentence, pair_sentence
from ablab.read.curves.together import from_data, read_together
from tests.read.curves.together import KINDS, pair
from tests.read.curves.together_score import judge

TOGETHER = ("alike", "before_the_first", "in_part")


def read(one):
    return read_together((one.steps, one.training), (one.held_steps, one.held_out), one.columns)


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_say_what_was_put_into_them(kind):
    for seed in range(3):
        one = pair(np.random.default_rng(seed), kind, 0.01)
        found = read(one)
        for what, (there, seen, right) in judge(one, found).items():
            assert there == seen, (what, one.truth, found)
            assert right or not there, (what, one.truth, found)
        assert from_data(found.as_data()) == found
        assert found.anything == (kind not in TOGETHER)


def test_pairs_are_sentences():
    texts = {
        kind: pair_sentence(read(pair(np.random.default_rng(1), kind, 0.01))) for kind in KINDS
    }
    assert texts["alike"] == ""
    assert texts["overfit"].startswith("overfits from ")
    assert texts["double_descent"].startswith("double descent: eval_loss falls to ")
    assert texts["never"].startswith("memorises: train_loss falls at ")
    assert "eval_accuracy only at" in texts["grokking_accuracies"]
    seeds = [read(pair(np.random.default_rng(seed), "grokking", 0.01)) for seed in range(3)]
    assert group_pair_sentence(seeds).startswith("eval_loss generalises at ")
    assert group_pair_sentence([]) == ""


def test_curves_of_a_few_values_say_nothing():
    assert not read_together(([1, 2], [3.0, 2.0]), ([1, 2], [3.0, 3.1])).anything
