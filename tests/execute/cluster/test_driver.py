"""Agents that train for a command: the same results, whatever happens to them."""

import os
import signal
import time
from dataclasses import replace
from unittest import mock

import polars as pl
import pytest
from safetensors.numpy import load_file

from ablab.config import Problem
from ablab.execute.cluster import agent as agent_module
from ablab.execute.cluster import driver as driver_module
from ablab.execute.cluster import roster as roster_module
from ablab.execute.cluster.agent import Agent
from ablab.execute.cluster.machines import AgentLostError, OtherCommandError
from ablab.execute.errors import ProcessError
from ablab.store.index import StoreError
from ablab.store.store import Store
from tests.execute.cluster.threads import NAME, PINNED, RestingAgent, ThreadLine, Threads
from tests.store.makers import flip, train
from tests.store.packing import metrics, sound
from tests.users_code import ASKED, HELPED, HELPER

LONGER = ["train.steps=200", "train.snapshots.every=25", "train.evaluate.every=100"]


def clustered(tiny, tmp_path, *more, **options):
    return train(tiny, tmp_path / "lab", *more, executor=NAME, **PINNED, **options)


def test_agents_train_what_this_process_would(tiny, tmp_path, agents, local):
    agents(2)
    result = clustered(tiny, tmp_path)
    assert result.complete
    assert metrics(tmp_path / "lab").equals(local())
    assert sound(tmp_path / "lab").problems == []
    assert {run.status for run in result.runs} == {"finished"}
    assert all("begin" in line.calls for line in Threads.made)


def test_captures_travel_too(tiny, tmp_path, agents):
    more = ["watch.captures=[{what: [logits], samples: 4, steps: 10}]"]
    agents(2)
    clustered(tiny, tmp_path, *more)
    train(tiny, tmp_path / "local", *more, executor="in_process", **PINNED)
    found, expected = (
        {
            path.relative_to(tmp_path / name): load_file(path)["activation/logits"].tolist()
            for path in (tmp_path / name / "captures").rglob("*.safetensors")
        }
        for name in ("lab", "local")
    )
    assert found == expected and len(found) == 12


def test_a_run_that_fails_fails_alone(tiny, tmp_path, agents):
    agents(2)
    broken = {**tiny, "model": {"kind": "tests.execute.my_parts:Breaking"}, "grid": {}}
    result = clustered(broken, tmp_path)
    assert {run.status for run in result.runs} == {"failed"}
    assert all("out of order" in run.error for run in result.runs)


def test_a_machine_that_vanishes_loses_at_most_a_snapshot_interval(tiny, tmp_path, agents, local):
    def change(line, method, answer):
        if method == "poll" and line.name == "machine0/1" and answer.sent is not None:
            line.polls = getattr(line, "polls", 0) + 1
            if line.polls == 2:
                line.switch_off()
        return answer

    agents(2, change)
    result = clustered(tiny, tmp_path, *LONGER)
    assert result.complete and Threads.made[0].lost
    assert metrics(tmp_path / "lab").equals(local(*LONGER))
    assert sound(tmp_path / "lab").problems == []


def test_every_message_twice_changes_nothing(tiny, tmp_path, agents, local):
    last = {}

    def change(line, method, answer):
        if method != "poll":
            return answer
        again = last.pop(line.name, None)
        if again is not None and answer.sent is None and answer.ending is None:
            return again
        if answer.sent is not None and answer.ending is None:
            last[line.name] = answer
        return answer

    agents(2, change)
    assert clustered(tiny, tmp_path, *LONGER).complete
    assert metrics(tmp_path / "lab").equals(local(*LONGER))
    assert sound(tmp_path / "lab").problems == []


def test_a_process_that_is_killed_is_replaced(tiny, tmp_path, agents, local):
    def change(line, method, answer):
        if method == "poll" and answer.sent is not None and not getattr(line, "killed", False):
            line.killed = True
            os.kill(line.agent._process.pid, signal.SIGKILL)
        return answer

    agents(1, change)
    assert clustered(tiny, tmp_path, *LONGER).complete
    assert metrics(tmp_path / "lab").equals(local(*LONGER))


def test_a_stopped_process_loses_its_claim_and_publishes_nothing(tiny, tmp_path, agents, local):
    stopped = []

    def change(line, method, answer):
        if method == "poll" and answer.sent is not None and not stopped:
            stopped.append(line.agent._process.pid)
            os.kill(stopped[0], signal.SIGSTOP)
        return answer

    agents(2, change, silent_seconds=4.0)
    assert clustered(tiny, tmp_path, *LONGER).complete
    assert stopped
    assert metrics(tmp_path / "lab").equals(local(*LONGER))
    assert sound(tmp_path / "lab").problems == []


