import importlib
import sys

import pytest

import ablab
from ablab.config import InputError
from ablab.doctor import doctor
from ablab.doctor.check import all_checks
from ablab.experiments import recipes
from tests.cli.command import run_command
from tests.doctor.planted_tasks import Sums

QUICK = {
    "addition": ["model.d_model=8", "model.n_heads=1"],
    "shakespeare-ladder": ["section=1 bigram,7 layer norm", "train.batch_size=32"],
    "shakespeare-nano": ["model.d_model=16", "model.n_layers=2", "task.seq_len=16"],
}

# With bugs on purpose, which tests/recipes has found.
BUGS = ("attention-norms-bugs", "thinker-permuted")
# Of 48 shapes, each setting in one at least; of a vocabulary of 20,319.
FEWER = {
    "attention-norms": [
        "model.attention.qk_activation=gelu", "model.attention.qk_norm=none,frobenius,rms",
        "model.attention.post_norm=none,rms",
    ],
    "attention-simulator": ["task.bpe_size=512"],
}  # fmt: skip

# One scale of initial weights for every width leaves the narrowest sure of wrong answers, as their
# recipes say.
STEEP = {
    "digit-addition-inside": ["width=4, model.n_heads=1", "width=4, model.n_heads=4"],
    "digit-addition-last": ["width=4, model.n_heads=1", "width=4, model.n_heads=4"],
    "digit-addition-tiny": ["shape=3/3", "shape=2/2", "shape=2/1", "shape=1/1"],
}


class BrokenSums(Sums):
    """Cannot be evaluated."""

    def held_out(self, samples):
        raise OSError("the file of answers is gone")


@pytest.mark.parametrize("recipe", QUICK)
def test_shipped_recipes_in_small_are_healthy(recipe, request):
    if recipe != "addition":
        request.getfixturevalue("tinyshakespeare")
    report = doctor(recipe, *QUICK[recipe])
    assert report.healthy, str(report)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", sorted({*recipes()} - {*BUGS}))
def test_shipped_recipes_are_healthy(recipe, tinyshakespeare):
    report = doctor(recipe, *FEWER.get(recipe, []))
    found = {(check, variant) for check, _, variants in report.findings for variant in variants}
    assert found == {("initial_loss", variant) for variant in STEEP.get(recipe, [])}, str(report)


def test_variants_of_equal_shape_are_examined_once():
    told = []
    tree = {
        "name": "two-rates",
        "task": {"kind": "addition", "n_digits": 4},
        "model": {"d_model": 8},
        "grid": {"train.lr": [1e-3, 1e-2], "model.d_model": [4, 8]},
    }
    report = doctor(tree, checks=["stack", "split"], tell=told.append)
    assert len(told) == 2
    by_check = {}
    for outcome in report.outcomes:
        by_check.setdefault(outcome.check, []).append(outcome.variants)
    small = ("train.lr=0.001, model.d_model=4", "train.lr=0.01, model.d_model=4")
    assert by_check["stack"][0] == small
    assert len(by_check["stack"]) == 2
    assert [len(variants) for variants in by_check["split"]] == [4]


def test_a_check_that_raises_is_a_finding_and_the_others_go_on():
    report = doctor("tests.doctor.test_examine:BrokenSums")
    failed = {check for check, _, _ in report.findings}
    assert failed == {"split", "targets", "batches", "measures"}  # all read held-out samples
    check, finding, variants = next(each for each in report.findings if each[0] == "split")
    assert (check, variants) == ("split", ("base",))
    assert finding.message == "the check failed with OSError"
    assert "the file of answers is gone (test_examine.py, line" in finding.evidence


def test_a_model_that_does_not_run_is_asked_no_more():
    report = doctor("tests.doctor.planted_more:Raises")
    assert [check for check, _, _ in report.findings] == ["forward"]
    reasons = {each.check: each.reason for each in report.outcomes}
    assert reasons["stack"] == "the model does not run; see forward"
    assert reasons["split"] is None


def test_one_finding_in_several_variants_is_told_once():
    tree = {
        "name": "frozen",
        "task": {"kind": "addition", "n_digits": 4},
        "model": {"kind": "tests.doctor.planted_more:Unused"},
        "grid": {"model.d_model": [4, 8]},
    }
    report = doctor(tree)
    ((check, finding, variants),) = report.findings
    assert (check, variants) == ("gradients", ("model.d_model=4", "model.d_model=8"))
    text = str(report)
    assert "FINDING in 2 of 2" in text
    assert "in        model.d_model=4; model.d_model=8" in text
    assert f"evidence  {finding.evidence}" in text
    assert text.endswith("frozen: 1 finding")


def test_the_room_can_be_called_and_imported(monkeypatch):
    all_checks()  # so that every module of the room is there to come back to
    for name in [name for name in sys.modules if f"{name}.".startswith("ablab.doctor.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(ablab, "doctor")
    first = ablab.doctor
    assert first is not doctor and sys.modules["ablab.doctor"] is first
    report = importlib.import_module("ablab.doctor.report")
    assert ablab.doctor is first and first.report is report
    found = ablab.doctor("addition", *QUICK["addition"], checks=["forward"])
    assert isinstance(found, report.Report)


def test_named_checks_alone_are_made_the_tasks_first():
    report = doctor("addition", *QUICK["addition"], checks=["positions", "targets", "causality"])
    assert [outcome.check for outcome in report.outcomes] == ["targets", "causality", "positions"]
    assert report.healthy
    one = doctor("addition", *QUICK["addition"], checks="targets")
    assert one.outcomes == report.outcomes[:1]
    code, out, _ = run_command(
        "doctor", "addition", *QUICK["addition"], "--check", "positions", "--check", "targets",
        "--quiet",
    )  # fmt: skip
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    starts = [line.split()[0] for line in out.splitlines() if line and line[0] != " "]
    assert starts == ["targets", "positions", "addition:"]


def test_checks_that_do_not_exist_are_refused_before_anything_is_examined():
    told = []
    with pytest.raises(InputError, match=r"no check called 'sample'(.|\n)*did you mean samples"):
        doctor("addition", checks=["causality", "sample"], tell=told.append)
    with pytest.raises(InputError, match=r"no check is named(.|\n)*causality"):
        doctor("addition", checks=[], tell=told.append)
    code, _, err = run_command("doctor", "addition", "--check", "sample")
    assert code == 2 and "samples" in err
    assert told == []


def test_what_cannot_be_examined_is_refused():
    with pytest.raises(InputError, match="neither a model nor a task"):
        doctor("tests.helpers:make_run")
    with pytest.raises(InputError, match="has no 'Helthy'"):
        doctor("tests.doctor.planted:Helthy")
    with pytest.raises(InputError, match=r"model\.width is not a setting"):
        doctor("tests.doctor.planted:Healthy", "model.width=8")
    with pytest.raises(InputError, match="overrides cannot be applied"):
        doctor(ablab.experiment("addition"), "seeds=2")
