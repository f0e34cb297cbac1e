import json
from dataclasses import replace

import pytest
import torch

from ablab.execute.cost import count_cost
from ablab.execute.early_stops import ExpectedStop
from ablab.execute.group import Group
from ablab.execute.method_choice import MAX_WIDTH
from ablab.execute.options import Options, cpu_count
from ablab.execute.orchestrate import steps_to_train, trained_elsewhere
from ablab.execute.plan import Plan, make_plan
from ablab.execute.speeds import Speeds
from ablab.execute.worker import plan_as_data, plan_from_data
from ablab.experiments.experiment import experiment
from ablab.train.method import SOLO, STACK
from tests.store.makers import train

OURS = {"kind": "transformer", "d_model": 8, "n_heads": 2}
THEIRS = {"kind": "tests.train.my_mixers:Plain"}


@pytest.fixture
def reference(tmp_path):
    """A machine as fast as the model's own, where nothing was measured yet."""
    path = tmp_path / "speeds.json"
    path.write_text(json.dumps({"steps": {}, "compiled": {}, "estimates": [], "power": 2.6e-3}))
    return Speeds(path)


def planned(asked, left=None, speeds=None, **options) -> Plan:
    left = {run.id: run.train.steps for run in asked.runs} if left is None else left
    return make_plan(asked.runs, Options(**{"device": "cpu"} | options), left, speeds or Speeds())


def test_runs_of_equal_shape_are_stacked_across_variants_and_seeds(tiny):
    asked = experiment(tiny, "train.lr=0.1,0.01")
    plan = planned(asked, engine="stack")
    assert [len(stack.runs) for stack in plan.stacks] == [4, 4]
    assert {run.model.d_model for run in plan.stacks[0].runs} == {8}
    assert {run.train.lr for run in plan.stacks[0].runs} == {0.1, 0.01}
    assert {stack.method for stack in plan.stacks} == {STACK}


def test_solo_trains_one_run_after_another(tiny):
    plan = planned(experiment(tiny), engine="solo")
    assert [len(stack.runs) for stack in plan.stacks] == [1] * 4


def test_a_single_run_is_trained_alone_unless_asked(tiny):
    asked = experiment(tiny, "seeds=1")
    assert {stack.method.engine for stack in planned(asked).stacks} == {"solo"}
    asked_for = planned(asked, engine="stack").stacks
    assert {stack.method.engine for stack in asked_for} == {"stack"}


def test_what_changes_operations_keeps_runs_apart(tiny):
    for override in (
        "train.optimizer=adam,sgd",
        "train.clip_norm=null,1.0",
        "task.n_digits=1,2",
        "model.dropout=0.0,0.1",
        "train.decay=all,matrices",
    ):
        asked = experiment(tiny, "model.d_model=8", override)
        assert [len(stack.runs) for stack in planned(asked, engine="stack").stacks] == [2, 2]


def test_what_each_run_has_for_itself_does_not(tiny):
    for override in (
        "train.lr=0.1,0.2",
        "train.betas=[0.9,0.99],[0.5,0.9]",
        "train.weight_decay=0,0.1",
        "train.eps=1e-8,1e-6",
        "train.clip_norm=1.0,2.0",
        "train.schedule=constant,cosine",
    ):
        asked = experiment(tiny, "model.d_model=8", override)
        assert [len(stack.runs) for stack in planned(asked, engine="stack").stacks] == [4]


def test_wide_groups_are_cut_evenly(tiny):
    asked = experiment(tiny, "model.d_model=8", f"seeds={MAX_WIDTH + 1}")
    sizes = [len(stack.runs) for stack in planned(asked, engine="stack").stacks]
    assert sizes == [5, 4]


def test_a_group_is_shared_by_all_workers(tiny):
    asked = experiment(tiny, "model.d_model=8", "seeds=6")
    plan = planned(asked, engine="stack", workers=3)
    assert [len(stack.runs) for stack in plan.stacks] == [2, 2, 2]


