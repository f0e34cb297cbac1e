"""Checks of a user's own: beside ablab's, and what they lack."""

import pytest

import ablab
from ablab.config import InputError
from ablab.doctor.check import CHECKS
from tests.cli.command import run_command

ASKED = {
    "name": "checked",
    "task": {"kind": "addition", "n_digits": 1},
    "model": {"n_layers": 1, "d_model": 8, "n_heads": 2},
}
HEAD = "from ablab.doctor.check import *\n\n"
WIDE = HEAD + (
    '@check("wide", part="model", claim="a model is wide")\n'
    "def mine(patient):\n"
    "    width = patient.run.model.d_model\n"
    "    return [] if width > 8 else [Finding('it is narrow', f'width {width}', 'Widen it.')]\n"
)


def examined(folder, source, *overrides, checks=("mine:mine",)):
    folder.write(mine=source)
    return ablab.doctor(ASKED, *overrides, checks=list(checks))


def test_it_finds_and_is_not_registered(folder):
    report = examined(folder, WIDE, "model.d_model=8,16")
    found = {outcome.variants: len(outcome.findings) for outcome in report.outcomes}
    assert found == {("model.d_model=8",): 1, ("model.d_model=16",): 0}
    assert not report.healthy
    assert "wide" not in CHECKS.names()


def test_it_runs_beside_others(folder):
    report = examined(folder, WIDE, checks=("mine:mine", "causality", "batches"))
    assert [each.check for each in report.outcomes] == ["batches", "causality", "mine:mine"]


@pytest.mark.parametrize(
    ("source", "message", "line"),
    [
        ("def mine(patient): return []", "mine:mine is not a check", "@check("),
        (
            WIDE.replace("(patient)", "()"),
            "cannot be called with patient",
            "def my_check(patient):",
        ),
        (WIDE.replace('"model"', '"modle"'), "is of no part", "task or model"),
        ("", "has no 'mine'", ""),
    ],
)
def test_what_it_lacks(folder, source, message, line):
    with pytest.raises(InputError) as caught:
        examined(folder, source)
    assert message in str(caught.value)
    assert line in str(caught.value)


def test_one_that_raises_is_a_finding_with_its_line(folder):
    report = examined(folder, WIDE.replace("d_model", "d_modle"))
    (outcome,) = report.outcomes
    assert outcome.raised
    assert "mine.py, line 5, in mine" in outcome.findings[0].evidence
    assert "The check, the model or the task raises" in outcome.findings[0].cause


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ("None", "None"),
        ("()", "an object of type tuple"),
        ("(each for each in ())", "an object of type generator"),
        ("['narrow']", "a list with an object of type str"),
    ],
)
def test_one_that_returns_no_list_is_a_finding_beside_the_others(folder, returned, told):
    source = WIDE.replace("return []", f"return {returned}").replace("> 8", "> 4")
    report = examined(folder, source, checks=("mine:mine", "causality"))
    causal, outcome = sorted(report.outcomes, key=lambda each: each.check)
    assert (causal.check, causal.findings) == ("causality", ())
    assert outcome.raised
    (found,) = outcome.findings
    assert found.message == "the check failed: it returns no list of findings"
    assert found.evidence == f"it returns {told}"


def test_an_object_that_can_be_called_and_raises_is_a_finding(folder):
    source = HEAD + (
        "class Mine:\n"
        "    def __call__(self, patient):\n"
        "        raise ValueError('no such thing')\n\n"
        'mine = check("mine", part="model", claim="there is such a thing")(Mine())\n'
    )
    (outcome,) = examined(folder, source).outcomes
    assert outcome.raised
    assert outcome.findings[0].evidence == "no such thing (mine.py, line 5, in __call__)"


def test_an_unknown_name_says_what_there_is(folder):
    folder.write(mine=WIDE)
    code, _, error = run_command("doctor", "addition", "--check", "causalty")
    assert code == 2
    assert "did you mean causality?" in error
    assert "or an import path module:name" in " ".join(error.split())
