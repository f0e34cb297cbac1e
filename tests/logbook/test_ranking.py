"""What is said of the best variant, where runs were lost or tests and medians disagree."""

import re

import numpy as np
import pytest

from ablab.logbook.answer_figure import answer_figure
from ablab.logbook.conclusions import find
from ablab.logbook.variant_values import variant_values
from ablab.store.metrics import experiment_runs
from tests.read.filled import fill, grid, leaving

LEVELS = {8: 0.5, 16: 0.6, 32: 0.7}


def found_for(path, key, values, seeds, curve, answer="final(loss)", steps=60):
    asked = grid(steps=steps, seeds=seeds, answer=answer, grid={key: values})
    store, record = fill(path / "lab", asked, curve)
    return find(store, record, experiment_runs(store, record)), record


def diverging(width, kept=1):
    """A final loss of 0.5, 0.6 or 0.7 by width; at one width, all but a few seeds diverge."""

    def curve(keys, seed, steps):
        at = keys["model.d_model"]
        if at == width and seed >= kept:
            return None
        return LEVELS[at] + 0.003 * np.random.default_rng([seed, at]).standard_normal() + 0 * steps

    return curve


def test_a_variant_that_diverges_is_not_the_lowest(tmp_path):
    found, record = found_for(tmp_path, "model.d_model", [8, 16, 32], 6, diverging(8))
    said = found.answer.sentences[0]
    assert not found.answer.ranking.is_decided
    assert found.answer.ranking.best.name == "d_model 16"
    assert "lowest with d_model 8, but only 1 of its 6 runs has a value. 5 runs of 18" in said
    assert "decided which is lowest: the median is" in said
    assert "is decided" not in said
    measured = variant_values(record, "final(loss)", found.answer.values)
    assert measured.best().name == "d_model 16"
    assert "differs from all" not in answer_figure(measured, concluded=False).caption


def test_a_count_of_diverged_runs_does_not_show_that_a_level_is_lower(tmp_path):
    """At width 32, 5 of 6 runs diverge; its only value cannot be tested."""
    found, _ = found_for(tmp_path, "model.d_model", [8, 16, 32], 6, diverging(32))
    said = found.answer.sentences[0]
    assert [each.value for each in found.answer.ranking.undecided] == ["d_model 32"]
    assert "2 of 3 variants are not told apart: d_model 8 and d_model 32; " in said
    assert "the difference of d_model 32 from the first is not tested (one run)." in said
    assert "p = 1" not in said


def test_levels_decide_where_a_few_runs_of_the_worst_diverged(tmp_path):
    found, _ = found_for(tmp_path, "model.d_model", [8, 16, 32], 6, diverging(32, kept=5))
    said = found.answer.sentences[0]
    assert found.answer.ranking.is_decided
    assert said.startswith("Final training loss: lowest with d_model 8, ")
    assert said.endswith("1 run of 18 without a value.")


def test_the_ranking_and_the_table_use_one_p_value(tmp_path):
    """One of three runs diverged, so that counts are tested, too; levels alone have p = 0.035."""
    values = {8: [0.647, 0.71, None], 16: [0.201, 0.227, 0.195]}

    def curve(keys, seed, steps):
        value = values[keys["model.d_model"]][seed]
        return None if value is None else value + 0 * steps

    found, _ = found_for(tmp_path, "model.d_model", [8, 16], 3, curve)
    (table,) = found.effects[0].factorial
    assert table.verdict == "undecided"
    assert table.p_level == pytest.approx(table.p)
    assert found.answer.state == "open"
    assert not found.answer.ranking.is_decided
    (only,) = found.answer.sentences
    assert "is decided" not in only
    assert "Not decided which is lower: the difference of d_model 8 from d_model 16" in only
    assert "with p = 0.071 after correction for the test of how many runs have a value" in only


