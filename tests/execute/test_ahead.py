"""Idle cores compile programs before stacks need them; stacks train eagerly until then."""

import io
import json
import math
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
from click.testing import CliRunner

import ablab
from ablab.cli import main
from ablab.execute import orchestrate, verify
from ablab.execute.ahead import compilers as starting
from ablab.execute.ahead import exchange as exchanging
from ablab.execute.ahead.exchange import Exchange, Wanted
from ablab.execute.ahead.programs import is_stored, note_stored, program_of
from ablab.execute.options import Options
from ablab.execute.plan import make_plan
from ablab.execute.queue import StackQueue
from ablab.execute.speeds import Speeds
from ablab.experiments import experiment
from ablab.store.metrics import read_runs
from ablab.train.method import SOLO, STACK, Method
from tests.interpreted import interpreted  # noqa: F401
from tests.store.makers import train

COMPILED = Method("stack", compiled=True)


@pytest.fixture
def stored(monkeypatch):
    """The programs that are said to be in torch's cache."""
    found = set()
    monkeypatch.setattr(exchanging, "is_stored", found.__contains__)
    monkeypatch.setattr(starting, "is_stored", found.__contains__)
    return found


def exchange_of(folder, meanwhile=True, programs=("first", "second", "third")):
    return Exchange(folder, {name: Wanted(0, (), meanwhile) for name in programs})


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


def plan_of(asked, **options):
    left = {run.id: run.train.steps for run in asked.runs}
    plan = make_plan(asked.runs, Options(device="cpu", workers=1, **options), left, Speeds())
    return compiled(plan)


def compiled(plan):
    """The same plan with compiled methods, which ``auto`` would not use for so few steps."""
    stacks = (replace(stack, method=COMPILED, fallback=STACK) for stack in plan.stacks)
    return replace(plan, stacks=tuple(stacks))


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


@pytest.fixture
def ahead(tmp_path, monkeypatch):
    """Experiments train by compiled methods, and all their programs are compiled elsewhere."""
    folder = tmp_path / "exchange"
    folder.mkdir()

    @contextmanager
    def compiling(queue, left):
        programs = {}
        for number, stack in enumerate(queue.plan.stacks):
            runs = [run for run in stack.runs if run.id in left]
            if runs:
                program = program_of(stack, runs, queue.plan)
                programs[program] = Wanted(number, tuple(run.id for run in runs), True)
        yield replace(queue, ahead=Exchange(folder, programs))

    make = orchestrate.make_plan
    monkeypatch.setattr(orchestrate, "compilers", compiling)
    monkeypatch.setattr(verify, "_MAX_SLOWDOWN", math.inf)  # what is only traced may be slower
    monkeypatch.setattr(orchestrate, "make_plan", lambda *args: compiled(make(*args)))
    return folder


def over_after(count, folder, how, stored):
    """Asked whether to pause, says no; the wait is over when it was asked some times."""
    asked = []

    def pause():
        asked.append(None)
        if len(asked) >= count:
            for path in folder.glob("*.wanted"):
                stored.add(path.stem) if how == "compiled" else path.with_suffix(".failed").touch()
        return False

    return pause


def segments_of(store):
    return [
        [(each["method"], each["from"], each.get("until_compiled", False)) for each in
         ablab.open(store).run(run.run).segments]
        for run in ablab.open(store).runs()
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["compiled", "failed"])
def test_stacks_train_eagerly_until_their_program_is_compiled(
    tiny, tmp_path, ahead, stored, interpreted, capfd, how  # noqa: F811
):  # fmt: skip
    store = tmp_path / "lab"
    pause = over_after(3, ahead, how, stored)
    train(tiny, store, "train.steps=40", pause=pause, quiet=False).store.close()
    first, second = segments_of(store)[::2]
    (eager, start, waited), (later, switch, waits) = first
    assert (eager, start, waited) == ("stack", 0, True)
    assert (later, waits) == (COMPILED.title, False) and 0 < switch < 40
    assert [each[0] for each in second] == ["stack", COMPILED.title]
    assert "by another method" not in capfd.readouterr().err, "it was meant to change"


def test_what_is_trained_while_compiling_agrees_with_the_rest(
    tiny, tmp_path, ahead, stored, interpreted  # noqa: F811
):  # fmt: skip
    pause = over_after(3, ahead, "compiled", stored)
    with closing(train(tiny, tmp_path / "lab", pause=pause).store) as store:
        runs = sorted(run.run for run in store.runs())
        found = read_runs(store, runs)
        alone = tmp_path / "alone"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(orchestrate, "make_plan", make_plan)
            with closing(train(tiny, alone, compile="off", engine="stack").store) as other:
                eager = read_runs(other, runs)
    assert found["step"].to_list() == eager["step"].to_list()
    for name in ("train_loss", "eval_loss"):
        pairs = zip(found[name].to_list(), eager[name].to_list(), strict=True)
        assert all(a == pytest.approx(b, rel=1e-4) for a, b in pairs if b is not None)


