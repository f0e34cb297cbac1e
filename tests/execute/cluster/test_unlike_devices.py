"""Cores and GPUs in one cluster: who gets what, and plans that are made anew.

No GPU is needed: agents of another kind than the plan's plan anew, whatever the kinds are.
"""

from dataclasses import replace

import pytest

from ablab.config import InputError
from ablab.execute import orchestrate
from ablab.execute.cluster import agent as agent_module
from ablab.execute.cluster import driver as driver_module
from ablab.execute.cluster.unlike_devices import at_once, places, runs_at_once
from ablab.execute.errors import ProcessError
from ablab.execute.executor import planning_device
from ablab.execute.options import Options
from tests.execute.cluster.threads import NAME, PINNED, Threads
from tests.store.makers import train
from tests.store.packing import metrics, sound


@pytest.mark.parametrize(
    ("resources", "device", "expected"),
    [
        ({"CPU": 8.0, "GPU": 2.0}, "auto", {"cuda": 2, "cpu": 6}),
        ({"CPU": 8.0, "GPU": 2.0}, "cuda", {"cuda": 2}),
        ({"CPU": 8.0, "GPU": 2.0}, "cpu", {"cpu": 8}),
        ({"CPU": 8.0}, "auto", {"cpu": 8}),
        ({"CPU": 8.0}, "cuda", {}),
        ({"CPU": 1.0, "GPU": 4.0}, "auto", {"cuda": 4}),
        ({"CPU": 4.0}, "mps", {"mps": 4}),
        ({}, "auto", {}),
    ],
)
def test_agents_of_a_machine(resources, device, expected):
    assert places(resources, device) == expected


def test_an_agent_plans_half_of_its_share_at_once():
    tens = [10.0] * 20
    assert at_once(tens, [8] * 20, share=120.0) == 6
    assert at_once(tens, [8] * 20, share=1.0) == 1
    assert at_once(tens, [100] * 20, share=1000.0) == 5  # 512 runs at most
    assert at_once(tens, [8] * 20, share=1e9) == 20
    assert at_once([10.0], [8], share=1e9) == 1


def test_a_core_gets_a_part_of_a_gpus_stack():
    assert runs_at_once(seconds=100.0, runs=512, share=10.0) == 25
    assert runs_at_once(seconds=100.0, runs=512, share=1e6) == 512
    assert runs_at_once(seconds=100.0, runs=4, share=1e-6) == 4
    assert runs_at_once(seconds=100.0, runs=40, share=1e-6) == 8


def test_a_plan_without_the_device_of_other_machines():
    with pytest.raises(InputError, match="no mps device"):
        planning_device(Options(device="mps"))
    with pytest.raises(InputError, match="no mps device"):
        planning_device(Options(device="mps", executor="worker_processes"))
    assert planning_device(Options(device="mps", executor="ray")).type == "cpu"


@pytest.fixture
def for_gpus(monkeypatch):
    """Plans are as if they were made where there is a GPU: agents with cores plan anew."""

    def patch():
        before = orchestrate.make_plan

        def planned(*arguments, **options):
            return replace(before(*arguments, **options), device="cuda")

        monkeypatch.setattr(orchestrate, "make_plan", planned)

    return patch


@pytest.fixture
def claims(monkeypatch):
    """What is lent to whom: the agent, the kind of device and the runs."""
    found = []
    before = driver_module.Driver._send

    def sent(self, member, claim):
        device = self._lender.device_of(member)
        found.append((member.line.name, device, [run.id for run in claim.runs]))
        before(self, member, claim)

    monkeypatch.setattr(driver_module.Driver, "_send", sent)
    return found


def kinds(**devices):
    """Gives agents kinds of devices, by the numbers of their machines."""
    for line in Threads.made:
        line.device = devices.get(line.name.partition("/")[0])


