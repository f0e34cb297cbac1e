"""Commands that read results take the YAML file of the experiment as well as its name."""

import json

import pytest

from tests.cli.command import run_command
from tests.store.makers import train_and_write

READING = [
    ["runs"],
    ["read"],
    ["metrics", "--columns", "eval_loss"],
    ["effects", "--measure", "final(eval_loss)"],
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A store with an experiment, and its file under another name."""
    folder = tmp_path_factory.mktemp("by_file")
    asked = {
        "name": "widths", "task": {"kind": "addition", "n_digits": 2},
        "model": {"d_model": 8, "n_heads": 2}, "train": {"steps": 4, "batch_size": 8},
        "grid": {"model.n_heads": [1, 2]}, "seeds": 2,
    }  # fmt: skip
    train_and_write(asked, folder / "lab")
    (folder / "heads.yaml").write_text(json.dumps(asked))
    (folder / "widths.yml").write_text(
        json.dumps({key: asked[key] for key in asked if key != "name"})
    )
    return folder


def told(lab, command, target):
    name, *options = command
    code, out, err = run_command(name, str(target), *options, "--store", str(lab / "lab"), "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.mark.parametrize("command", READING, ids=lambda each: each[0])
@pytest.mark.parametrize("file", ["heads.yaml", "widths.yml"])
def test_a_file_stands_for_the_name_in_it(lab, command, file):
    found = told(lab, command, lab / file)
    assert found and found == told(lab, command, "widths")


def test_commands_that_write_take_files(lab, tmp_path):
    file, store = str(lab / "heads.yaml"), ("--store", str(lab / "lab"))
    for arguments in (
        ("note", file, "a note"),
        ("logbook", file),
        ("pack", file, "--to", str(tmp_path / "sent.zip")),
        ("export", file, "--to", "csv", "--out", str(tmp_path / "out.csv")),
    ):
        code, _, err = run_command(*arguments, *store)
        assert code == 0, err
    code, _, err = run_command("compare", file, str(lab / "widths.yml"), *store)
    assert code == 2 and "widths" in err  # an experiment is not compared with itself
    assert (tmp_path / "sent.zip").is_file() and (tmp_path / "out.csv").is_file()


def test_a_file_that_is_damaged_or_not_stored_is_told(lab):
    (lab / "broken.yaml").write_text("name: [widths")
    (lab / "other.yaml").write_text("{name: other}")
    for target, expected in (
        ("broken.yaml", "not valid YAML"),
        ("other.yaml", "no experiment called 'other'"),
        ("missing.yaml", "missing.yaml"),
    ):
        code, out, err = run_command("effects", str(lab / target), "--store", str(lab / "lab"))
        assert (code, out) == (2, "") and expected in err
        assert "Traceback" not in err


def test_expectations_of_a_file_are_listed_by_its_name(lab):
    store = ("--store", str(lab / "lab"))
    sentence = "final(eval_loss) falls with model.n_heads"
    code, _, err = run_command("expect", "widths", sentence, *store)
    assert code == 0, err
    code, out, err = run_command("expect", str(lab / "heads.yaml"), *store)
    assert code == 0 and "final(eval_loss)" in out, err


def test_runs_of_a_file_as_an_option(lab):
    store = ("--store", str(lab / "lab"), "--json")
    found = [
        run_command("runs", *arguments, *store)[1]
        for arguments in (("--experiment", str(lab / "heads.yaml")), ("widths",))
    ]
    assert found[0] == found[1] != ""


LONG = "x" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ("read", f"{LONG}.yaml"),
        ("unpack", f"{LONG}.zip"),
        ("new", LONG),
        ("new", "z", "--task", f"{LONG}.py"),
        ("claims", "digit-addition-last", "--write", f"{LONG}.md"),
    ],
    ids=lambda each: each[0],
)
def test_paths_that_cannot_be_looked_up_are_told(lab, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    store = () if arguments[0] == "new" else ("--store", str(lab / "lab"))
    code, _, err = run_command(*arguments, *store)
    assert code == 2 and "Traceback" not in err
    assert not list(tmp_path.iterdir())
