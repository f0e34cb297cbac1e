import math

import numpy as np
import polars as pl
import pytest

from ablab.config import InputError
from ablab.read.effects import gather
from tests.read.effects.made import grid

AXES = {"a": [3, 1, 2], "b": ["x", None]}


def test_a_frame_becomes_an_array_in_the_grids_order():
    frame = grid(AXES, 2, lambda a, b, s: 10 * a + (b is None) + s / 10).sample(
        fraction=1.0, shuffle=True, seed=1
    )
    ordered = grid(AXES, 2, lambda a, b, s: 10 * a + (b is None) + s / 10)
    results = gather(ordered, ["a", "b"])
    assert results.levels == {"a": (3, 1, 2), "b": ("x", None)}
    assert results.values[0, 1].tolist() == [31.0, 31.1]
    shuffled = gather(frame, ["a", "b"])
    where = np.ix_(
        [shuffled.place("a", a) for a in (3, 1, 2)], [shuffled.place("b", b) for b in ("x", None)]
    )
    assert np.array_equal(shuffled.values[where], results.values)


def test_what_is_not_finite_is_missing():
    bad = iter([math.nan, math.inf, -math.inf, None])
    frame = grid({"a": [1, 2, 3]}, 2, lambda a, s: next(bad) if a > 1 else 1.0)
    results = gather(frame, ["a"])
    assert (results.runs, results.missing) == (6, 4)
    assert np.isnan(results.values[1:]).all()


def test_the_base_is_the_configurations_or_the_first():
    frame = grid(AXES, 1, lambda a, b, s: 1.0)
    assert gather(frame, ["a", "b"], {"a": 2, "b": "z"}).base == {"a": 2, "b": "x"}
    assert gather(frame, ["a", "b"], {"b": None}).base == {"a": 3, "b": None}


def test_booleans_are_values():
    frame = grid({"a": [True, False]}, 1, lambda a, s: float(a))
    assert gather(frame, ["a"], {"a": False}).base == {"a": False}


def test_ratios_are_taken_of_positive_values_that_span_more_than_thirty():
    def scale(values, asked="auto"):
        return gather(grid({"a": values}, 1, lambda a, s: a), ["a"], scale=asked).scale

    assert scale([1.0, 29.0]) == "difference"
    assert scale([1.0, 31.0]) == "ratio"
    assert scale([0.0, 31.0]) == "difference"
    assert scale([1.0, 2.0], "ratio") == "ratio"
    assert scale([1.0, 99.0], "difference") == "difference"


def test_wrong_input_is_said():
    frame = grid({"a": [-1.0, 2.0]}, 1, lambda a, s: a)
    with pytest.raises(InputError, match="not all positive"):
        gather(frame, ["a"], scale="ratio")
    with pytest.raises(InputError, match="did you mean ratio"):
        gather(frame, ["a"], scale="ratios")
    with pytest.raises(InputError, match="no grid"):
        gather(frame, [])
    with pytest.raises(InputError, match="two rows"):
        gather(pl.concat([frame, frame]), ["a"])
    with pytest.raises(InputError, match=r"did you mean model\.d_model"):
        gather(frame.rename({"a": "model.d_model"}), ["model.d_model"]).check_key("d_model")


def test_chosen_keys_come_first_and_others_stand_at_their_base():
    results = gather(grid(AXES, 2, lambda a, b, s: 10 * a + (b is None)), ["a", "b"], {"b": None})
    assert results.by(["b"], "all").shape == (2, 3, 2)
    at_base = results.by(["a"], "base")
    assert at_base.shape == (3, 1, 2)
    assert at_base[:, 0, 0].tolist() == [31.0, 11.0, 21.0]


@pytest.mark.parametrize(("measure", "grouped"), [("steps_to(loss, 0.1)", False), ("loss", True)])
def test_equal_steps_of_sparse_evaluations_are_not_two_groups(measure, grouped):
    """Evaluated every 50 steps, all six runs reach the loss at 100 but one, at 200."""
    values = {"adamw": [200.0, 100.0, 100.0, 100.0], "mine": [100.0, 100.0, 100.0, 101.0]}
    if not grouped:
        values["mine"] = [100.0] * 4
    frame = pl.DataFrame([
        {"run": f"{name}{seed}", "train.optimizer": name, "seed": seed, "value": value}
        for name, row in values.items() for seed, value in enumerate(row)
    ])  # fmt: skip
    found = gather(frame, ["train.optimizer"], measure=measure, better="lower")
    assert (found.cut is not None) is grouped