def test_cores_train_what_was_planned_for_a_gpu(tiny, tmp_path, agents, for_gpus, claims):
    train(tiny, tmp_path / "local", "seeds=12", executor="in_process", **PINNED)
    agents(2)
    kinds(machine0="cpu", machine1="cpu")
    for_gpus()
    done = train(tiny, tmp_path / "lab", "seeds=12", executor=NAME, **PINNED)
    assert done.complete
    sound(tmp_path / "lab")
    here, there = metrics(tmp_path / "local"), metrics(tmp_path / "lab")
    assert here.select("run", "step").equals(there.select("run", "step"))
    assert (here["train_loss"] - there["train_loss"]).abs().max() < 1e-5
    devices = {s["device"] for run in done.runs for s in done.store.segments([run.run])[run.run]}
    assert devices == {"cpu"}
    assert {device for _, device, _ in claims} == {"cpu"}
    assert min(len(runs) for *_, runs in claims) >= 4
    assert sorted(run for *_, runs in claims for run in runs) == sorted(r.run for r in done.runs)


def test_an_agent_of_another_kind_gets_several_like_stacks_at_once(
    tiny,
    tmp_path,
    agents,
    for_gpus,
    claims,
):
    agents(1)
    kinds(machine0="cpu")
    for_gpus()
    done = train(tiny, tmp_path / "lab", "seeds=30", executor=NAME, **PINNED)
    assert done.complete
    sound(tmp_path / "lab")
    assert max(len(runs) for *_, runs in claims) > 8
    assert sorted(run for *_, runs in claims for run in runs) == sorted(r.run for r in done.runs)


def test_without_any_device_the_command_says_so(tiny, tmp_path, agents):
    agents(1)
    kinds(machine0="mps")
    with pytest.raises(ProcessError, match="no machine can train: no mps device is available"):
        train(tiny, tmp_path / "lab", executor=NAME, **PINNED)


def test_a_device_that_is_lost_after_the_greeting_fails_no_run(
    tiny, tmp_path, agents, local, monkeypatch, capfd
):
    agents(2)
    kinds(machine0="cpu", machine1="mps")
    monkeypatch.setattr(agent_module, "why_lacking", lambda device: "")
    done = train(tiny, tmp_path / "lab", executor=NAME, quiet=False, **PINNED)
    assert done.complete
    assert metrics(tmp_path / "lab").equals(local())
    assert "machine1/1 cannot train: no mps device is available" in capfd.readouterr().err


def test_a_machine_without_the_device_is_not_used(tiny, tmp_path, agents, local, claims, capfd):
    agents(2)
    kinds(machine0="cpu", machine1="mps")
    done = train(tiny, tmp_path / "lab", executor=NAME, quiet=False, **PINNED)
    assert done.complete
    assert metrics(tmp_path / "lab").equals(local())
    assert "machine1/1 is not used: no mps device is available" in capfd.readouterr().err


def test_begun_runs_go_on_with_their_kind_of_device(tiny, tmp_path, agents, claims, monkeypatch):
    lab = tmp_path / "lab"
    train(tiny, lab, "train.steps=10", executor="in_process", **PINNED)
    agents(2)
    kinds(machine0="mps", machine1="cpu")
    monkeypatch.setattr(agent_module, "why_lacking", lambda device: "")
    done = train(tiny, lab, executor=NAME, **PINNED)
    assert done.complete
    assert {(name, device) for name, device, _ in claims} == {("machine1/1", "cpu")}


def test_begun_runs_go_on_with_another_kind_where_there_is_no_other(tiny, tmp_path, agents, claims):
    lab = tmp_path / "lab"
    store = train(tiny, lab, "train.steps=10", executor="in_process", **PINNED).store
    with store.index.transaction() as connection:
        connection.execute("UPDATE runs SET segments = replace(segments, '\"cpu\"', '\"cuda\"')")
    store.close()
    agents(1)
    kinds(machine0="cpu")
    done = train(tiny, lab, executor=NAME, **PINNED)
    assert done.complete
    assert {device for _, device, _ in claims} == {"cpu"}
    assert {run.status for run in done.runs} == {"finished"}