def test_a_median_and_a_mean_that_disagree_decide_nothing(tmp_path):
    """With 1 head, 11 of 20 values are near 1 and 9 from 1.3 to 1.9; with 4 heads, all are 1.02."""

    def curve(keys, seed, steps):
        one = 1 + 0.001 * seed if seed < 11 else 1.3 + 0.075 * (seed - 11)
        four = 1.02 + 0.0001 * (seed % 5)
        return (one if keys["model.n_heads"] == 1 else four) + 0 * steps

    found, _ = found_for(tmp_path, "model.n_heads", [1, 4], 20, curve)
    said = found.answer.sentences[0]
    assert not found.answer.ranking.is_decided
    assert re.search(
        r"Not decided which is lower: the median is lower with 1 head, but the difference of "
        r"4 heads from 1 head averages -0\.2\d+ \[-0\.\d+, -0\.\d+\] over seeds\.$",
        said,
    )
    assert found.answer.sentences[1].startswith("1 head vs 4 heads: final training loss is higher")


def test_the_number_of_runs_stands_beside_values_that_have_fewer(tmp_path):
    found, _ = found_for(tmp_path, "model.d_model", [8, 16], 6, diverging(16))
    said = found.answer.sentences[0]
    assert re.search(r"with d_model 8 \(6 seeds\); \S+ with d_model 16 \(one run\); medians", said)
    assert "median and range of 6 seeds" not in said


def late(keys, seed, steps):
    """Leaves log 10 at step 200 to 230; with four heads, every second seed never does."""
    never = keys["model.n_heads"] == 4 and seed % 2
    return leaving(np.random.default_rng(seed), steps, 10**6 if never else 200 + 10 * seed)


def in_groups(keys, seed, steps):
    """A third of the runs stays near log 10, the loss of guessing, whatever the setting."""
    stays = (seed + keys["model.n_heads"]) % 3 == 0
    return (2.29 if stays else 0.1 + 0.001 * seed) + 0 * steps


@pytest.mark.parametrize(
    ("curve", "answer", "seeds", "counts", "order"),
    [
        (late, "leaves(log(10))", 4, "reached by 6 of 8 runs: ", "earlier"),
        (in_groups, "final(loss)", 6, "8 of 12 runs learnt (below 2.15): ", "lower"),
    ],
)
def test_two_variants_with_counts_say_that_nothing_is_decided(
    tmp_path, curve, answer, seeds, counts, order
):
    found, _ = found_for(tmp_path, "model.n_heads", [1, 4], seeds, curve, answer, steps=400)
    first, second = found.answer.sentences
    assert found.answer.state == "open"
    assert counts in first
    assert second.startswith(
        f"Not decided which is {order}: the ranks of all runs of 4 heads and 1 head show neither (p"
    )


def test_a_variant_with_far_fewer_steps_is_in_no_count(tmp_path):
    bundles = {"x": {}, "y": {"model.n_heads": 1}, "z": {"model.d_model": 8, "train.steps": 8}}

    def curve(keys, seed, steps):
        return (2.3 if seed == 0 or len(steps) == 8 else 0.1 + 0.001 * seed) + 0 * steps

    found, _ = found_for(tmp_path, "variant", bundles, 5, curve)
    assert found.answer.sentences[0] == (
        "Final training loss: 8 of 10 runs learnt (below 2.15): 4 of 5 with x; 4 of 5 with y. "
        "Not compared, since trained for far fewer steps: z (8 steps)."
    )


def test_a_best_variant_that_no_setting_alone_explains_is_an_answer(tmp_path):
    """Width and heads interact: neither has an effect on average, and one variant is lowest."""
    axes = {"model.d_model": [8, 16], "model.n_heads": [1, 4]}
    levels = {(8, 1): (1.0, 0.02), (8, 4): (1.5, 0.2), (16, 1): (1.5, 0.2), (16, 4): (1.1, 0.02)}

    def curve(keys, seed, steps):
        cell = keys["model.d_model"], keys["model.n_heads"]
        level, noise = levels[cell]
        return level + noise * np.random.default_rng([seed, *cell]).uniform(-1, 1) + 0 * steps

    store, record = fill(
        tmp_path / "lab", grid(steps=20, seeds=5, answer="final(loss)", grid=axes), curve
    )
    found = find(store, record, experiment_runs(store, record)).answer
    assert all(each.verdict == "undecided" for each in found.effects.factorial)
    assert found.state == "answered"
    (only,) = found.sentences
    assert "lowest with d_model 8, 1 head, 1 [" in only
    assert "the difference from each of the 3 others is decided" in only
