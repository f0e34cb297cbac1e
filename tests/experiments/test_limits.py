"""Experiments that are too large are rejected by their sizes; large ones take linear time."""

import time

import pytest

from ablab.config import InputError, progress
from ablab.config.progress import listening, ticking
from ablab.execute import plan
from ablab.experiments import tree
from ablab.experiments.experiment import experiment
from ablab.experiments.limits import MAX_DEPTH, MAX_RUNS, range_length
from ablab.tasks.addition_config import AdditionConfig
from ablab.train.run import Run, by_stack_key
from tests.cli.command import run_command
from tests.helpers import make_run

ASKED = {
    "name": "large",
    "task": {"kind": "addition", "n_digits": 1},
    "model": {"d_model": 8, "n_heads": 2},
    "train": {"steps": 5, "batch_size": 8},
}
THOUSAND = [0.001 + number / 1e6 for number in range(1000)]


@pytest.mark.parametrize(
    ("overrides", "changes", "message"),
    [
        ([], {"grid": dict.fromkeys(("train.lr", "train.eps", "train.momentum"), THOUSAND)},
         "the experiment has 1,000,000,000 runs"),
        ([], {"grid": {"train.lr": THOUSAND}, "seeds": 101}, "the experiment has 101,000 runs"),
        (["train.lr=range(1,1000000000)"], {}, "the axis train.lr has 999,999,999 values"),
        (["train.lr=range(0,1,1e-9)"], {}, "the axis train.lr has 1,000,000,000 values"),
        (["train.lr=range(10,-1000000000,-1)"], {}, "the axis train.lr has 1,000,000,010 values"),
        (["train.lr=shuffle(range(1,1000000000))"], {}, "has 999,999,999 values"),
        (["seeds=range(1000000000)"], {}, "the axis seeds has 1,000,000,000 values"),
        (["train.lr=range(0,inf)"], {}, "the axis train.lr is not a finite range"),
        (["train.lr=range(nan,1)"], {}, "the axis train.lr is not a finite range"),
        (["train.lr=range(0,5,0)"], {}, "the axis train.lr is not a finite range"),
        (["train.lr=range(0.5,5,0)"], {}, "the axis train.lr is not a finite range"),
        ([], {"seeds": MAX_RUNS + 1}, "seeds has a wrong value"),
        ([], {"grid": {"train.lr": [0.1] * (MAX_RUNS + 1)}}, "has 100,001 values"),
    ],
)  # fmt: skip
def test_what_is_too_large_is_rejected_before_it_is_expanded(overrides, changes, message):
    began = time.process_time()
    with pytest.raises(InputError, match=message):
        experiment(ASKED | changes, *overrides)
    assert time.process_time() - began < 20  # expanded, it would take minutes, and gigabytes


def test_the_error_shows_the_factors():
    grid = {"train.lr": THOUSAND, "train.eps": THOUSAND}
    with pytest.raises(InputError, match=r"train.lr \(1,000\) × train.eps \(1,000\)"):
        experiment(ASKED | {"grid": grid})


@pytest.mark.parametrize(
    "bounds", [(0, 10, 1), (0, 10, 3), (10, 0, -3), (5, 5, 1), (7, 2, 1), (0.0, 1.0, 0.25)]
)
def test_the_length_of_a_range_is_known_without_making_it(bounds):
    first, stop, step = bounds
    values = []
    while (first < stop) if step > 0 else (first > stop):
        values.append(first)
        first += step
    assert range_length(*bounds) == len(values)


def test_values_in_each_other_have_a_limit():
    deep = 8
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    itself = {}
    itself["x"] = itself
    for value in (deep, itself):
        with pytest.raises(InputError, match="nested more than"):
            experiment(ASKED | {"model": {"d_model": value}})


def test_what_all_cells_have_in_common_is_checked_once(monkeypatch):
    checked, marked = [], []
    validate, mark = AdditionConfig.model_validate, tree.Origins.mark
    monkeypatch.setattr(
        AdditionConfig, "model_validate", lambda data: checked.append(data) or validate(data)
    )
    monkeypatch.setattr(tree.Origins, "mark", lambda *given: marked.append(given) or mark(*given))
    asked = experiment(
        ASKED | {"grid": {"train.lr": THOUSAND[:40], "task.n_digits": [1, 2]}}, "train.eps=1e-7"
    )
    assert len(asked.variants) == 80
    assert len(checked) == 2  # one for each number of digits
    assert len(marked) < 10


