import pytest

from ablab.execute.cost import count_cost
from ablab.experiments import experiment
from ablab.train.mixing import Mixing, batch_mixing
from tests.doctor.examined import findings_of

HERE = "tests.train.my_mixers"


def run_of(name):
    tree = {
        "name": "mixer",
        "task": {"kind": "addition", "n_digits": 2},
        "model": {"kind": f"{HERE}:{name}"},
        "train": {"steps": 10, "batch_size": 16},
    }
    return experiment(tree).runs[0]


@pytest.mark.parametrize(
    ("name", "training", "evaluation"),
    [
        ("Plain", False, False),
        ("Dropout", False, False),
        ("OwnDropout", False, False),
        ("SinglePrecision", False, False),
        ("CentredInTraining", True, False),
        ("CentredInEvaluation", False, True),
        ("ScaledBySize", True, True),
        ("OwnDropoutCentred", True, False),
        ("LeadsAndFollows", None, None),
    ],
)
def test_samples_that_see_each_other_are_found_in_both_modes(name, training, evaluation):
    run = run_of(name)
    found = batch_mixing(run)
    assert found == Mixing(training, evaluation, stateful=name == "LeadsAndFollows")
    assert found.possible == (training is not False or evaluation is not False)
    cost = count_cost(run)
    assert (cost.mixes_samples, cost.stateful) == (found.possible, found.stateful)


@pytest.mark.parametrize(
    ("name", "evidence"),
    [
        ("CentredInTraining", "in training mode only"),
        ("CentredInEvaluation", "in evaluation mode only"),
        ("OwnDropoutCentred", "in training mode only"),
        ("ScaledBySize", "or fewer"),
    ],
)
def test_the_doctor_finds_what_the_plan_finds(name, evidence):
    (finding,) = findings_of("samples", f"{HERE}:{name}")
    assert finding.message == "samples of a batch see each other"
    assert evidence in finding.evidence


@pytest.mark.parametrize("name", ["Plain", "Dropout", "OwnDropout"])
def test_the_doctor_finds_nothing_where_the_plan_finds_nothing(name):
    assert findings_of("samples", f"{HERE}:{name}") == []