def test_eager_steps_are_replayed_bit_for_bit(
    tiny, tmp_path, ahead, stored, interpreted  # noqa: F811
):  # fmt: skip
    pause = over_after(3, ahead, "compiled", stored)
    train(tiny, tmp_path / "lab", "train.steps=40", pause=pause).store.close()
    opened = ablab.open(tmp_path / "lab")
    _, (_, switch, _) = segments_of(tmp_path / "lab")[0]
    found = opened.replay(opened.runs()[0].run, (1, switch), watch=["param/*/rms"])
    assert found.equal == found.compared == switch


def test_runs_that_began_by_the_planned_method_do_not_wait(
    tiny, tmp_path, ahead, stored, interpreted, capfd  # noqa: F811
):  # fmt: skip
    store, asked = tmp_path / "lab", []

    def pause():  # once the program is there and steps were trained by it
        for path in ahead.glob("*.wanted"):
            stored.add(path.stem)
        asked.append(None)
        return len(asked) > 6

    tiny["grid"] = {}
    assert not train(tiny, store, "train.steps=60", pause=pause).complete
    assert [each[0] for each in segments_of(store)[0]] == ["stack", COMPILED.title]
    stored.clear()  # as if the cache had been emptied
    assert train(tiny, store, "train.steps=60", quiet=False).complete
    assert [each[0] for each in segments_of(store)[0]] == ["stack"] + [COMPILED.title] * 2
    assert "by another method" not in capfd.readouterr().err


def test_runs_that_diverge_while_they_wait_have_ended(
    tiny, tmp_path, ahead, stored, interpreted, capfd  # noqa: F811
):  # fmt: skip
    tiny |= {"grid": {"train.lr": [1e-3, 1e30]}, "seeds": 1}
    done = train(
        tiny, tmp_path / "lab", "train.steps=40",
        pause=over_after(4, ahead, "compiled", stored), quiet=False,
    )  # fmt: skip
    done.store.close()
    ends = {run.status: run.step for run in ablab.open(tmp_path / "lab").runs()}
    assert ends["finished"] == 40 and ends["diverged"] < 40
    assert "training 100%" in capfd.readouterr().err


def test_a_stack_lends_a_thread_to_the_compiler_that_it_waits_for(
    tiny, tmp_path, ahead, stored, interpreted, monkeypatch  # noqa: F811
):  # fmt: skip
    told = orchestrate.compilers

    @contextmanager
    def lending(queue, left):
        with told(queue, left) as given:
            yield replace(given, ahead=replace(given.ahead, lent=1))

    monkeypatch.setattr(orchestrate, "compilers", lending)
    tiny["grid"] = {}
    train(
        tiny, tmp_path / "lab", pause=over_after(3, ahead, "compiled", stored), threads=2
    ).store.close()
    threads = [each["threads"] for each in ablab.open(tmp_path / "lab").run(
        ablab.open(tmp_path / "lab").runs()[0].run).segments]  # fmt: skip
    assert threads == [1, 2]


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


def test_a_run_says_which_of_its_steps_were_trained_while_compiling(
    tiny, tmp_path, ahead, stored, interpreted  # noqa: F811
):  # fmt: skip
    pause = over_after(3, ahead, "compiled", stored)
    train(tiny, tmp_path / "lab", pause=pause).store.close()
    run = ablab.open(tmp_path / "lab").runs()[0].run
    shown = CliRunner().invoke(main.ablab, ["show", run, "--store", str(tmp_path / "lab")]).output
    lines = [line.strip() for line in shown.splitlines()]
    eager = lines.index("eager, until another process had compiled the program")
    assert lines[eager - 1].startswith("steps 0 to") and "engine stack, width 2" in lines[eager - 1]


def test_a_command_that_goes_on_later_trains_by_the_planned_method(
    tiny, tmp_path, ahead, stored, interpreted, capfd  # noqa: F811
):  # fmt: skip
    store, asked = tmp_path / "lab", []

    def pause():  # before any program is compiled
        asked.append(None)
        return len(asked) > 3

    tiny["grid"] = {}
    assert not train(tiny, store, "train.steps=40", pause=pause).complete
    assert [[each[0] for each in run] for run in segments_of(store)] == [["stack"]] * 2
    pause = over_after(1, ahead, "failed", stored)
    assert train(tiny, store, "train.steps=40", pause=pause, quiet=False).complete
    for segments in segments_of(store):
        assert segments[0][2] and segments[-1][:1] == (COMPILED.title,)
    assert "by another method" not in capfd.readouterr().err


def test_several_runs_wait_one_after_the_other_if_stacks_are_slower(
    tiny, tmp_path, ahead, stored, interpreted, monkeypatch  # noqa: F811
):  # fmt: skip
    make = orchestrate.make_plan

    def alone(*args):
        plan = make(*args)
        return replace(plan, stacks=tuple(replace(each, fallback=SOLO) for each in plan.stacks))

    monkeypatch.setattr(orchestrate, "make_plan", alone)
    tiny["grid"] = {}
    train(tiny, tmp_path / "lab", pause=over_after(2, ahead, "compiled", stored)).store.close()
    assert segments_of(tmp_path / "lab")[0][0] == ("stack, 1 run a call", 0, True)


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
