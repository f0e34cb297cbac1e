"""Sweeps with many values, narrow or wide ranges, and ends that are no whole numbers."""

import json
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ablab
from ablab.config import InputError
from ablab.experiments.experiment import experiment
from ablab.experiments.overrides import parse_overrides
from ablab.experiments.sweep_values import sweep_values
from ablab.experiments.sweeps import Bounds


def values(kind, low, high, n, whole=False, **more):
    return sweep_values(Bounds(kind, low, high, n), "x", "train.lr", whole, **more)


@settings(max_examples=30)
@given(
    kind=st.sampled_from(["geomspace", "linspace", "loguniform", "uniform"]),
    low=st.floats(1e-6, 1e3),
    factor=st.floats(1.001, 1e6) | st.floats(1.001, 2),
    n=st.integers(41, 3000),
)
def test_there_are_as_many_values_as_were_asked_for(kind, low, factor, n):
    found = values(kind, low, low * factor, n)
    assert len(found) == n
    assert all(before < after for before, after in pairwise(found))
    assert low <= found[0] <= found[-1] <= low * factor


@pytest.mark.parametrize("whole", [False, True])
def test_many_values_include_those_of_fewer(whole):
    kind, low, high = ("loguniform", 1, 3000) if whole else ("uniform", 1, 2)
    few, many = (values(kind, low, high, n, whole) for n in (900, 2500))
    assert (len(few), len(many)) == (900, 2500)
    assert set(few) < set(many)
    assert all(isinstance(each, int) is whole for each in many)


def test_a_range_with_too_few_numbers_is_an_error(tiny):
    for kind in ("uniform", "linspace"):
        with pytest.raises(InputError, match="fewer numbers than that") as caught:
            experiment(tiny | {"grid": {"train.lr": f"{kind}(1, 1.0000000000000005, 9)"}})
        assert caught.value.problems[0].expected == "a smaller n, or a wider range"


def test_what_is_left_of_a_difference_is_zero():
    assert values("linspace", -0.1, 0.2, 4) == [-0.1, 0.0, 0.1, 0.2]
    assert values("linspace", -3e-9, 3e-9, 3) == [-3e-9, 0.0, 3e-9]
    assert values("geomspace", 1e-20, 1, 3) == [1e-20, 1e-10, 1]


def test_ends_of_a_range_of_whole_numbers_are_rounded_inward():
    assert values("loguniform", 0.3, 5, 5, whole=True) == [1, 2, 3, 4, 5]
    assert values("geomspace", 0.3, 5.4, 3, whole=True) == [1, 5]
    drawn = values("uniform", 1.2, 4.9, 3000, whole=True, paired=True)
    assert sorted(set(drawn)) == [2, 3, 4]
    assert min(drawn.count(each) for each in (2, 3, 4)) > 900


def test_a_whole_setting_can_have_a_range_below_one(tiny):
    found = experiment(tiny | {"grid": {"task.n_digits": "loguniform(0.3, 5, 3)"}})
    assert all(1 <= variant.parts.task.n_digits <= 5 for variant in found.variants)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"zip": {"task.n_digits": "uniform(1.2, 1.8, 2)"}}, "no whole number from 1.2 to 1.8"),
        ({"task.n_digits": "linspace(1.2, 1.8, 2)"}, "no whole number from 1.2 to 1.8"),
        (
            {"sobol": {"n": 2, "over": {"task.n_digits": "uniform(1.2, 1.8)"}}},
            "no whole number from 1.2 to 1.8",
        ),
        ({"train.lr": "uniform(-1e308, 1e308, 3)"}, "the range from lo to hi is too wide"),
        ({"train.lr": "linspace(-1e308, 1e308, 3)"}, "the range from lo to hi is too wide"),
        ({"train": "uniform(0, 1, 3)"}, "the axis train is not a number"),
        ({"zip": {"model": "uniform(0, 1, 3)"}}, "the axis model is not a number"),
        ({"sobol": {"n": 2, "over": {"task": "uniform(0, 1)"}}}, "the axis task is not a number"),
        ({"train.lr": "uniform(0, 1, hi=2)"}, "hi is given twice, n is missing"),
        ({"train.lr": "uniform(0, 1, 2, n=2)"}, "n is given twice"),
    ],
)
def test_a_sweep_without_values_is_a_clear_error(tiny, grid, message):
    with pytest.raises(InputError) as caught:
        experiment(tiny | {"grid": grid})
    (problem,) = caught.value.problems
    assert message in problem.message
    assert problem.expected


def test_an_override_of_a_part_by_a_sweep_is_a_clear_error(tiny):
    with pytest.raises(InputError, match="the axis model is not a number"):
        experiment(tiny, "model=uniform(0,1,3)")


def test_numbers_from_numpy_are_arguments_of_sweeps(tiny):
    sweep = ablab.geomspace(np.float32(1e-4), np.float64(1e-2), np.int64(4))
    assert sweep == ablab.geomspace(1e-4, 1e-2, 4)
    sobol = ablab.sobol(np.int64(4), {"train.lr": ablab.uniform(np.float64(0.1), np.float32(0.2))})
    plain = ablab.sobol(4, {"train.lr": ablab.uniform(0.1, 0.2)})
    found = [experiment(tiny | {"grid": {"sobol": each}}).definition for each in (sobol, plain)]
    assert json.dumps(found[0]) == json.dumps(found[1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("range(0.1,0.5,0.1)", [0.1, 0.2, 0.3, 0.4]),
        ("range(-0.1,0.25,0.1)", [-0.1, 0.0, 0.1, 0.2]),
        ("range(1,4)", [1, 2, 3]),
    ],
)
def test_a_range_has_no_rounding_errors(text, expected):
    (found,) = parse_overrides([f"train.lr={text}"])
    assert found.value == expected
    assert [type(each) for each in found.value] == [type(each) for each in expected]


def test_reading_an_experiment_does_not_import_scipy():
    code = "import sys, ablab; ablab.experiment('addition'); sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
