"""An interrupt after training, while the analyses that follow it are made."""

import signal
from contextlib import nullcontext

import pytest

import ablab
from tests.cli.command import run_command

ANALYSIS = '''
import pathlib, signal
from ablab.analysis.analysis import analysis
from ablab.analysis.finding import Finding

@analysis("slow", question="Which?", inputs=["model"], cost="none")
def slow(subject, settings):
    """Is interrupted the first time."""
    if not pathlib.Path("seen").exists():
        pathlib.Path("seen").touch()
        signal.raise_signal(signal.SIGINT)
    return Finding({"one": 1.0})
'''
ASKED = """
name: interrupted
task: {kind: addition, n_digits: 1}
model: {n_layers: 1, d_model: 8, n_heads: 2}
train: {steps: 4, batch_size: 8, evaluate: {samples: 8}, snapshots: {every: 1}}
analyze: ["mine:slow"]
seeds: 2
"""


@pytest.fixture
def asked(folder):
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder.write({"asked.yaml": ASKED, "mine.py": ANALYSIS})
    yield "asked.yaml"
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_result_is_not_complete_and_the_same_call_goes_on(asked, capsys):
    result = ablab.run(asked, store="lab")
    assert not result.complete
    assert {run.status for run in result.runs} == {"finished"}
    said = "interrupted during the analyses: 2 finished"
    assert f"{said}. What is analyzed is kept; the same call goes on" in capsys.readouterr().err
    assert f"{said}; run it again to go on" in str(result.shown())
    assert ablab.run(asked, store="lab").complete


def test_the_command_ends_with_130(asked):
    code, _, error = run_command("run", asked, "--quiet")
    assert code == 130
    assert "interrupted; run the same command again to continue" in error
    assert run_command("run", asked, "--quiet")[0] == 0


def test_where_nothing_was_trained_the_warning_says_so(asked, capsys, monkeypatch):
    monkeypatch.setattr("ablab.api.pausing_on_interrupt", lambda: nullcontext(lambda: True))
    assert not ablab.run(asked, store="lab").complete
    said = "interrupted: 2 planned. Nothing is trained yet; the same call trains it."
    assert said in capsys.readouterr().err


def test_without_a_question_the_heading_is_the_name(asked):
    result = ablab.run(asked, store="lab", analyze=[])
    shown = [result, result.experiment, result.record]
    assert [each.shown().title for each in shown] == ["interrupted"] * 3
    assert str(result.experiment).startswith("interrupted\n")