def test_memory_grows_with_the_batch_and_the_width(tiny):
    small, wide = (count_cost(experiment(tiny, f"model.d_model={d}").runs[0]) for d in (8, 64))
    large = count_cost(experiment(tiny, "model.d_model=8", "train.batch_size=256").runs[0])
    assert small.bytes(1, STACK) < wide.bytes(1, STACK)
    assert 4 * small.bytes(1, STACK) < large.bytes(1, STACK)
    assert large.bytes(4, replace(STACK, rows=1)) < large.bytes(4, STACK)


def test_what_does_not_fit_in_memory_is_not_stacked(tiny, monkeypatch):
    asked = experiment(tiny, "seeds=6", "model.d_model=8")
    one = count_cost(asked.runs[0]).bytes(1, STACK)
    monkeypatch.setattr(
        "ablab.execute.plan.device_memory", lambda device: 2 * one * 4 * cpu_count()
    )
    plan = planned(asked, workers=1, engine="stack")
    assert [len(stack.runs) for stack in plan.stacks] == [3, 3]
    assert max(stack.bytes for stack in plan.stacks) <= 4 * one


@pytest.mark.parametrize(
    ("gpus", "workers", "compiling", "model", "shares"),
    [
        (1, 1, "off", OURS, 1),
        (1, 2, "off", OURS, 2),
        (2, 2, "off", OURS, 1),
        (2, 3, "off", OURS, 2),
        (1, 1, "auto", OURS, 2),  # with a graph
        (1, 1, "auto", THEIRS, 1),  # whose Python code runs at every step
    ],
)
def test_processes_and_graphs_on_one_gpu_share_its_memory(
    gpus, workers, compiling, model, shares, tiny, monkeypatch
):
    one_shape = {name: value for name, value in tiny.items() if name != "grid"}
    asked = experiment(one_shape | {"model": model}, "seeds=12")
    one = count_cost(asked.runs[0]).bytes(6, STACK)
    monkeypatch.setattr("ablab.execute.plan.device_memory", lambda device: 2 * one)
    monkeypatch.setattr("ablab.execute.plan.device_count", lambda device: gpus)
    options = Options(engine="stack", workers=workers, compiling=compiling)
    plan = make_plan(asked.runs, options, {}, Speeds(), device=torch.device("cuda"))
    assert plan.device == "cuda"
    assert max(len(stack.runs) for stack in plan.stacks) == 6 // shares
    assert max(stack.bytes for stack in plan.stacks) * shares <= one


def test_an_estimate_covers_what_is_left(tiny):
    asked = experiment(tiny)
    first = planned(asked, engine="stack", workers=1).stacks[0]
    left = {run.id: 20 for run in first.runs}
    found = planned(asked, left, engine="stack", workers=1)
    seconds = {stack.runs: stack.seconds for stack in found.stacks}
    assert seconds.pop(first.runs) > 0
    assert set(seconds.values()) == {0.0}
    assert found.seconds == sum(stack.seconds for stack in found.stacks)


def test_many_steps_are_worth_compiling_and_few_are_not(tiny):
    few = experiment(tiny, "model.d_model=8", "seeds=4", "train.batch_size=512")
    many = experiment(tiny, "model.d_model=8", "seeds=4", "train.batch_size=512",
                      "train.steps=200000")  # fmt: skip
    speeds = Speeds()
    assert not any(stack.method.compiled for stack in planned(few, speeds=speeds).stacks)
    stacks = planned(many, speeds=speeds).stacks
    assert all(stack.method.compiled and stack.fallback is not None for stack in stacks)
    assert all(not stack.fallback.compiled for stack in stacks)
    off = planned(many, speeds=speeds, compiling="off").stacks
    assert not any(stack.method.compiled for stack in off)
    on = planned(few, speeds=speeds, compiling="on").stacks
    assert all(stack.method.compiled and stack.fallback is None for stack in on)


