"""Agents that train for a command: the same results, whatever happens to them."""

import os
import signal
import time

import pytest
from safetensors.numpy import load_file

from ablab.execute.errors import ProcessError
from ablab.store.store import Store
from tests.execute.cluster.threads import NAME, ThreadLine, Threads, close_agents
from tests.store.makers import train
from tests.store.packing import metrics, sound
from tests.users_code import ASKED, HELPED, HELPER

LONGER = ["train.steps=200", "train.snapshots.every=25", "train.evaluate.every=100"]
_known = {}  # metrics by settings
PINNED = {"engine": "stack", "compile": "off"}


@pytest.fixture(autouse=True, scope="module")
def ended():
    """No process is left for the tests of other modules."""
    yield
    close_agents()


@pytest.fixture
def agents():
    """Makes agents for the executor of tests; they are ended afterwards."""

    def make(count=2, change=lambda line, method, answer: answer, **settings):
        Threads.made = [ThreadLine(f"machine{k}/1", change) for k in range(count)]
        for name, value in settings.items():
            setattr(Threads, name, value)
        return Threads.made

    yield make
    for line in Threads.made:
        line.end()
    Threads.made, Threads.silent_seconds = (), 60.0


@pytest.fixture
def local(tiny, tmp_path):
    """The metrics of the grid as this process trains it."""

    def find(*more):
        if more not in _known:
            train(tiny, tmp_path / "local", *more, executor="in_process", workers=2, **PINNED)
            _known[more] = metrics(tmp_path / "local")
        return _known[more]

    return find


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
            line.agent._process.popen.kill()
        return answer

    agents(1, change)
    assert clustered(tiny, tmp_path, *LONGER).complete
    assert metrics(tmp_path / "lab").equals(local(*LONGER))


def test_a_stopped_process_loses_its_claim_and_publishes_nothing(tiny, tmp_path, agents, local):
    stopped = []

    def change(line, method, answer):
        if method == "poll" and answer.sent is not None and not stopped:
            stopped.append(line.agent._process.popen.pid)
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
    from dataclasses import replace

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
