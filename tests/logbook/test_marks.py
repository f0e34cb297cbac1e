"""Marks on the curves of a variant's seeds."""

import re
from dataclasses import replace

import numpy as np

from ablab.logbook.marks import curve_marks
from ablab.read.curves import read_curve
from ablab.read.curves.reading import Transition
from ablab.store.store import RunRecord

STEPS = np.arange(1, 101)
FLAT = read_curve(STEPS, np.full(100, 0.1), "eval_accuracy", direction="higher")


def transitions_of(*steps):
    """The marks of transitions of seeds whose transitions are at these steps; None has none."""
    runs, readings = [], {}
    for seed, step in enumerate(steps):
        runs.append(
            RunRecord(
                f"r{seed}", ["x"], {"d": 8}, seed, "finished", 100, 100, 1.0, 1.0, 1.0, 5, None
            )
        )
        found = [] if step is None else [Transition(step, 20, 0.1, 0.9, 1.0)]
        readings[f"r{seed}"] = replace(FLAT, transitions=found)
    marks = curve_marks(runs, readings).get("d=8", [])
    return [mark for mark in marks if mark["kind"] == "transition"]


def test_a_transition_is_marked_where_the_median_seed_has_it():
    (mark,) = transitions_of(60, 20, 30)
    assert (mark["from"], mark["to"], mark["level"]) == (20, 40, 0.5)  # of seed 2, at 30
    assert mark["span"] == [0.1, 0.9]
    assert mark["text"].endswith("seed 2; 3 of 3 seeds, at 20 to 60")


def test_a_seed_without_a_transition_counts_as_later():
    (mark,) = transitions_of(20, None, 60)
    assert (mark["from"], mark["to"]) == (50, 70)  # not at 40, where no seed has it
    assert transitions_of(20, None, None) == []
    assert transitions_of(20, None) == []


def test_the_level_at_which_an_accuracy_ends_is_a_ceiling():
    run = RunRecord("r", ["x"], {"d": 8}, 0, "finished", 100, 100, 1.0, 1.0, 1.0, 5, None)
    rising = np.where(STEPS < 30, 0.1, 1.0)
    reading = read_curve(STEPS, rising, "eval_accuracy", direction="higher")
    marks = curve_marks([run], {"r": reading})["d=8"]
    assert [mark["name"] for mark in marks if mark["kind"] == "floor"] == ["ceiling 1"]


def test_the_level_of_an_accuracy_that_never_rises_is_no_ceiling():
    run = RunRecord("r", ["x"], {"d": 8}, 0, "finished", 100, 100, 1.0, 1.0, 1.0, 5, None)
    marks = curve_marks([run], {"r": FLAT})["d=8"]
    assert [mark["name"] for mark in marks if mark["kind"] == "floor"] == ["stays at 0.1"]


def test_a_plateau_that_the_median_seed_never_leaves_is_marked_to_the_end():
    runs, readings = [], {}
    for seed in range(4):
        made = ("finished", 400, 400, 1.0, 1.0, 1.0, 5, None)
        runs.append(RunRecord(f"r{seed}", ["x"], {"d": 8}, seed, *made))
        steps = np.arange(1, 401)
        noise = np.exp(0.01 * np.random.default_rng(seed).standard_normal(400))
        falls = np.exp(-0.05 * np.maximum(steps - 200, 0)) if seed < 2 else 1.0
        readings[f"r{seed}"] = read_curve(steps, np.log(10) * falls * noise)
    marks = curve_marks(runs, readings)["d=8"]
    (plateau,) = [mark for mark in marks if mark["kind"] == "plateau"]
    assert plateau["to"] == 400  # and not 200, at which two of four seeds leave it
    assert re.fullmatch(
        r"\S+: median not left by step 400, earliest left at (19|20)\d", plateau["text"]
    )