@pytest.mark.parametrize(("widths", "pays"), [("8", False), ("8,12,16", True)])
def test_a_program_is_compiled_by_those_who_train_with_it(tiny, widths, pays):
    # Of three groups each is one stack, which one of two processes trains; one group is shared.
    asked = experiment(
        tiny, f"model.d_model={widths}", "seeds=4", "train.batch_size=512", "train.steps=3000"
    )
    left = {run.id: run.train.steps for run in asked.runs}
    speeds = Speeds()
    on, auto = (Options(device="cpu", workers=2, compiling=how) for how in ("on", "auto"))
    method = make_plan(asked.runs, on, left, speeds).stacks[0].method
    for run in asked.runs:
        shape = count_cost(run)
        once = speeds.compile_seconds(shape, method)
        gain = 1.5 * once / (4 * 3000)
        for other in (SOLO, STACK):
            speeds.note_step(shape, other, 1, 2, 10 * gain)
        speeds.note_step(shape, method, 1, 2, 9 * gain)
    found = make_plan(asked.runs, auto, left, speeds)
    assert {stack.method.compiled for stack in found.stacks} == {pays}


def test_samples_that_see_each_other_stay_in_one_piece(tiny):
    settings = ("model.d_model=8", "seeds=2", "train.batch_size=8192", "train.steps=200000")
    split = experiment(tiny, *settings)
    bug = "ablab.recipes.attention_bugs:RMSNormWithoutDim"
    whole = experiment(tiny, *settings, f"model.attention.qk_norm={bug}")
    assert not count_cost(split.runs[0]).mixes_samples
    assert count_cost(whole.runs[0]).mixes_samples
    for asked, layout in ((split, "innermost"), (whole, "usual")):
        (found,) = {stack.method for stack in planned(asked, compiling="on").stacks}
        assert (found.compiled, found.layout) == (True, layout)
        assert (found.samples is None) == (layout == "usual")


def test_processes_take_time_to_start(tiny, tmp_path):
    asked = experiment(tiny)
    speeds = Speeds(tmp_path / "speeds.json")
    speeds.note_start(7.5)
    plan = planned(asked, speeds=speeds, engine="stack", workers=2)
    assert plan.seconds == max(stack.seconds for stack in plan.stacks) + 7.5


def test_a_step_that_raises_is_planned_alone(tiny, monkeypatch):
    monkeypatch.setattr("ablab.execute.plan.count_cost", lambda run: "KeyError: 'x'")
    plan = planned(experiment(tiny, "seeds=2"))
    assert [len(stack.runs) for stack in plan.stacks] == [1] * 4
    assert {stack.why for stack in plan.stacks} == {"its step raises KeyError: 'x'"}


def test_large_grids_begin_with_the_cheapest_stacks(tiny):
    asked = experiment(tiny, "model.d_model=64,8,32,16", "seeds=1")
    stacks = planned(asked, workers=1, compiling="off").stacks
    seconds = [stack.seconds for stack in stacks]
    assert seconds == sorted(seconds)
    pair = experiment(tiny, "model.d_model=8,64", "seeds=1")
    seconds = [stack.seconds for stack in planned(pair, workers=2, compiling="off").stacks]
    assert seconds == sorted(seconds, reverse=True)


def test_a_plan_survives_its_way_to_a_worker(tiny):
    asked = experiment(tiny)
    plan = planned(asked, workers=2)
    bare = replace(plan, stacks=tuple(replace(stack, others=()) for stack in plan.stacks))
    data = json.loads(json.dumps(plan_as_data(plan)))
    assert plan_from_data(data, experiment(asked.definition)) == bare


def test_a_step_counts_the_same_whatever_the_runs_length(tiny, monkeypatch):
    def counted(steps, *settings):
        monkeypatch.setattr("ablab.execute.cost._COSTS", {})
        return count_cost(experiment(tiny, f"train.steps={steps}", *settings).runs[0])

    for settings in ((), ("train.schedule={kind:cosine,warmup:5}",), ("train.recover={}",)):
        assert counted(20, *settings) == counted(600_000, *settings)


