"""Comparisons of runs with an outcome with the others of their cell."""

import numpy as np
import pytest

from ablab.read.verdicts import verdicts
from tests.read.filled import fill, grid

IF = "final(lr_scale) is lower if final(loss) is below 1 than otherwise"


def judged(path, texts, learnt, value, seeds=8, heads=(1, 4)):
    """The verdicts on runs that end at a loss of 0.01 if ``learnt(heads, seed)``, else at 2."""

    def curve(keys, seed, steps):
        own = keys["model.n_heads"]
        loss = np.full(len(steps), 0.01 if learnt(own, seed) else 2.0)
        return {"train_loss": loss, "lr_scale": np.full(len(steps), float(value(own, seed)))}

    asked = grid(steps=40, seeds=seeds, grid={"model.n_heads": list(heads)}, expect=texts)
    return verdicts(*fill(path / "lab", asked, curve))


def by_seed(heads, seed):
    return seed % 2 == 0


def falling(heads, seed):
    """Lower with the outcome, and higher with four heads by more than that."""
    return 100 * heads + seed / 10 + (0 if by_seed(heads, seed) else 5)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (IF, "held"),
        (IF.replace("lower", "higher"), "failed"),
        (IF.replace("below 1", "above 1"), "failed"),
        (IF + " by 3", "held"),
        (IF + " by 9", "failed"),
        (IF + " where model.n_heads=4", "held"),
    ],
)
def test_runs_are_compared_within_their_cell(tmp_path, text, outcome):
    (found,) = judged(tmp_path, [text], by_seed, falling)
    assert found.outcome == outcome, found.evidence
    assert found.p == pytest.approx(2 / 70, abs=0.004)  # of the 8 choose 4 = 70 choices of seeds


def test_the_evidence_has_counts_and_medians(tmp_path):
    (found,) = judged(tmp_path, [IF + " where model.n_heads=1"], by_seed, falling)
    assert found.evidence.startswith(
        "final(loss) is below 1 in 4 of 8 runs; median 100.3 in these vs 105.4; ranks, 8 seeds"
    )
    assert found.value is None and found.interval is None


def test_in_several_cells_the_differences_within_them_are_told(tmp_path):
    """With four heads, twice as many runs have the outcome, so pooled medians are of one cell each.

    By hand: with one head 100.0 (seed 0) less the median of 105.1, 105.2 and 105.3 with the others;
    with four heads the median of 400.0 and 400.2, less that of 405.1 and 405.3.
    """

    def more_of_four(heads, seed):
        return seed == 0 or (heads == 4 and seed % 2 == 0)

    def value(heads, seed):
        return 100 * heads + seed / 10 + (0 if more_of_four(heads, seed) else 5)

    (found,) = judged(tmp_path, [IF], more_of_four, value, seeds=4)
    assert found.evidence.startswith(
        "final(loss) is below 1 in 3 of 8 runs; median of the differences within 2 cells -5.15; "
        "ranks within 2 cells, 4 seeds exchanged: p = "
    )


def test_a_cell_in_which_all_runs_are_alike_decides_nothing(tmp_path):
    # All runs with four heads have the outcome, and higher values than any with one.
    (found,) = judged(tmp_path, [IF], lambda heads, seed: heads == 4, falling)
    assert found.outcome == "undecided" and found.p == 1


def test_what_so_few_seeds_cannot_show_is_said(tmp_path):
    (found,) = judged(tmp_path, [IF], by_seed, falling, seeds=5)
    assert found.outcome == "undecided"
    assert "p = 0.2, and no less is possible than 0.2" in found.evidence


def test_an_outcome_of_all_runs_or_of_none_compares_nothing(tmp_path):
    texts = [IF, IF.replace("below", "above")]
    every, none = judged(tmp_path, texts, lambda heads, seed: True, falling)
    assert every.outcome == none.outcome == "undecided"
    assert "below 1 in all of 16 runs, so there is nothing to compare" in every.evidence
    assert "above 1 in none of 16 runs" in none.evidence


def test_runs_of_seeds_that_lack_a_run_are_not_counted(tmp_path):
    def value(heads, seed):
        return np.nan if (heads, seed) == (4, 0) else falling(heads, seed)

    (found,) = judged(tmp_path, [IF], by_seed, value)
    assert found.evidence.startswith("final(loss) is below 1 in 6 of 14 runs; ")
    assert "7 seeds exchanged" in found.evidence and "1 left out that lack a run" in found.evidence


def test_without_a_whole_seed_nothing_is_tested(tmp_path):
    def value(heads, seed):
        return np.nan if (heads == 1) == (seed < 4) else falling(heads, seed)

    (found,) = judged(tmp_path, [IF], by_seed, value)
    assert (found.state, found.p) == ("not tested", None)
    assert found.evidence.startswith("no seed has a value and a known outcome in each of 2 cells; ")


def test_an_axis_may_be_called_outcome(tmp_path):
    def curve(keys, seed, steps):
        late = 0 if by_seed(1, seed) else 5
        loss = np.full(len(steps), 0.01 if by_seed(1, seed) else 2.0)
        return {"train_loss": loss, "lr_scale": np.full(len(steps), seed / 10 + late)}

    bundles = {"outcome": {"a": {"model.d_model": 16}, "b": {"model.d_model": 32}}}
    asked = grid(steps=40, seeds=8, grid=bundles, expect=[IF])
    (found,) = verdicts(*fill(tmp_path / "lab", asked, curve))
    assert found.outcome == "held", found.evidence


def test_a_step_can_be_the_condition_and_not_what_is_compared(tmp_path):
    reached = "steps_to(loss, 1) is reached"
    texts = [
        f"final(lr_scale) is lower if {reached} than otherwise",
        "steps_to(loss, 1) is lower if final(lr_scale) is below 3 than otherwise",
    ]
    found, steps = judged(tmp_path, texts, by_seed, falling)
    assert found.outcome == "held" and found.evidence.startswith(f"{reached} in 8 of 16 runs")
    assert steps.outcome == "undecided"
    assert steps.evidence == "8 of 16 runs did not reach the step that is compared"
