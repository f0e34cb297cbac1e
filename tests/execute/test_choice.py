"""The choice of a method is the fastest row of the table that the plan shows."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ablab.execute.cost import count_cost
from ablab.execute.division import group_estimate
from ablab.execute.estimate import Estimate
from ablab.execute.group import Alternative, Group
from ablab.execute.method_choice import possible_methods
from ablab.execute.options import Options
from ablab.execute.plan import make_plan
from ablab.execute.plan_text import method_rows
from ablab.execute.speeds import Speeds
from ablab.experiments.experiment import experiment
from ablab.train.method import SOLO, STACK, Method
from tests.execute.test_verified_methods import tree

BASE = {
    "name": "choice",
    "task": {"kind": "addition", "n_digits": 1},
    "model": {"kind": "transformer", "d_model": 8, "n_heads": 2},
    "train": {"batch_size": 64, "evaluate": {"every": 40}},
}
COMPILED = Method("stack", True, "innermost", "plain", 1)
SECONDS = st.none() | st.floats(1e-5, 1.0)


def speeds_in(folder) -> Speeds:
    path = Path(folder) / "speeds.json"
    path.write_text(json.dumps({"steps": {}, "compiled": {}, "estimates": [], "power": 2.6e-3}))
    return Speeds(path)


@settings(max_examples=60)
@given(
    steps=st.sampled_from([20, 3000, 100_000]),
    seeds=st.integers(2, 9),
    workers=st.integers(1, 3),
    widths=st.sampled_from(["8", "8,12"]),
    measured=st.tuples(SECONDS, SECONDS, SECONDS),
    compiling=st.none() | st.floats(0.1, 1000),
    evaluating=SECONDS,
    before=st.sampled_from([None, SOLO, STACK, COMPILED]),
)
def test_no_row_is_faster_than_the_choice(
    steps, seeds, workers, widths, measured, compiling, evaluating, before
):
    asked = experiment(BASE, f"train.steps={steps}", f"seeds={seeds}", f"model.d_model={widths}")
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("ablab.execute.method_choice._timed", lambda *_: 0.0)
        speeds = speeds_in(folder)
        cost = count_cost(asked.runs[0])
        threads = 2 if workers == 1 else 1
        for method, seconds in zip((SOLO, STACK, COMPILED), measured, strict=True):
            for number in {1, threads} if seconds else ():
                speeds.note_step(cost, method, number, workers, seconds)
        if compiling is not None:
            speeds.note_compiled(cost, COMPILED, compiling)
        if evaluating is not None:
            speeds.note_evaluation(cost, 512, SOLO, 1, workers, evaluating)
        left = {run.id: steps for run in asked.runs}
        known = {} if before is None else {run.id: before for run in asked.runs}
        plan = make_plan(asked.runs, Options(device="cpu", workers=workers), left, speeds, known)
        shapes = {stack.runs[0].stack_key: stack for stack in plan.stacks}
        for stack in shapes.values():
            times = [stack.all_stacks.seconds, *(each.seconds for _, each in stack.others)]
            assert times == sorted(times)
            assert stack.all_stacks.low <= stack.all_stacks.seconds <= stack.all_stacks.high
        if len(shapes) == 1:  # the row of the choice is the plan
            (stack,) = shapes.values()
            start = speeds.start_seconds(workers)
            assert plan.seconds == pytest.approx(stack.all_stacks.seconds + start)
        rows = method_rows(plan, left)
        assert [row for row in rows if row[0]] == [row for row in rows if row[3] == "← chosen"]


def test_runs_that_began_in_the_other_layout_go_on_in_it():
    asked = experiment(BASE, "model.d_model=128", "train.steps=50000", "seeds=2")
    cost = count_cost(asked.runs[0])
    left = {run.id: 25_000 for run in asked.runs}
    known = {run.id: COMPILED for run in asked.runs}
    with TemporaryDirectory() as folder:
        speeds = speeds_in(folder)
        for method in (SOLO, STACK):
            speeds.note_step(cost, method, 1, 1, 1.0)
        found = {}
        for before in (None, known):
            options = Options(device="cpu", workers=1)
            (stack,) = make_plan(asked.runs, options, left, speeds, before).stacks
            found[before is None] = stack.method, stack.why
        assert found[True][0].compiled and found[True][0].layout == "usual"
        assert found[False] == (COMPILED, "continues as it began")
        eagerly = Options(device="cpu", workers=1, compiling="off")
        stacks = make_plan(asked.runs, eagerly, left, speeds, known).stacks
        assert not any(stack.method.compiled for stack in stacks)


def alternative(method=COMPILED, width=2, factor=1.0):
    return Alternative(
        method, width, 1, 0.01, 3.0, True, 0.01, factor, 1.0, Estimate(0.5, 0.5, 0.5),
        Estimate(1.0, 1.0, 1.0),
    )  # fmt: skip


def group(left, seeds=2):
    asked = experiment(BASE, "train.steps=100", f"seeds={seeds}")
    return Group(tuple(asked.runs), count_cost(asked.runs[0]), left)


def test_an_estimate_has_setup_compiling_steps_and_evaluations():
    # Two runs of 100 steps of 10 ms, each evaluated at steps 0, 40, 80 and 100.
    found = alternative().estimate(group((100, 100)), slice(0, 2), True)
    assert found.seconds == pytest.approx(1 + 3 + 2 * 100 * 0.01 + 2 * 4 * 0.5)
    # One has ended; the other goes on from step 90, and is evaluated at step 100.
    found = alternative(factor=2.0).estimate(group((10, 0)), slice(0, 2), False)
    assert found.seconds == pytest.approx(1 + 10 * 0.01 + 0.5)
    assert (found.low, found.high) == (pytest.approx(1.55), pytest.approx(1.7))
    assert alternative().estimate(group((0, 0)), slice(0, 2), True).seconds == 0


def test_processes_work_side_by_side():
    # Three stacks of one run, 1 + 1 + 2 s each and 3 s to compile in each process.
    four = group((100, 100, 100), seeds=3)
    solo = alternative(Method("solo", True), 1)
    assert group_estimate(four, solo, 1).seconds == pytest.approx(3 * 4 + 3)
    assert group_estimate(four, solo, 3).seconds == pytest.approx(4 + 3)


def test_what_cannot_be_stacked_is_found_before():
    asked = experiment(tree("Recurrent"))
    left = {run.id: run.train.steps for run in asked.runs}
    cost = count_cost(asked.runs[0])
    assert "lstm" in cost.unstackable
    stacks = make_plan(asked.runs, Options(device="cpu"), left, Speeds()).stacks
    assert {stack.method for stack in stacks} == {SOLO}
    options = Options(device="cpu", engine="stack", compiling="off")
    for stack in make_plan(asked.runs, options, left, Speeds()).stacks:
        assert stack.method == SOLO and "lstm" in stack.apart
        assert stack.why.startswith(
            "cannot be stacked (RuntimeError: Batching rule not implemented"
        )


@pytest.mark.parametrize(("name", "alone"), [("Plain", False), ("OwnDropout", True)])
def test_whether_runs_can_be_stacked_is_tried(name, alone):
    cost = count_cost(experiment(tree(name)).runs[0])
    assert (cost.unstackable is not None) == alone


@pytest.mark.parametrize(
    ("name", "is_random"), [("Plain", False), ("Dropout", False), ("OwnDropout", True)]
)
def test_a_step_that_draws_from_torchs_generator_is_never_compiled(name, is_random):
    asked = experiment(tree(name))
    cost = count_cost(asked.runs[0])
    assert cost.is_random == is_random
    compiled = [each for each in possible_methods(cost, torch.device("cpu")) if each.compiled]
    assert bool(compiled) != is_random
