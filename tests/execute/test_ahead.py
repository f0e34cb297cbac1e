"""Compilers and what they tell: which programs there are, who compiles them, on which cores."""

import io
import json
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import pytest

from ablab.execute.ahead import compilers as starting
from ablab.execute.ahead.exchange import Exchange, Wanted
from ablab.execute.ahead.programs import is_stored, note_stored, program_of
from ablab.execute.queue import StackQueue
from ablab.experiments import experiment
from ablab.train.method import STACK, Method
from tests.execute.compiled_ahead import exchange_of, plan_of, pretend_stored
from tests.interpreted import interpreted  # noqa: F401
from tests.store.makers import train


@pytest.fixture
def stored(monkeypatch):
    """The programs that are said to be in torch's cache."""
    return pretend_stored(monkeypatch)


def test_compilers_take_programs_in_order_but_wanted_ones_first(tmp_path, stored):
    exchange = exchange_of(tmp_path)
    assert exchange.next(0) == "first"
    assert exchange.want("third")
    assert exchange.next(1) == "third"
    stored.add("first")
    assert [exchange.next(0), exchange.next(0)] == ["second", None]


def test_no_two_compilers_take_the_same_program(tmp_path, stored):
    assert exchange_of(tmp_path).begin("first", 0)
    assert not exchange_of(tmp_path).begin("first", 1)


@pytest.mark.parametrize("ends", ["compiled", "failed", "no compiler is left"])
def test_what_a_stack_waits_for_comes_to_an_end(tmp_path, stored, ends):
    exchange = exchange_of(tmp_path)
    assert exchange.want("second") and not exchange.is_over("second")
    match ends:
        case "compiled":
            stored.add("second")
        case "failed":
            exchange.fail("second")
        case _:
            exchange.end(0, is_last=True)
    assert exchange.is_over("second") and not exchange.want("second")
    assert exchange.is_over("first") == (ends == "no compiler is left")


def test_a_compiler_that_dies_fails_only_what_it_had_begun(tmp_path, stored):
    exchange = exchange_of(tmp_path)
    assert [exchange.next(0), exchange.next(1), exchange.next(0)] == ["first", "second", "third"]
    stored.add("first")
    exchange.end(0, is_last=False)
    assert [exchange.is_over(each) for each in exchange.programs] == [True, False, True]


def test_nobody_waits_for_what_is_not_compiled_ahead(tmp_path, stored):
    assert not exchange_of(tmp_path).want("another")
    assert not exchange_of(tmp_path).want(None)


def test_a_stack_whose_method_is_given_compiles_its_own_program(tmp_path, stored):
    exchange = exchange_of(tmp_path, meanwhile=False)
    assert not exchange.want("first")
    assert exchange.next(0) == "second", "compilers leave the first to the stack"


def test_an_exchange_as_data_is_the_same_exchange(tmp_path):
    exchange = Exchange(tmp_path, {"a": Wanted(3, ("x", "y"), True), "b": Wanted(4, (), False)})
    again = Exchange.from_data(json.loads(json.dumps(exchange.as_data())))
    assert again == exchange and list(again.programs) == ["a", "b"]


def test_a_program_is_that_of_all_that_determines_it(tiny):
    plan = plan_of(experiment(tiny))
    one, other = plan.stacks
    program = program_of(one, one.runs, plan)
    assert program == program_of(one, one.runs, plan)
    others = [
        program_of(other, other.runs, plan),
        program_of(one, one.runs[:1], plan),
        program_of(replace(one, method=Method("stack", True, samples=8)), one.runs, plan),
        program_of(one, one.runs, replace(plan, threads=plan.threads + 1)),
    ]
    for key, value in (("train.batch_size", 8), ("watch.every", 1), ("task.n_digits", 3)):
        changed = plan_of(experiment(tiny, f"{key}={value}"))
        others.append(program_of(changed.stacks[0], changed.stacks[0].runs, changed))
    assert None not in others and len({program, *others}) == 1 + len(others)
    lr = plan_of(experiment(tiny, "train.lr=0.5"))
    assert program_of(lr.stacks[0], lr.stacks[0].runs, lr) == program
    assert program_of(replace(one, method=STACK), one.runs, plan) is None


