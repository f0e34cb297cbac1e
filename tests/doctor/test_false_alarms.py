"""Right models that the doctor once called wrong, and bugs beside them that it still finds."""

import pytest

import ablab

PARTS = "tests.doctor.healthy_parts:"
CHECKS = ["layers", "tables", "attention"]


@pytest.mark.parametrize("name", ["Plain", "Axial", "Segments", "Chunked"])
def test_right_models_have_no_findings(name):
    found = ablab.doctor(f"{PARTS}{name}", checks=CHECKS)
    assert [each for each in found.outcomes if each.findings] == []


@pytest.mark.parametrize(
    ("name", "message"),
    [("LinearMlp", "an MLP is linear"), ("Clamped", "some positions have the same vector")],
)
def test_bugs_beside_them_are_found(name, message):
    found = ablab.doctor(f"{PARTS}{name}", checks=CHECKS)
    assert message in {finding.message for each in found.outcomes for finding in each.findings}


@pytest.mark.parametrize("evaluated", [None, 3])
def test_thoughts_that_are_asked_for_in_evaluation_are_no_bug(evaluated):
    asked = {
        "name": "thoughts", "task": {"kind": "copy", "length": 4},
        "model": {"kind": "thinker", "n_thoughts": 1, "eval_thoughts": evaluated},
        "train": {"steps": 10, "batch_size": 8},
    }  # fmt: skip
    (outcome,) = ablab.doctor(ablab.experiment(asked), checks=["modes"]).outcomes
    assert not outcome.findings
    assert (outcome.status == "ok") is (evaluated is None)
