import json

from ablab.execute.options import Options, cpu_count
from ablab.execute.plan import MAX_WIDTH, Plan, estimate, make_plan, run_bytes
from ablab.execute.worker import plan_as_data, plan_from_data
from ablab.experiments.experiment import experiment


def planned(asked, **options) -> Plan:
    runs = asked.runs
    return make_plan(runs, Options(**{"device": "cpu"} | options), [run.id for run in runs])


def test_runs_of_equal_shape_are_stacked_across_variants_and_seeds(tiny):
    asked = experiment(tiny, "train.lr=0.1,0.01")
    plan = planned(asked)
    assert [len(stack.runs) for stack in plan.stacks] == [4, 4]
    assert {run.model.d_model for run in plan.stacks[0].runs} == {8}
    assert {run.train.lr for run in plan.stacks[0].runs} == {0.1, 0.01}
    assert all(stack.engine == "stack" for stack in plan.stacks)


def test_solo_trains_one_run_after_another(tiny):
    plan = planned(experiment(tiny), engine="solo")
    assert [len(stack.runs) for stack in plan.stacks] == [1] * 4


def test_a_single_run_is_trained_alone_unless_asked(tiny):
    asked = experiment(tiny, "seeds=1")
    assert {stack.engine for stack in planned(asked).stacks} == {"solo"}
    assert {stack.engine for stack in planned(asked, engine="stack").stacks} == {"stack"}


def test_what_changes_operations_keeps_runs_apart(tiny):
    for override in (
        "train.optimizer=adam,sgd",
        "train.clip_norm=null,1.0",
        "task.n_digits=1,2",
        "model.dropout=0.0,0.1",
        "train.decay=all,matrices",
    ):
        asked = experiment(tiny, "model.d_model=8", override)
        assert [len(stack.runs) for stack in planned(asked).stacks] == [2, 2]


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
        assert [len(stack.runs) for stack in planned(asked).stacks] == [4]


def test_wide_groups_are_cut_evenly(tiny):
    asked = experiment(tiny, "model.d_model=8", f"seeds={MAX_WIDTH + 1}")
    sizes = [len(stack.runs) for stack in planned(asked).stacks]
    assert sizes == [5, 4]


def test_stacks_do_not_hang_on_what_is_trained_already_nor_on_workers(tiny):
    runs = experiment(tiny, "seeds=7").runs
    whole = make_plan(runs, Options(device="cpu"), [run.id for run in runs])
    part = make_plan(runs, Options(device="cpu", workers=2), [runs[3].id])
    assert whole.stacks == part.stacks


def test_memory_grows_with_the_batch_and_the_width(tiny):
    small, wide = (experiment(tiny, f"model.d_model={d}").runs[0] for d in (8, 64))
    large_batch = experiment(tiny, "model.d_model=8", "train.batch_size=256").runs[0]
    assert run_bytes(small) < run_bytes(wide)
    assert 8 * run_bytes(small) < run_bytes(large_batch)


def test_what_does_not_fit_in_memory_is_not_stacked(tiny, monkeypatch):
    asked = experiment(tiny, "seeds=6", "model.d_model=8")
    one = run_bytes(asked.runs[0])
    monkeypatch.setattr(
        "ablab.execute.plan.device_memory", lambda device: 2 * one * 4 * cpu_count()
    )
    plan = planned(asked, workers=1)
    assert [len(stack.runs) for stack in plan.stacks] == [3, 3]
    assert max(stack.bytes for stack in plan.stacks) <= 4 * one


def test_an_estimate_covers_what_is_left(tiny):
    asked = experiment(tiny)
    plan = planned(asked)
    left = {run.id: 20 for run in plan.stacks[0].runs}
    found = estimate(plan, left, budget=1.0)
    assert found.stack_seconds[0] > 0
    assert found.stack_seconds[1] == 0
    assert found.seconds == sum(found.stack_seconds) / plan.workers


def test_a_plan_survives_its_way_to_a_worker(tiny):
    asked = experiment(tiny)
    plan = planned(asked, workers=2)
    data = json.loads(json.dumps(plan_as_data(plan)))
    assert plan_from_data(data, experiment(asked.definition)) == plan