def test_a_program_that_was_only_traced_is_not_stored(interpreted, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    note_stored("program")
    assert not is_stored("program")


def test_a_stored_program_is_known_to_other_processes(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    assert not is_stored("program")
    note_stored("program")
    code = "from ablab.execute.ahead.programs import is_stored; print(is_stored('program'))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout == "True\n"


@pytest.mark.parametrize("cores", [1, 2])
def test_compilers_run_on_idle_cores_only(tiny, tmp_path, monkeypatch, stored, cores):
    started = []
    monkeypatch.setattr(starting, "cpu_count", lambda: cores)

    def start(self, number, spec):
        started.append(number)
        return Ended()

    monkeypatch.setattr(starting._Compilers, "_start", start)
    asked = experiment(tiny)
    left = [run.id for run in asked.runs]
    with closing(train(tiny, tmp_path / "lab").store) as store:
        plan = replace(plan_of(asked), threads=1)
        queue = StackQueue(store, 1, tiny, plan, print, lambda: False)
        with starting.compilers(queue, left) as given:
            assert (given.ahead is not None) == (cores == 2)
        assert len(started) == cores - 1
        with starting.compilers(queue, []) as given:
            assert given.ahead is None, "nothing is left to train"
        stored.update(program_of(each, each.runs, queue.plan) for each in queue.plan.stacks)
        with starting.compilers(queue, left) as given:
            assert given.ahead is None, "all programs are stored"


class Ended:
    """A process that has ended."""

    def __init__(self):
        self.stdout = io.StringIO()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def test_a_compiler_without_a_core_of_its_own_compiles_only_what_is_wanted(tmp_path, stored):
    exchange = replace(exchange_of(tmp_path), lent=1)
    assert exchange.next(0) is None and exchange.may_want_more()
    assert exchange.want("second")
    assert exchange.next(0) == "second"
    stored.update(["first", "second", "third"])
    assert exchange.next(0) is None and not exchange.may_want_more()
    assert not exchange_of(tmp_path).may_want_more(), "one with a core of its own does not wait"


def test_without_its_folder_nobody_waits(tmp_path, stored):
    exchange = exchange_of(tmp_path / "cleaned")
    assert not exchange.want("first") and exchange.is_over("first")


@pytest.mark.parametrize(
    ("device", "workers", "threads", "found"),
    [
        ("cpu", 2, 1, (2, 0)), ("cpu", 4, 1, (0, 0)), ("cpu", 1, 4, (1, 1)), ("cpu", 1, 2, (2, 0)),
        ("cpu", 1, 1, (3, 0)), ("cpu", 2, 2, (0, 0)), ("cuda", 1, 4, (3, 0)),
    ],
)  # fmt: skip
def test_threads_of_training_are_left_alone(tiny, monkeypatch, device, workers, threads, found):
    monkeypatch.setattr(starting, "cpu_count", lambda: 4)
    plan = replace(plan_of(experiment(tiny)), device=device, workers=workers, threads=threads)
    assert starting._cores(plan) == found


@pytest.mark.compiled
def test_a_compiler_process_compiles_what_a_stack_needs(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "programs"))
    monkeypatch.setattr(starting, "cpu_count", lambda: 2)
    asked, events = experiment(tiny), []
    with closing(train(tiny, tmp_path / "lab", compile="off").store) as store:
        plan = replace(plan_of(asked), threads=1)
        queue = StackQueue(store, 1, asked.definition, plan, events.append, lambda: False)
        programs = [program_of(each, each.runs, queue.plan) for each in queue.plan.stacks]
        with starting.compilers(queue, [run.id for run in asked.runs]) as given:
            assert all(given.ahead.want(program) for program in programs)
            (thread,) = [each for each in starting.threading.enumerate() if "_listen" in each.name]
            thread.join(120)
            assert all(map(is_stored, programs))
    assert [event["event"] for event in events] == ["compiled"] * 2
    assert all(event["seconds"] > 0 for event in events)