def test_a_silent_agent_loses_its_claim_and_its_late_message_is_refused(
    tiny, tmp_path, agents, local
):
    slept = []

    def change(line, method, answer):
        if method == "poll" and answer.sent is not None and not slept:
            slept.append(line.name)
            time.sleep(4)  # its message arrives when another agent has the runs
        return answer

    agents(2, change, silent_seconds=1.5)
    assert clustered(tiny, tmp_path, *LONGER).complete
    assert slept
    assert metrics(tmp_path / "lab").equals(local(*LONGER))
    assert sound(tmp_path / "lab").problems == []


def test_an_agent_asked_to_leave_sends_its_progress_first(tiny, tmp_path, agents, local):
    left = {}

    def change(line, method, answer):
        steps = [e["step"] for e in getattr(answer, "events", ()) if e["event"] == "progress"]
        if steps and max(steps) >= 60 and not left:
            left["line"] = line
            line.agent.pause()
        return answer

    agents(2, change)
    few = [each.replace("every=25", "every=200") for each in LONGER]
    assert clustered(tiny, tmp_path, *few).complete
    opened = Store(tmp_path / "lab")
    resumed = [run for run, found in opened.segments(run.run for run in opened.runs()).items()
               if len(found) > 1]  # fmt: skip
    assert resumed  # from the step at which the agent was asked, not from the beginning
    assert metrics(tmp_path / "lab").equals(local(*few))


def test_a_pause_saves_and_the_same_command_goes_on(tiny, tmp_path, agents, local):
    seen = []

    def change(line, method, answer):
        seen.extend(e for e in getattr(answer, "events", ()) if e["event"] == "progress")
        return answer

    agents(2, change)
    paused = clustered(tiny, tmp_path, *LONGER, pause=lambda: bool(seen))
    assert not paused.complete
    assert any(run.step > 0 for run in paused.runs)
    agents(2)
    assert clustered(tiny, tmp_path, *LONGER).complete
    assert metrics(tmp_path / "lab").equals(local(*LONGER))


def test_machines_with_other_versions_are_not_used(tiny, tmp_path, agents):
    def change(line, method, answer):
        if method == "hello":
            return replace(answer, versions={**answer.versions, "torch": "1.0.0"})
        return answer

    agents(2, change)
    with pytest.raises(ProcessError, match=r"torch 1\.0\.0, here"):
        clustered(tiny, tmp_path)
    opened = Store(tmp_path / "lab")
    assert {run.step for run in opened.runs()} == {0}


def test_users_modules_and_corpora_travel(folder, tmp_path, agents):
    folder.write({"text.txt": "to be or not to be, " * 200}, mine=HELPED, helper=HELPER)
    found = []

    def change(line, method, answer):
        process = line.agent._process
        if method == "poll" and process is not None:
            found.append(sorted(path.name for path in process.folder.glob("*.py")))
        return answer

    agents(1, change)
    task = {"kind": "text", "corpus": "text.txt", "seq_len": 8}
    assert clustered({**ASKED, "task": task}, tmp_path).complete
    assert found[0] == ["helper.py", "mine.py"]


def test_large_files_are_fetched_by_pieces(tiny, tmp_path, agents, local, monkeypatch):
    monkeypatch.setattr(agent_module, "_INLINE_BYTES", 0)
    monkeypatch.setattr(driver_module, "_PIECE_BYTES", 1000)
    agents(2)
    assert clustered(tiny, tmp_path).complete
    assert Threads.made[0].calls.count("read") > 10
    assert metrics(tmp_path / "lab").equals(local())


@pytest.mark.parametrize("error", [AgentLostError("switched off"), OSError("a bad disk")])
def test_a_machine_that_vanishes_while_a_file_is_fetched_is_not_the_stores_fault(
    tiny, tmp_path, agents, local, monkeypatch, error
):
    monkeypatch.setattr(agent_module, "_INLINE_BYTES", 0)
    failed = []

    def change(line, method, answer):
        if method == "read" and not failed:
            failed.append(line)
            raise error
        return answer

    agents(2, change)
    assert clustered(tiny, tmp_path).complete
    assert failed
    assert metrics(tmp_path / "lab").equals(local())


def test_a_run_with_damaged_snapshots_goes_on_from_a_sound_one(tiny, tmp_path, agents, local):
    train(tiny, tmp_path / "lab", "train.steps=100", *LONGER[1:], **PINNED, workers=2)
    for path in (tmp_path / "lab" / "snapshots").rglob("*.safetensors"):
        if path.stem in ("75", "100"):
            flip(path, 0.9)
    agents(2)
    assert clustered(tiny, tmp_path, *LONGER).complete
    assert metrics(tmp_path / "lab").equals(local(*LONGER))


