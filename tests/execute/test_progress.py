"""What is shown of an experiment while it is trained."""

import pytest
import torch

import ablab
from ablab.config.progress import showing
from ablab.execute.options import Options
from ablab.execute.orchestrate import orchestrate
from ablab.execute.progress import Reporter
from ablab.execute.status import QuietStatus
from ablab.train.compiling import compile_program, traces_only


class Recorded(QuietStatus):
    """Keeps what it is asked to show."""

    def __init__(self):
        self.shown = []
        self.said = []

    def show(self, activity):
        self.shown.append(activity)

    def message(self, text):
        self.said.append(text)

    tell = warn = message


@pytest.fixture
def reported():
    """A reporter of two stacks, the second and the fifth of a plan, and its display."""
    status = Recorded()
    reporter = Reporter(status)
    left = {"a": 100, "b": 100, "c": 200}
    labels = {"a": "model.d_model=8", "b": "model.d_model=8", "c": "model.d_model=16"}
    reporter.start(left, left, labels, {1: 20.0, 4: 0.0}, lambda: 90.0 if reporter.done else None)
    return reporter, status


def test_a_stack_is_named_with_what_happens_to_it(reported):
    reporter, status = reported
    reporter.event({"event": "claimed", "stack": 1, "ids": ["a", "b"]})
    assert status.shown[-1] == ["training 0%", "stack 1 of 2: starting", "model.d_model=8 (2 runs)"]
    reporter.event({"event": "activity", "stack": 1, "text": "compiling"})
    assert status.shown[-1][1] == "stack 1 of 2: compiling (about 20 s)"
    reporter.event({"event": "activity", "stack": 1, "text": "evaluating"})
    assert status.shown[-1][1] == "stack 1 of 2: evaluating"
    reporter.event({"event": "activity", "stack": 1, "text": None})
    progress = {"event": "progress", "stack": 1, "step": 50, "runs": 2, "ids": ["a", "b"]}
    reporter.event(progress | {"loss": 1.23456})
    assert status.shown[-1][0] == "training 25%"  # 2 × 50 of 400 steps
    assert status.shown[-1][1] == "1 min 30 s left"
    assert status.shown[-1][2] == "stack 1 of 2: step 50 of 100, loss 1.2346"


def test_stacks_of_several_processes_are_shown_together(reported):
    reporter, status = reported
    reporter.event({"event": "claimed", "stack": 1, "ids": ["a", "b"]})
    reporter.event({"event": "claimed", "stack": 4, "ids": ["c"]})
    reporter.event({"event": "activity", "stack": 4, "text": "compiling"})
    assert status.shown[-1] == [
        "training 0%", "stack 1 of 2: starting", "stack 2 of 2: compiling"
    ]  # fmt: skip
    reporter.event({"event": "released", "stack": 1})
    reporter.event({"event": "activity", "stack": 1, "text": None})  # late, and harmless
    assert status.shown[-1][1] == "stack 2 of 2: compiling"


def test_warnings_are_said_and_the_end_is_told(reported):
    reporter, status = reported
    reporter.event({"event": "failed", "run": "c", "error": "no"})
    reporter.event({"event": "ended", "ids": ["a", "b", "c"]})
    reporter.close()
    assert status.said[0] == "run c failed: no"
    assert status.said[1].startswith("training 100%, ")
    assert status.shown[-1] is None


def test_every_part_of_a_run_says_what_it_does(tmp_path, tiny):
    status = Recorded()
    options = Options(workers=1, compiling="off")
    with showing(status.show):
        orchestrate(
            ablab.experiment(tiny), tmp_path / "lab", options, "", Reporter(status), lambda: False
        )
    said = [text if isinstance(text, str) else " | ".join(text or []) for text in status.shown]
    wanted = ["checking the experiment", "planning", "measuring steps of", "evaluating",
              "step 20 of 20", "tidying the store"]  # fmt: skip
    places = [next(n for n, text in enumerate(said) if part in text) for part in wanted]
    assert places == sorted(places)


def test_compiling_is_said():
    shown = []
    with showing(shown.append), traces_only():
        compile_program(lambda x: {"y": x + 1}, [torch.zeros(2)])
    assert shown == ["compiling", None]