def test_shared_parts_do_not_mix_cells():
    modulus = {"small": {"model.d_model": 4, "task.p": 7}, "large": {"task.p": 11}}
    grid = {"train.lr": [0.1, 0.2], "modulus": modulus, "model.n_heads": [1, 2]}
    shared = ASKED | {"task": {"kind": "modular"}, "train": {"batch_size": 8, "epochs": 2}}
    asked = experiment(shared | {"grid": grid})
    assert len({variant.runs[0].id for variant in asked.variants}) == len(asked.variants) == 8
    for variant in asked.variants:
        keys = dict(variant.keys)
        keys |= modulus[keys.pop("modulus")]
        alone = experiment(shared, *(f"{key}={value}" for key, value in keys.items()))
        assert alone.variants[0].parts == variant.parts
        assert alone.runs[0].id == variant.runs[0].id
    with pytest.raises(InputError, match=r"task\.n_digits"):
        experiment(shared | {"grid": grid | {"wrong": {"a": {"task.n_digits": 1}}}})


def test_the_key_of_a_stack_is_computed_once_for_all_seeds(monkeypatch):
    made = []
    inner = Run.stack_key.func
    monkeypatch.setattr(Run, "stack_key", property(lambda run: made.append(run) or inner(run)))
    asked = experiment(ASKED, "train.lr=0.1,0.2", "model.d_model=8,16", seeds=5)
    groups = by_stack_key(asked.runs)
    assert [len(group) for group in groups.values()] == [10, 10]
    assert len(made) == 4


def test_runs_of_an_optimizer_that_trains_alone_are_not_grouped():
    runs = [make_run(seed, optimizer="torch.optim:LBFGS") for seed in range(3)]
    assert len(by_stack_key(runs)) == 3


def test_long_loops_tell_how_far_they_are(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    told = []

    def loop(seconds):
        for _ in ticking(range(4), 4, "checking", "variant"):
            clock[0] += seconds

    loop(100)
    with listening(told.append):
        loop(0.1)
        assert told == []
        loop(4)
    assert told == [f"checking 4 variants: {number} done" for number in (1, 3)]


def test_plan_shows_progress_on_standard_error(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "_SILENT_SECONDS", 0.0)
    monkeypatch.setattr(progress, "_EVERY_SECONDS", 0.0)
    command = ["plan", "addition", "train.lr=0.1,0.2,0.3", "model.d_model=8,16", "--store",
               str(tmp_path / "lab")]  # fmt: skip
    code, out, err = run_command(*command)
    assert code == 0
    assert "checking 12 variants: 1 done …" in err and "planning 4 shapes: 1 done …" in err
    assert "done" not in out
    assert run_command(*command, "--quiet")[2] == ""
    assert run_command(*command, "--json")[2] == ""


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.n_layers=1000000"], "model.n_layers has a wrong value"),
        (["model.d_model=10000000"], "model.d_model has a wrong value"),
        (["model.d_model=100000", "model.n_layers=2"], "about 2.4e.11 parameters"),
        (["model={kind: thinker, n_thoughts: 100000000}"], "n_thoughts has a wrong value"),
        (["model={kind: thinker, eval_thoughts: 100000000}"], "eval_thoughts has a wrong value"),
    ],
)
def test_a_model_that_nobody_can_train_is_rejected(overrides, message):
    with pytest.raises(InputError, match=message):
        experiment(ASKED, *overrides)


def test_the_estimate_of_parameters_is_close():
    for overrides in (
        ["model.d_model=64", "model.n_layers=3"],
        ["model={kind: transformer, d_model: 64, mlp: {gated: true}, attention: {n_kv_heads: 1}}"],
        ["model={kind: thinker, d_model: 64}"],
        ["task={kind: copy, n_symbols: 500}", "model=bigram"],
    ):
        variant = experiment(ASKED, *overrides).variants[0]
        estimate = variant.parts.model.parameter_estimate(variant.parts.task.vocab_size)
        count = sum(parameter.numel() for parameter in variant.model().parameters())
        assert 0.9 < estimate / count <= 1.0


def test_a_model_that_does_not_fit_is_rejected_before_it_is_built(tmp_path, monkeypatch):
    class Memory:
        total = 2**20

    monkeypatch.setattr(plan.psutil, "virtual_memory", lambda: Memory)
    store = tmp_path / "lab"
    for command in ("plan", "run"):
        code, out, err = run_command(
            command, "addition", "model.d_model=1024", "--store", str(store)
        )
        assert (code, out) == (2, "")
        assert "a model of about 1.3e+07 parameters does not fit into memory" in err
    assert not store.exists()


def test_a_key_of_the_grid_that_is_no_text_is_an_error():
    for grid in ({1: [1, 2]}, {"a": {"b": {1: 2}}}, {None: [1]}):
        with pytest.raises(InputError, match="a key is not text"):
            experiment(ASKED | {"grid": grid})
