"""Stacks train eagerly until another process has compiled their program."""

import math
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
from click.testing import CliRunner

import ablab
from ablab.cli import main
from ablab.execute import orchestrate, verify
from ablab.execute.ahead.exchange import Exchange, Wanted
from ablab.execute.ahead.programs import program_of
from ablab.execute.plan import make_plan
from ablab.store.metrics import read_runs
from ablab.train.method import SOLO
from tests.execute.compiled_ahead import COMPILED, compiled, pretend_stored
from tests.interpreted import interpreted  # noqa: F401
from tests.store.makers import train


@pytest.fixture
def stored(monkeypatch):
    """The programs that are said to be in torch's cache."""
    return pretend_stored(monkeypatch)


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
