import numpy as np
import polars as pl

from ablab.logbook.effect_words import interaction_in_words
from ablab.read.effects import (
    comparison_sentence,
    contrast_sentence,
    differences,
    effects,
    gather,
    interaction_sentence,
    interactions,
    scaling,
    scaling_sentence,
    verdict_words,
)
from tests.read.effects.made import grid

LUCK = [0.0, 5.0, -3.0, 8.0]


def said(of_two, seeds=4, margin=None, scale="difference"):
    def value(a, seed):
        return of_two[seed] if a == 2 else (1.0 if scale == "ratio" else 0.0)

    results = gather(grid({"a": [1, 2]}, seeds, value), ["a"], scale=scale)
    (found,) = differences(results, margin=margin)
    return comparison_sentence(found, "final(loss)"), verdict_words(found)


def test_what_differs_is_said_with_direction_interval_and_p():
    assert said([1.1, 1.2, 1.15, 1.3]) == (
        "a=2 vs 1: final(loss) is higher by 1.19 [1.05, 1.32] (adjusted p < 0.001, 4 seeds).",
        "higher",
    )
    assert said([-1.1, -1.2, -1.15, -1.3])[0] == (
        "a=2 vs 1: final(loss) is lower by 1.19 [1.05, 1.32] (adjusted p < 0.001, 4 seeds)."
    )
    assert said([2.0, 2.2, 1.8, 2.0], scale="ratio")[0] == (
        "a=2 vs 1: final(loss) is 1.99 [1.75, 2.27] times as large (adjusted p < 0.001, 4 seeds)."
    )


def test_a_wide_interval_is_never_called_no_difference():
    text, words = said([1.0, -2.0, 3.0, -0.5])
    assert text == (
        "a=2 vs 1: undecided, final(loss) is higher by 0.375 [-3.02, 3.77] (adjusted p 0.75, "
        "4 seeds); about 257 seeds would show a difference of this size; the 90% interval bounds "
        "the difference at 2.89 (not a test)."
    )
    assert words == "undecided, about 257 seeds would show this"


def test_equivalence_names_its_margin_and_test():
    text, words = said([0.01, -0.02, 0.015, 0.0], margin=0.05)
    assert text == (
        "a=2 vs 1: no difference in final(loss) larger than 0.05 among runs like those seen "
        "(equivalence test, adjusted p 0.004, 4 seeds); it is higher by 0.00125 [-0.0234, 0.0259]; "
        "up to 60% of runs may be of another kind."
    )
    assert words == "no difference larger than 0.05 among runs like those seen"
    text, words = said([0.010, 0.011, 0.009, 0.010], margin=0.05)
    assert words == "higher, by less than 0.05"
    assert "smaller than 0.05 (equivalence test)" in text
    assert said([1.0, 1.01, 0.99, 1.0], margin=1.1, scale="ratio")[1] == (
        "no difference larger than a factor of 1.1 among runs like those seen"
    )


def test_one_seed_all_alike_and_none_are_said_as_what_they_are():
    text, words = said([0.5], 1)
    assert "undecided, final(loss) is higher by 0.5, but there is only one seed" in text
    assert words == "undecided: needs at least 2 seeds"
    text, _ = said([0.0] * 4)
    assert "the same for every seed (sign test, adjusted p 1, 4 seeds); undecided" in text
    text, _ = said([0.5] * 4)
    assert "higher by 0.5 for every seed (sign test, adjusted p 0.12, 4 seeds)" in text
    assert "no pair of runs has final(loss) on both sides" in said([None] * 4)[0]


def test_what_was_averaged_and_what_is_missing_is_said():
    def value(a, b, seed):
        return None if (a, b, seed) == (2, 1, 3) else LUCK[seed] + a + 0.1 * a * b * seed

    results = gather(grid({"a": [1, 2], "b": [0, 1]}, 4, value), ["a", "b"])
    (found,) = differences(results, "a")
    text = comparison_sentence(found, "m")
    assert (
        "3 seeds, averaged over 2 cells of the other settings, 1 of 8 pairs lacks a value" in text
    )
    (found,) = differences(results, "a", "base")
    assert "other settings at their base values" in comparison_sentence(found, "m")


