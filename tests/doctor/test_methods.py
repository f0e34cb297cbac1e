"""The doctor tries every method that a plan may choose, and says how far off each one is."""

import re

import pytest

from ablab.doctor import doctor
from ablab.doctor.check import CHECKS
from tests.interpreted import interpreted  # noqa: F401

MODULES = "tests.train.my_mixers"
TITLES = {
    "stack",
    "stack, compiled, batch innermost, 1 run a call",
    "stack, compiled, plain attention, 1 run a call",
}


def examined(name, samples=32):
    report = doctor(f"{MODULES}:{name}", f"train.batch_size={samples}", checks=["methods"])
    return report, report.outcomes[0]


@pytest.mark.usefixtures("compiles", "interpreted")
def test_every_method_is_tried_and_its_figures_are_shown():
    report, outcome = examined("Dropout")
    assert report.healthy
    assert {note.partition(":")[0] for note in outcome.notes} == TITLES
    for note in outcome.notes:
        assert re.search(r": agrees, loss \d\.\de.\d\d, gradient \d\.\de.\d\d relative", note)
        assert f"methods: {note}"[:60] in str(report)
    assert report.as_data()["checks"][0]["notes"] == list(outcome.notes)


@pytest.mark.usefixtures("compiles", "interpreted")
def test_a_method_that_differs_is_a_finding_with_its_cause():
    report, outcome = examined("OtherwiseAlone")
    assert not report.healthy
    (finding,) = outcome.findings
    assert finding.message == "a method of training differs from eager training"
    assert finding.evidence.count("batch innermost") == 1
    assert "plain attention" not in finding.evidence
    assert re.search(r"loss \d\.\de-0\d, gradient \d\.\de.0\d relative, where", finding.evidence)
    assert "traced from one pass" in finding.cause


@pytest.mark.usefixtures("compiles", "interpreted")
def test_samples_that_see_each_other_are_tried_in_one_piece():
    report, outcome = examined("CentredInTraining")
    assert report.healthy
    assert {note.partition(":")[0] for note in outcome.notes} == {
        "stack", "stack, compiled, plain attention, 1 run a call",
    }  # fmt: skip


@pytest.mark.usefixtures("compiles", "interpreted")
def test_a_batch_that_a_plan_would_split_is_tried_in_parts(monkeypatch):
    monkeypatch.setattr("ablab.execute.method_choice._UNSPLIT_BYTES", 0)
    monkeypatch.setattr("ablab.execute.method_choice._PART_TOKENS", 0)
    _, outcome = examined("Dropout", 64)
    assert "stack, compiled, batch innermost, 1 run a call, 32 samples a call: agrees" in str(
        outcome.notes
    )


@pytest.mark.usefixtures("compiles", "interpreted")
def test_without_a_rule_the_usual_layout_is_tried():
    _, outcome = examined("Recurrent")  # a plan knows that it cannot be stacked (decision 31)
    titles = [note.partition(":")[0] for note in outcome.notes]
    assert titles == ["solo, compiled, batch innermost", "solo, compiled, plain attention"]
    assert "NoRuleError: aten.mkldnn_rnn_layer" in outcome.notes[0]


@pytest.mark.usefixtures("compiles", "interpreted")
def test_a_method_that_raises_is_noted():
    report, outcome = examined("Recurrent")
    assert report.healthy
    assert "not used, because it fails: CompileError" in outcome.notes[0]
    assert "solo, compiled, plain attention: agrees, loss" in outcome.notes[1]


def test_why_runs_cannot_be_stacked_is_noted():
    report = doctor(f"{MODULES}:Recurrent", "train.batch_size=32", checks=["stack"])
    assert report.healthy
    (note,) = report.outcomes[0].notes
    assert "RuntimeError: Batching rule not implemented" in note


@pytest.mark.usefixtures("compiles", "interpreted")
def test_a_model_that_draws_with_torch_is_healthy_and_has_no_methods_to_try():
    report, outcome = examined("OwnDropout")
    assert report.healthy
    assert "draws from torch's generator" in outcome.reason


def test_a_model_with_state_has_no_methods_to_try():
    _, outcome = examined("InPlaceCache")
    assert "carries state from one pass to the next" in outcome.reason


@pytest.mark.usefixtures("compiles")
def test_other_shapes_of_a_kind_are_traced_and_say_so(monkeypatch):
    examined = []

    def examine(patient, checks, variants):
        examined.append(patient)
        return []

    monkeypatch.setattr("ablab.doctor.examine._examine", examine)
    tree = {
        "name": "two-shapes", "task": {"kind": "addition", "n_digits": 2},
        "model": {"kind": f"{MODULES}:Dropout"}, "train": {"batch_size": 32},
        "grid": {"model.width": [4, 8]},
    }  # fmt: skip
    doctor(tree)
    shapes = list(dict.fromkeys(examined))
    assert [each.compiles for each in shapes] == [True, False]
    monkeypatch.setattr(
        "ablab.model.torch_internals.compile_graph", lambda *_: pytest.fail("it compiles")
    )
    assert CHECKS.find("methods", "check").examine(shapes[1]) == []
    assert "1 run a call (traced only): agrees, loss" in str(shapes[1].notes("methods"))
