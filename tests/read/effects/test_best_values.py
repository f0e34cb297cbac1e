"""The best rate of each optimizer, where the two have different ones."""

import itertools

import numpy as np
import polars as pl
import pytest

from ablab.read.effects import best_values_sentence, effects

RATES = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1]
BEST = {"adamw": 2, "sgd": 6}


def frame(best, seeds=4, kinds=("a",)):
    """Losses that are a parabola about the best place, and a small noise."""
    noise = np.random.default_rng(0)
    rows = [
        {
            "train.lr": rate,
            "train.optimizer": optimizer,
            "kind": kind,
            "seed": seed,
            "value": 1 + 0.1 * (place - best[optimizer]) ** 2 + 0.01 * noise.normal(),
        }
        for (place, rate), optimizer, kind, seed in itertools.product(
            enumerate(RATES), best, kinds, range(seeds)
        )
    ]
    return pl.DataFrame(rows)


def found(frame, keys=("train.lr", "train.optimizer"), **options):
    return effects(frame, list(keys), better="lower", scale="difference", **options)


def test_each_optimizer_has_its_own_best_rate():
    data = frame(BEST)
    (best,) = found(data).best_values
    assert (best.key, best.other, best.cells) == ("train.lr", "train.optimizer", 1)
    assert {each.at: each.best for each in best.bests} == {"adamw": (1e-3,), "sgd": (1e-1,)}
    assert [each.at_end for each in best.bests] == [False, True]
    there = data.filter((pl.col("train.lr") == 1e-3) & (pl.col("train.optimizer") == "adamw"))
    assert best.bests[0].values == pytest.approx(there["value"].to_list())
    said = best_values_sentence(best, "the loss")
    assert said.startswith("the loss is lowest at train.lr=0.001 with train.optimizer=adamw: ")
    assert "; at train.lr=0.1, an end, with train.optimizer=sgd: " in said
    assert said.endswith("Each best value was chosen on these seeds, which flatters it.")


def test_without_an_interaction_there_is_one_best_rate():
    assert found(frame({"adamw": 2, "sgd": 2})).best_values == ()


def test_further_settings_are_averaged_over():
    data = frame(BEST, kinds=("a", "b"))
    (best,) = found(data, ("train.lr", "train.optimizer", "kind")).best_values
    assert best.cells == 2
    assert "averaged over 2 cells of the other settings" in best_values_sentence(best, "x")
    there = data.filter((pl.col("train.lr") == 1e-1) & (pl.col("train.optimizer") == "sgd"))
    means = there.group_by("seed").agg(pl.col("value").mean()).sort("seed")["value"].to_list()
    assert best.bests[1].values == pytest.approx(means)


def test_a_rate_whose_runs_diverged_is_not_the_best():
    data = frame(BEST).with_columns(
        value=pl.when(
            (pl.col("train.lr") == 1e-3)
            & (pl.col("train.optimizer") == "adamw")
            & (pl.col("seed") == 0)
        )
        .then(None)
        .otherwise(pl.col("value"))
    )
    (best,) = found(data).best_values
    assert best.bests[0].best in ((3e-4,), (3e-3,))
