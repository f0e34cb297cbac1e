import json

from tests.cli.command import run_command
from tests.doctor.examined import UNCOMPILED


def test_a_healthy_experiment_ends_with_zero():
    code, out, err = run_command(
        "doctor", "addition", "model.d_model=8", "model.n_heads=1,2",
        *(part for name in UNCOMPILED for part in ("--check", name)),
    )  # fmt: skip
    assert code == 0
    assert out.endswith("addition: no problems found\n")
    assert "examining model.n_heads=2 …" in err


def test_a_finding_ends_with_one_and_is_one_json_document():
    path = "tests.doctor.planted:NoPositions"
    code, out, err = run_command("doctor", path, "--json", "--quiet")
    data = json.loads(out)
    assert (code, err) == (1, "")
    assert (data["subject"], data["healthy"]) == (path, False)
    (finding,) = data["findings"]
    assert finding["check"] == "positions"
    statuses = {each["check"]: each["status"] for each in data["checks"]}
    assert (statuses["positions"], statuses["samples"]) == ("finding", "ok")


def test_wrong_input_ends_with_two():
    code, out, err = run_command("doctor", "adition")
    assert (code, out) == (2, "")
    assert "did you mean addition?" in err