def test_compiled_stacks_are_cut_so_that_processes_end_together(tiny, reference):
    settings = ("model.d_model=8", "seeds=5", "train.clip_norm=null,1.0", "train.eps=1e-8,1e-7")
    asked = experiment(tiny, *settings, "train.batch_size=512", "train.steps=200000")
    three = [
        each for each in asked.runs if each.train.clip_norm is None or each.train.eps == 1e-8
    ]  # ten and five
    left = {run.id: run.train.steps for run in three}

    def widths(left, **options):
        found = make_plan(three, Options(device="cpu", engine="stack", **options), left, reference)
        assert sorted(run.id for stack in found.stacks for run in stack.runs) == sorted(left)
        return [len(stack.runs) for stack in found.stacks]

    assert widths(left, workers=2, compiling="on") == [5, 5, 3, 2]
    assert widths(left, workers=1, compiling="on") == [5, 5, 5]
    # What is left says in which order, and not how they are cut.
    assert sorted(widths(dict.fromkeys(left, 1), workers=2, compiling="on")) == [2, 3, 5, 5]
    # Runs that are trained together by eager calls would take longer in fewer.
    assert widths(left, workers=2, compiling="off") == [5, 5, 5]


SIX = ["seeds=6", "train.steps=20000"]


def widths(stacks, runs):
    """The widths of the stacks of some runs."""
    return [len(each.runs) for each in stacks if each.runs[0].id in runs]


def test_what_other_experiments_have_trained_does_not_count(tiny, reference):
    """Six new runs are divided between two processes, as if they were the whole grid."""
    options = Options(device="cpu", engine="stack", workers=2, compiling="off")
    alone = experiment(tiny, "model.d_model=16", *SIX)
    expected = [len(each.runs) for each in make_plan(alone.runs, options, {}, reference).stacks]
    assert expected == [3, 3]
    both = experiment(tiny, "model.d_model=8,16", *SIX)
    new = {run.id: run.train.steps for run in both.runs if run.model.d_model == 16}
    old = {run.id for run in both.runs} - set(new)

    def stacks(left, elsewhere):
        found = make_plan(both.runs, options, left, reference, elsewhere=elsewhere).stacks
        assert {run.id for each in found for run in each.runs} == {run.id for run in both.runs}
        return widths(found, new)

    assert stacks(new, old) == expected
    # The same after a part was trained.
    assert stacks(dict(list(new.items())[:3]), old) == expected
    # If the experiment has trained the others itself, its stacks stay as they were.
    whole = {run.id: run.train.steps for run in both.runs}
    assert stacks(new, ()) == stacks(whole, ())


def test_stacks_are_the_same_wherever_a_command_was_interrupted(tiny, tmp_path):
    """The runs of the narrow model are of another experiment; those of two widths are new."""
    lab = tmp_path / "lab"
    asked = [tiny, lab, "train.steps=40", "seeds=2"]
    train(*asked, "model.d_model=8")
    both = experiment(tiny, "train.steps=40", "seeds=2", "model.d_model=8,12,16")

    def found():
        return trained_elsewhere(both, lab, steps_to_train(both, lab, False))

    narrow = {run.id for run in both.runs if run.model.d_model == 8}
    assert found() == narrow
    train(*asked, "model.d_model=8,12,16", where=("model.d_model=12",))
    assert found() == narrow  # those of width 12 are its own
    train(*asked, "model.d_model=8,12,16")
    assert found() == narrow


@pytest.mark.parametrize(
    ("until", "left", "expected"),
    [(None, 10_000, (3000, 2900, 3100)), (2500, 2500, (2500, 2500, 2500)),
     (2500, 500, (500, 500, 500)), (2950, 2950, (2950, 2900, 2950))],
)  # fmt: skip
def test_a_rung_is_trained_to_its_end_though_a_rule_may_stop_runs_later(
    tiny, until, left, expected
):
    (run, *_) = experiment(tiny, "train.steps=10000", "train.stop={below:0.1}").runs
    stop = ExpectedStop(3000, 2900, 3100, 2, 2)
    group = Group((run,), "not counted", (left,), None, (stop,), until)
    assert group.work[0].steps == expected
