"""Verdicts where runs learn or do not: counts come first, and ranks decide instead of means."""

import numpy as np
import pytest

from ablab.read.verdicts import verdicts
from tests.read.filled import fill, grid

HEADS = {"model.n_heads": [1, 4]}
LOWER = "final(loss) is lower where model.n_heads=1 than where model.n_heads=4"
SAME = "final(loss) is the same where model.n_heads=1 as where model.n_heads=4 within 0.5"


def judged(path, texts, learnt, seeds=5, axis=HEADS):
    """The verdicts on runs that end at 0.01 if ``learnt(value, seed)``, else at 2."""

    def curve(keys, seed, steps):
        (value,) = keys.values()
        rng = np.random.default_rng([seed, value])
        level = 0.01 if learnt(value, seed) else 2.0
        return np.full(len(steps), level * np.exp(0.05 * rng.standard_normal()))

    return verdicts(
        *fill(path / "lab", grid(steps=40, seeds=seeds, grid=axis, expect=texts), curve)
    )


def test_the_counts_come_first_and_there_is_no_mean(tmp_path):
    (found,) = judged(tmp_path, [LOWER], lambda heads, seed: seed < (4 if heads == 1 else 1))
    assert found.outcome == "undecided"
    assert found.evidence.startswith("4 of 5 vs 1 of 5 runs learnt (below 0.")
    assert "those that learnt: median 0.0" in found.evidence
    assert "±" not in found.evidence
    assert found.value is None


def test_a_measure_in_between_does_not_say_who_learnt(tmp_path):
    """Runs that are still at the higher level then may learn later."""
    text = LOWER.replace("final(loss)", "mean(loss, 5, 10)")
    (found,) = judged(tmp_path, [text], lambda heads, seed: seed < (4 if heads == 1 else 1))
    assert found.evidence.startswith("4 of 5 vs 1 of 5 runs are in the lower group (below 0.")
    assert "; the lower group: median 0.0" in found.evidence
    assert "learnt" not in found.evidence


@pytest.mark.parametrize(
    ("text", "outcome"),
    [(LOWER, "held"), (LOWER + " by 1", "held"), (LOWER + " by 3", "failed"),
     (LOWER.replace("lower", "higher"), "failed"), (SAME, "failed")],
)  # fmt: skip
def test_ranks_decide_where_many_more_learn(tmp_path, text, outcome):
    (found,) = judged(tmp_path, [text], lambda heads, seed: heads == 1 or seed == 0, seeds=8)
    assert found.outcome == outcome, found.evidence


def test_runs_of_which_some_do_not_learn_are_not_the_same(tmp_path):
    (found,) = judged(tmp_path, [SAME], lambda heads, seed: seed != heads, seeds=12)
    assert found.outcome == found.state == "undecided"
    assert found.p > 0.05 and f"p = {found.p:.2g}" in found.evidence
    assert found.evidence.startswith("11 of 12 vs 11 of 12 runs learnt")


def test_an_order_and_a_range(tmp_path):
    texts = [
        "final(loss) falls with model.d_model",
        "final(loss) rises with model.d_model",
        "final(loss) is below 1 where model.d_model=64",
        "final(loss) is below 1 where model.d_model=16",
    ]
    falls, rises, few, most = judged(
        tmp_path, texts, lambda width, seed: seed < {16: 1, 32: 4, 64: 7}[width], seeds=8,
        axis={"model.d_model": [16, 32, 64]},
    )  # fmt: skip
    assert (falls.outcome, rises.outcome) == ("held", "failed")
    assert falls.evidence.startswith("1 of 8 vs 4 of 8 vs 7 of 8 runs learnt")
    assert (few.outcome, most.outcome) == ("held", "failed")
    assert few.evidence.startswith("7 of 8 runs learnt")


def test_one_group_is_compared_by_its_mean(tmp_path):
    (found,) = judged(tmp_path, [SAME], lambda heads, seed: True)
    assert found.outcome == "held"
    assert found.evidence.endswith(
        "for runs like these: after 5 of 5, up to 52% of runs may be of another kind"
    )