def interaction(strength, seeds=4, scale="difference"):
    noise = np.random.default_rng(0).normal(size=(2, 2, seeds))
    frame = grid({"a": [0, 1], "b": ["x", "y"]}, seeds, lambda a, b, s: (
        LUCK[s] + strength * a * (b == "y") + 0.1 * noise[a, "xy".index(b), s]
    ))  # fmt: skip
    if scale == "ratio":
        frame = frame.with_columns(pl.col("value").exp())
    return interactions(gather(frame, ["a", "b"], scale=scale))[0]


def test_an_interaction_is_said_with_the_contrast_that_shows_it():
    text = interaction_sentence(interaction(-2.0), "m")
    assert text.startswith("a and b interact in their effect on m (F(1.0, 3.0) = ")
    assert "a=1 vs 0: the difference at b=y is lower by 2.08 [1.93, 2.24] than at b=x." in text
    assert text.endswith(" than at b=x.")
    assert interaction_sentence(interaction(0.0), "m").startswith(
        "Undecided whether a and b interact in their effect on m"
    )
    assert "fewer than two complete seeds" in interaction_sentence(interaction(1.0, 1), "m")


def test_a_contrast_of_ratios_is_a_factor():
    (contrast,) = interaction(2.0, scale="ratio").contrasts
    text = contrast_sentence(contrast)
    assert text.startswith("a=1 vs 0: the ratio at b=y is 6.8 [")
    assert text.endswith(" times the ratio at b=x.")


def law(function, levels=(4, 8, 16, 32), seeds=4, noise=0.02):
    random = np.random.default_rng(0)
    frame = grid({"model.d_model": list(levels)}, seeds, lambda w, s: (
        None if function(w) is None else function(w) * float(np.exp(noise * random.normal()))
    ))  # fmt: skip
    return scaling_sentence(scaling(gather(frame, ["model.d_model"], measure="leaves(log(10))"),
                                    "model.d_model"))  # fmt: skip


def test_a_power_law_is_said_as_a_halving_or_doubling():
    text = law(lambda w: 3000 * w**-0.58)
    assert text.startswith("halving model.d_model multiplies leaves(log(10)) by 1.5")
    assert "(power law, exponent -0.5" in text
    assert law(lambda w: w**1.1).startswith(
        "doubling model.d_model multiplies leaves(log(10)) by 2.1"
    )


def test_an_exponential_is_said_as_a_step():
    text = law(lambda w: 9 * np.exp(0.5 * w), (0, 1, 2, 3))
    assert text.startswith("increasing model.d_model by 1 multiplies leaves(log(10)) by 1.6")
    assert law(lambda w: 9 * np.exp(-0.5 * w), (0, 1, 2, 3)).startswith(
        "decreasing model.d_model by 1"
    )


def test_runs_that_never_did_and_relations_that_are_none_are_said():
    text = law(lambda w: None if w == 4 else 3000 * w**-0.58)
    assert text.endswith("4 of 16 runs have no value and are ignored.")
    assert law(lambda w: 5.0).startswith("No clear relation of leaves(log(10)) to model.d_model: ")
    assert law(lambda w: None).startswith("Too few runs have a value of leaves(log(10))")
    assert "any line fits two levels" in law(lambda w: w, (4, 8))


def test_a_page_tells_an_interaction_with_short_names():
    frame = grid({"model.a": [0, 1], "train.b": ["x", "y"]}, 4, lambda a, b, s: (
        LUCK[s] - 2.0 * a * (b == "y") + (0.01 + 0.1 * (b == "y")) * s * a
    ))  # fmt: skip
    found = effects(frame, ["model.a", "train.b"])
    (each,) = found.interactions
    text = interaction_in_words(each, found, "the loss")
    assert text.startswith("a and b interact in their effect on the loss (F(")
    assert "a=1 vs 0: the difference at b=y is lower by " in text
    assert "model." not in text and "train." not in text
