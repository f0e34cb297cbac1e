"""Commands that write files or check models, in a terminal of 80 and of 120 columns."""

import json

import pytest

from tests.cli.command import run_command

pytest.importorskip("pty", reason="there are no pseudo-terminals on this system")

from tests.cli.terminal import in_terminal
from tests.store.makers import train

NAME = "an-experiment-with-a-rather-long-name"
ASKED = {
    "name": NAME,
    "question": "Does an experiment with long labels fit in 80 columns?",
    "task": {"kind": "addition", "n_digits": 1},
    "model": {"d_model": 4, "n_heads": 1},
    "train": {"steps": 6, "batch_size": 8, "evaluate": {"every": 3, "samples": 16}},
    "grid": {
        "normalization": {
            "without any normalization at all": {"model.norm": "none"},
            "größer als – RMS": {"model.norm": "rms"},
        }
    },
}
WIDTHS = pytest.mark.parametrize("columns", [80, 120])


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    made = tmp_path_factory.mktemp("a-folder-whose-name-is-so-long-that-it-fills-a-line") / "lab"
    train(ASKED, made, engine="solo", compile="off")
    return made


def fits(shown, columns, exempt=()):
    """Whether all lines fit, other than those with a path, which is not broken."""
    wide = [line for line in shown.lines if len(line) > columns]
    assert all(any(str(part) in line for part in exempt) for line in wide), wide
    assert "Warning" not in shown.text
    return True


def one_run(lab):
    code, out, _ = run_command("runs", "--store", str(lab), "--json", "--quiet")
    assert code == 0
    return json.loads(out)[0]["run"]


@WIDTHS
def test_logbook(lab, columns):
    shown = in_terminal(columns, "logbook", NAME, "--store", str(lab))
    assert shown.code == 0 and fits(shown, columns, [lab])
    (entry,) = (lab / "logbook").glob(f"*-{NAME}")
    assert f"{NAME}: {entry / 'index.html'}" in shown.text
    assert (entry / "index.html").is_file()


@WIDTHS
def test_note(lab, columns):
    shown = in_terminal(
        columns, "note", NAME, f"At {columns} columns: größer.", "--store", str(lab)
    )
    assert shown.code == 0 and fits(shown, columns, [lab])
    (entry,) = (lab / "logbook").glob(f"*-{NAME}")
    assert f"added to {entry / 'index.html'}" in shown.text
    assert f"At {columns} columns: größer." in (entry / "entry.md").read_text(encoding="utf-8")


@WIDTHS
def test_export(lab, columns, tmp_path):
    to = tmp_path / f"metrics-{columns}.csv"
    shown = in_terminal(
        columns, "export", NAME, "--to", "csv", "--out", str(to), "--store", str(lab)
    )
    assert shown.code == 0 and fits(shown, columns, [to])
    assert str(to) in shown.text and "2 runs" in shown.text
    assert to.read_text(encoding="utf-8").count("\n") == 1 + 2 * 7  # steps 0 to 6 of two runs


@WIDTHS
def test_replay(lab, columns):
    run = one_run(lab)
    shown = in_terminal(
        columns, "replay", run, "--steps", "2:4", "--watch", "grad/*/rms", "--store", str(lab)
    )
    assert shown.code == 0 and fits(shown, columns)
    assert run in shown.text and "all 3 are equal to the stored ones" in shown.text


@WIDTHS
def test_metrics(lab, columns):
    run = one_run(lab)
    arguments = ["metrics", run, "--columns", "train_loss", "--store", str(lab)]
    shown = in_terminal(columns, *arguments)
    assert shown.code == 0 and fits(shown, columns)
    rows = [line.split(",") for line in shown.lines if line.startswith(run)]
    code, out, _ = run_command(*arguments, "--json", "--quiet")
    assert code == 0
    expected = [(str(row["step"]), row["train_loss"]) for row in json.loads(out)]
    found = [(step, float(loss) if loss else None) for *_, step, loss in rows]
    assert found == expected


@WIDTHS
def test_metrics_of_an_experiment_are_lines_of_data(lab, columns):
    shown = in_terminal(columns, "metrics", NAME, "--store", str(lab))
    assert shown.code == 0
    rows = [line for line in shown.lines if line.count(",") > 4]
    assert len({row.count(",") for row in rows}) == 1, "a row is one line, however long"
    assert any("größer als – RMS" in row for row in rows)


@WIDTHS
@pytest.mark.parametrize(("name", "code"), [("TanhMasked", 0), ("TanhUnmasked", 1)])
def test_doctor(columns, name, code):
    arguments = ["doctor", f"tests.doctor.planted:{name}", "--check", "causality"]
    shown = in_terminal(columns, *arguments)
    assert shown.code == code and fits(shown, columns)
    told, out, _ = run_command(*arguments, "--json", "--quiet")
    assert told == code
    (check,) = json.loads(out)["checks"]
    assert check["check"] in shown.text and check["claim"] in shown.text
    assert len(check["findings"]) == code
    for finding in check["findings"]:
        for part in ("message", "evidence", "cause"):
            assert set(finding[part].split()) <= set(shown.text.split())