def test_a_machine_whose_processes_cannot_start_is_not_used(tiny, tmp_path, agents, monkeypatch):
    monkeypatch.setattr(roster_module, "_BACKOFF_SECONDS", 0.1)

    def change(line, method, answer):
        if method in ("prepare", "begin") and line.name == "machine0/1":
            line.agent._process._popen.kill()
            line.agent._process._popen.wait()
        return answer

    agents(2, change)

    def hello(self, device):
        return replace(Agent.hello(self, device), host=self.host)

    monkeypatch.setattr(RestingAgent, "hello", hello)
    for number, line in enumerate(Threads.made):
        line.agent.host = f"machine{number}"
    result = clustered(tiny, tmp_path)
    assert result.complete and {run.status for run in result.runs} == {"finished"}
    assert Threads.made[0].calls.count("begin") == 3 and Threads.made[0].ended


def test_an_agent_that_cannot_say_what_it_is_is_lost(tiny, tmp_path, agents, local):
    def change(line, method, answer):
        if method == "hello" and line.name == "machine0/1":
            raise OSError("no space left on device")
        return answer

    agents(2, change)
    result = clustered(tiny, tmp_path)
    assert result.complete and Threads.made[0].ended
    assert metrics(tmp_path / "lab").equals(local())


def test_if_no_machine_can_start_a_process_no_run_is_at_fault(tiny, tmp_path, agents, monkeypatch):
    monkeypatch.setattr(roster_module, "_BACKOFF_SECONDS", 0.1)

    def change(line, method, answer):
        if method in ("prepare", "begin"):
            line.agent._process._popen.kill()
            line.agent._process._popen.wait()
        return answer

    agents(2, change)
    with pytest.raises(ProcessError, match="no machine can train: signal 9"):
        clustered(tiny, tmp_path)
    opened = Store(tmp_path / "lab")
    assert {(run.status, run.step) for run in opened.runs()} == {("planned", 0)}
    assert [row["deaths"] for row in opened.index.rows("SELECT deaths FROM runs")] == [0] * 4


def test_a_command_that_is_slow_itself_blames_no_agent(tiny, tmp_path, agents, local, monkeypatch):
    slow = []

    def receive(*arguments):
        if not slow:
            slow.append(time.sleep(3))
        return shipped(*arguments)

    shipped = driver_module.receive
    monkeypatch.setattr(driver_module, "receive", receive)
    agents(2, silent_seconds=1.5)
    assert clustered(tiny, tmp_path, *LONGER).complete
    assert slow and all("revoke" not in line.calls for line in Threads.made)


def test_what_agents_hold_when_the_disk_is_full_is_taken_over_by_another_plan(
    tiny, tmp_path, agents, local, monkeypatch
):
    received = []

    def receive(*arguments):
        received.append(arguments)
        if len(received) == 4:
            raise StoreError(Problem("cannot write the store: no space left on device"))
        return shipped(*arguments)

    shipped = driver_module.receive
    monkeypatch.setattr(driver_module, "receive", receive)
    made = agents(2)
    with pytest.raises(StoreError, match="no space left"):
        clustered(tiny, tmp_path, *LONGER)
    holding = [line for line in made if not line.ended]
    assert holding  # they keep what they have
    Threads.made = [*holding, *(ThreadLine("machine9/1") for _ in range(2 - len(holding)))]
    # With a third seed, the plan has other stacks.
    result = clustered(tiny, tmp_path, *LONGER, "seeds=3", "model.d_model=16,8")
    assert result.complete
    assert any("rename" in line.calls for line in holding)
    found, expected = metrics(tmp_path / "lab"), local(*LONGER)
    runs = expected["run"].unique()
    assert found.filter(pl.col("run").is_in(runs)).select(expected.columns).equals(expected)
    assert sound(tmp_path / "lab").problems == []


def test_an_agent_of_another_command_is_left_alone(tiny, tmp_path, agents):
    made = agents(2)
    made[0].agent._command = "other"

    def live(index):
        return {"other"}

    with mock.patch.object(roster_module, "live_owners", live):
        assert clustered(tiny, tmp_path).complete
    assert set(made[0].calls) == {"hello"} and not made[0].ended


def test_an_agent_obeys_one_command():
    thread = Agent(None)
    try:
        assert thread.engage("one", "") and not thread.engage("two", "")
        with pytest.raises(OtherCommandError):
            thread.obey("two", "pause")
        assert thread.engage("two", "one")
    finally:
        thread.close()
