"""Findings that are meant: they are shown with their reason, and the exit code is 0."""

import json

import pytest

import ablab
from ablab.config import InputError
from ablab.doctor.meant import meant_options
from ablab.experiments import experiment
from tests.cli.command import run_command
from tests.doctor.planted_tasks import Sums

MODELS = "tests.doctor.planted:"
ASKED = {
    "name": "both",
    "task": {"kind": "addition", "n_digits": 2, "target": "all"},
    "model": {"kind": MODELS + "LinearUnmasked"},
    "grid": {"model.kind": [MODELS + "Healthy", MODELS + "LinearUnmasked"]},
}
UNMASKED = f"model.kind={MODELS}LinearUnmasked"
CAUSALITY = ["causality"]


class RaisesInHeldOut(Sums):
    """Cannot be evaluated."""

    def held_out(self, samples):
        raise OSError("gone")


def test_without_a_word_it_is_a_finding():
    report = ablab.doctor(ASKED, checks=CAUSALITY)
    assert not report.healthy and report.meant == [] and report.not_found == ()


@pytest.mark.parametrize("key", ["causality", f"causality:{UNMASKED}"])
def test_a_finding_that_is_meant_is_shown_with_its_reason(key):
    report = ablab.doctor(ASKED, checks=CAUSALITY, meant={key: "it reads both ways"})
    assert report.healthy and report.findings == []
    ((check, finding, variants, reason),) = report.meant
    assert (check, variants, reason) == ("causality", (UNMASKED,), "it reads both ways")
    assert finding.message in str(report) and "meant     it reads both ways" in str(report)
    assert "no problems found (1 meant)" in str(report)
    statuses = {each["status"] for each in report.as_data()["checks"]}
    assert statuses == {"ok", "meant"}


def test_another_check_or_cell_is_still_a_finding():
    other = ablab.doctor(ASKED, checks=["causality", "samples"], meant={"samples": "why not"})
    assert [check for check, *_ in other.findings] == ["causality"]
    assert other.not_found == ("samples",)
    elsewhere = {f"causality:model.kind={MODELS}Healthy": "why not"}
    report = ablab.doctor(ASKED, checks=CAUSALITY, meant=elsewhere)
    assert not report.healthy and report.not_found == tuple(elsewhere)
    assert "remove it" in str(report)


def test_of_variants_of_one_shape_only_those_named_are_meant():
    asked = ASKED | {"grid": {"train.lr": [0.1, 0.2]}}
    report = ablab.doctor(asked, checks=CAUSALITY, meant={"causality:train.lr=0.1": "yes"})
    assert [variants for _, _, variants in report.findings] == [("train.lr=0.2",)]
    assert [variants for _, _, variants, _ in report.meant] == [("train.lr=0.1",)]


def test_a_check_that_did_not_run_is_not_called_superfluous():
    report = ablab.doctor(ASKED, checks=["samples"], meant={"causality": "yes"})
    assert report.healthy and report.not_found == ()


def test_an_error_is_never_meant():
    asked = {"name": "x", "task": {"kind": f"{__name__}:RaisesInHeldOut"}}
    report = ablab.doctor(asked, checks=["split"], meant={"split": "no split"})
    assert not report.healthy and report.findings[0][1].message == "the check failed with OSError"


@pytest.mark.parametrize(
    ("meant", "message"),
    [
        ({"causalty": "x"}, "did you mean causality"),
        ({"forward": "x"}, "forward cannot be meant"),
        ({"causality": ""}, "meant has a wrong entry"),
        ({"causality": None}, "meant has a wrong entry"),
        ({"causality:": "x"}, "meant has a wrong entry"),
        ({"causality:model.knd=x": "x"}, "did you mean model.kind"),
    ],
)
def test_wrong_entries_are_errors(meant, message):
    with pytest.raises(InputError, match=message):
        ablab.doctor(ASKED, checks=CAUSALITY, meant=meant)


def test_the_option_is_read_up_to_its_reason():
    texts = ["causality=a = b", "norms:model.kind=m:K,train.lr=0.1=so, it = meant"]
    assert meant_options(texts) == {
        "causality": "a = b",
        "norms:model.kind=m:K,train.lr=0.1": "so, it = meant",
    }
    with pytest.raises(InputError, match="--meant has a wrong value"):
        meant_options(["causality"])


def test_the_exit_code_can_gate_a_grid(tmp_path):
    path = tmp_path / "both.yaml"
    path.write_text(json.dumps(ASKED))
    check = ["doctor", str(path), "--check", "causality", "--quiet", "--json"]
    assert run_command(*check)[0] == 1
    code, out, _ = run_command(*check, "--meant", f"causality:{UNMASKED}=both ways")
    assert code == 0
    assert [each["reason"] for each in json.loads(out)["meant"]] == ["both ways"]
    path.write_text(json.dumps(ASKED | {"meant": {"causality": "both ways"}}))
    assert run_command(*check)[0] == 0
    assert run_command(*check, "--meant", "causality")[0] == 2


def test_what_is_meant_is_kept_and_changes_no_run(tiny):
    plain, asked = experiment(tiny), experiment(tiny | {"meant": {"samples": "they do"}})
    assert [run.id for run in asked.runs] == [run.id for run in plain.runs]
    assert asked.digest == plain.digest
    assert experiment(asked.definition).meant == {"samples": "they do"}
    assert "meant" not in plain.definition
    with pytest.raises(InputError, match="meant is not a mapping of reasons"):
        experiment(tiny | {"meant": ["samples"]})
