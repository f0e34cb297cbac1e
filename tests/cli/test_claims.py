"""``ablab claims`` as a command."""

import json

import pytest

from tests.cli.command import run_command

RECIPE = """
question: Does it?
logbook: little
task: {kind: addition, n_digits: 1}
model: {d_model: 4, n_heads: 1}
train: {steps: 12, batch_size: 8}
sizes:
  quick: {about: trains one seed}
  full: {about: trains two, set: {seeds: 2}}
expect:
  - claim: it is not right at once
    figure: log 10
    measure: final(loss)
    within: [1.5, 3.5]
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "little.yaml"
    path.write_text(RECIPE)
    return path


def test_claims_are_run_and_told(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")  # so that each cell is on one line
    store = str(tmp_path / "lab")
    code, out, _ = run_command("claims", str(recipe), "--store", store)
    assert code == 0
    assert "not run" in out
    assert not (tmp_path / "lab").exists()
    page = tmp_path / "page.md"
    arguments = (str(recipe), "--store", store, "--quiet", "--engine", "solo", "--compile", "off")
    code, out, _ = run_command("claims", "--run", "--write", str(page), *arguments)
    assert code == 0
    assert "held" in out
    assert "1 claim: 1 held" in out
    assert "tested: between 1.5 and 3.5" in out
    assert "trains one seed" in page.read_text()
    _, out, _ = run_command("claims", "--json", *arguments)
    found = json.loads(out)
    (one,) = found["recipes"]
    assert (one["recipe"], one["size"], one["runs"]) == ("little", "quick", 1)
    assert one["claims"][0]["figure"] == "log 10"
    assert one["claims"][0]["outcome"] == "held"
    _, out, _ = run_command("claims", "--json", "--size", "full", *arguments)
    assert json.loads(out)["recipes"][0]["claims"][0]["outcome"] == "not run"


def test_a_wrong_name_or_size_is_an_error(recipe, tmp_path):
    store = str(tmp_path / "lab")
    code, _, err = run_command("claims", str(recipe), "--size", "ful", "--store", store)
    assert code == 2
    assert "did you mean full" in err
    assert run_command("claims", "additon", "--store", store)[0] == 2


def test_what_cannot_be_run_here_is_said_and_the_rest_goes_on(recipe, tmp_path):
    gone = tmp_path / "gone.yaml"
    gone.write_text(
        RECIPE.replace("{kind: addition, n_digits: 1}", "{kind: text, corpus: gone.txt}")
    )
    arguments = ("claims", str(gone), str(recipe), "--store", str(tmp_path / "lab"))
    code, out, err = run_command(*arguments, "--run", "--quiet", "--engine", "solo")
    assert code == 0
    assert "gone cannot be run here: task.corpus: no corpus and no file called 'gone.txt'" in err
    assert "2 claims: 1 held, 1 not run" in out
    code, out, err = run_command(*arguments, "--json")
    assert (code, err) == (0, "")
    assert [each["lacking"] for each in json.loads(out)["recipes"]] == [None, None]


def test_results_are_written_to_ship_without_a_store_too(tmp_path):
    path = tmp_path / "claims.json"
    store = str(tmp_path / "lab")
    code, out, _ = run_command("claims", "thinker-roll", "--ship", str(path), "--store", store)
    assert code == 0
    assert "There is no store" not in out
    (written,) = json.loads(path.read_text())["recipes"]
    assert written["recipe"] == "thinker-roll"
    assert {claim["state"] for claim in written["claims"]} == {"not run"}
