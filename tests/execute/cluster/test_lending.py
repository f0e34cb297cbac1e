"""Who gets which runs, where agents have devices of several kinds. Agents and runs are made up."""

from types import SimpleNamespace

import pytest

from ablab.execute.cluster import lending
from ablab.execute.cluster.lending import Lender
from ablab.execute.cluster.member import Member
from ablab.execute.queue import Claim


class Queue:
    """A queue whose runs nobody else holds."""

    store = None

    def __init__(self, stacks, device):
        self.plan = SimpleNamespace(stacks=stacks, device=device)
        self.leased = set()

    def unfinished(self, among=None):
        return {run.id: 100 for stack in self.plan.stacks for run in stack.runs}

    def claim(self, owner, number, missing):
        stack = self.plan.stacks[number]
        runs = [run for run in stack.runs if run.id in missing and run.id not in self.leased]
        self.leased |= {run.id for run in runs}
        return Claim(number, stack, tuple(runs)) if runs else None


def stack(count, seconds, name="r", key="one shape"):
    runs = [
        SimpleNamespace(id=f"{name}{k}", stack_key=key, train=SimpleNamespace(steps=100, stop=None))
        for k in range(count)
    ]
    return SimpleNamespace(runs=tuple(runs), seconds=seconds)


@pytest.fixture
def lender(monkeypatch):
    def make(stacks, device, begun=()):
        begun = dict(begun)
        monkeypatch.setattr(lending, "tokenizers", lambda queue: {})
        monkeypatch.setattr(
            lending, "last_devices", lambda _, runs: {r: begun[r] for r in runs if r in begun}
        )
        return Lender(Queue(stacks, device), None, "auto")

    return make


def agent(name, device, pace=None, machine=None):
    line = SimpleNamespace(name=name, device=device, place=name)
    return Member(line, "command", machine=name if machine is None else machine, pace=pace)


def lend(own, members):
    """Lends to all idle agents; returns the runs that each gets, by its name."""
    found = {}
    idle = [each for each in members if each.work is None and each.machine]
    for member, claim in own.claims(idle, members):
        runs = [run.id for run in claim.runs]
        member.work = own.work(f"token of {member.machine}", claim.number, runs)
        found[member.line.name] = runs
    return found


def test_all_cores_get_parts_of_a_gpus_stack(lender):
    own = lender([stack(400, 1000.0)], "cuda")
    cores = [agent(f"core{k}", "cpu", pace=0.02) for k in range(4)]
    found = lend(own, cores)
    assert set(found) == {"core0", "core1", "core2", "core3"}
    every = [run for runs in found.values() for run in runs]
    assert len(set(every)) == len(every)
    assert all(8 <= len(runs) <= 60 for runs in found.values())


def test_a_core_of_unknown_pace_gets_few_runs(lender):
    own = lender([stack(100, 250.0, f"s{k}") for k in range(4)], "cuda")
    members = [agent("gpu", "cuda"), agent("core", "cpu")]
    found = lend(own, members)
    assert len(found["core"]) == 8
    assert len(found["gpu"]) == 100


def test_a_gpu_gets_like_stacks_of_a_plan_for_cores(lender):
    stacks = [stack(8, 10.0, f"s{k}") for k in range(30)]
    stacks += [stack(8, 10.0, f"other{k}", "another shape") for k in range(30)]
    own = lender(stacks, "cpu")
    members = [agent("gpu", "cuda", pace=50.0), agent("core", "cpu", pace=1.0)]
    found = lend(own, members)
    assert len(found["gpu"]) > 100
    assert len({run.rstrip("0123456789") for run in found["gpu"]} & {"s", "other"}) <= 1
    assert len(found["core"]) == 8


def test_runs_of_a_stack_that_begun_on_both_kinds_go_on_with_each(lender):
    own = lender([stack(20, 100.0)], "cuda", {"r0": "cpu", "r1": "cuda"})
    gpu, core = agent("gpu", "cuda", pace=1.0), agent("core", "cpu", pace=1.0)
    first = lend(own, [gpu, core])
    assert (first["gpu"], first["core"]) == (["r1"], ["r0"])
    gpu.work = core.work = None
    own.left = {run: 100 for run in own.left if run not in ("r0", "r1")}
    second = lend(own, [gpu, core])
    assert len(second["gpu"]) + len(second.get("core", [])) >= 18


def test_a_slow_kind_goes_on_with_what_it_began(lender):
    """Though a faster machine would end it first, if it were allowed to."""
    own = lender([stack(20, 100.0)], "cpu", {f"r{k}": "cpu" for k in range(20)})
    members = [agent("gpu", "cuda", pace=50.0), agent("core", "cpu", pace=1.0)]
    assert lend(own, members) == {"core": [f"r{k}" for k in range(20)]}


def test_what_began_on_a_kind_that_is_gone_goes_on_with_another(lender):
    own = lender([stack(8, 100.0)], "cpu", {"r0": "cuda"})
    assert lend(own, [agent("core", "cpu", pace=1.0)]) == {"core": [f"r{k}" for k in range(8)]}


def test_an_agent_that_is_still_starting_counts_as_there(lender):
    own = lender([stack(8, 100.0)], "cpu", {f"r{k}": "cuda" for k in range(8)})
    starting, core = agent("gpu", "cuda", machine=""), agent("core", "cpu", pace=1.0)
    assert lend(own, [starting, core]) == {}
    starting.silent = True  # it never answered
    assert set(lend(own, [starting, core])) == {"core"}


@pytest.mark.parametrize("begun", [{}, {"r0": "cpu", "r3": "cuda", "s1": "cpu", "s2": "cuda"}])
def test_nothing_is_left_over(lender, begun):
    """However work is divided, all runs are trained in the end, each of them once."""
    stacks = [stack(50, 100.0), stack(5, 3.0, "s"), stack(8, 1.0, "t", "another shape")]
    own = lender(stacks, "cuda", begun)
    members = [agent("gpu", "cuda", 2.0), *(agent(f"core{k}", "cpu", 0.1) for k in range(3))]
    trained = []
    for _ in range(200):
        for runs in lend(own, members).values():
            trained += runs
        if not own.left:
            break
        ended = max((each for each in members if each.work), key=lambda each: each.pace)
        done = set(ended.work.runs)
        own.left = {run: steps for run, steps in own.left.items() if run not in done}
        ended.work = None
    assert sorted(trained) == sorted(run.id for each in stacks for run in each.runs)
