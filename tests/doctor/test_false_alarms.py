"""Right models that the doctor once called wrong, and bugs beside them that it still finds."""

import pytest

import ablab
from ablab.doctor.check import NotApplicable
from ablab.doctor.checks import methods, stack
from ablab.doctor.patient import Patient

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


@pytest.mark.parametrize("optimizer", ["torch.optim:NAdam", "adamw"])
def test_an_optimizer_that_trains_one_run_at_a_time_is_no_bug(optimizer):
    asked = {
        "name": "alone", "task": {"kind": "addition", "n_digits": 1},
        "model": {"d_model": 8, "n_heads": 2},
        "train": {"steps": 10, "batch_size": 8, "optimizer": optimizer},
    }  # fmt: skip
    patient = Patient(ablab.experiment(asked).runs[0], False)
    if optimizer == "adamw":
        assert stack.stack(patient) == []
    else:
        with pytest.raises(NotApplicable, match="trains one run at a time"):
            stack.stack(patient)
    assert methods.methods(patient) == []


@pytest.mark.parametrize(("thoughts", "evaluated", "is_fault"), [(3, 0, False), (0, None, True)])
def test_what_only_training_uses_gets_a_gradient(thoughts, evaluated, is_fault):
    asked = {
        "name": "thoughts", "task": {"kind": "copy", "length": 4},
        "model": {"kind": "thinker", "n_thoughts": thoughts, "eval_thoughts": evaluated},
        "train": {"steps": 10, "batch_size": 8},
    }  # fmt: skip
    (outcome,) = ablab.doctor(ablab.experiment(asked), checks=["gradients"]).outcomes
    messages = [each.message for each in outcome.findings]
    assert ("parameters get no gradient" in messages) is is_fault


def test_a_text_of_few_frequent_characters_is_no_bug(tmp_path):
    digits = "".join(str(n * n % 10) + str(n % 7) for n in range(4000))
    (tmp_path / "digits.txt").write_text(digits)
    asked = {
        "name": "digits",
        "task": {"kind": "text", "corpus": str(tmp_path / "digits.txt"), "seq_len": 8},
        "model": {"kind": "bigram"}, "train": {"steps": 10, "batch_size": 8},
    }  # fmt: skip
    (outcome,) = ablab.doctor(ablab.experiment(asked), checks=["batches"]).outcomes
    assert outcome.status == "ok" and not outcome.findings


def test_tensors_that_are_drawn_and_not_registered_only_keep_runs_apart():
    asked = {
        "name": "plain", "task": {"kind": "addition", "n_digits": 1},
        "model": {"kind": "tests.train.my_plain_tensors:Projects"},
        "train": {"steps": 10, "batch_size": 8},
    }  # fmt: skip
    patient = Patient(ablab.experiment(asked).runs[0], False)
    assert stack.stack(patient) == [] == methods.methods(patient)
    (note,) = patient.notes("stack")
    assert "each run trains alone: tensor" in note and "projection" in note
