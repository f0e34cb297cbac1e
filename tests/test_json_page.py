"""The page on JSON: its scripts, as written, and that it names each field that there is."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import ablab
from ablab.read.documents import effects_document, schema, verdicts_document
from tests.cli.command import run_command
from tests.read.documents.strict import read
from tests.read.filled import fill, grid

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "json.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", PAGE, re.DOTALL)


def widths(path, expected):
    """A store with the experiment of the page: the wider, the lower."""
    asked = grid(name="widths", steps=20, seeds=3, expect=[expected])
    asked["grid"] = {"model.d_model": [8, 16, 32]}

    def curve(keys, seed, steps):
        width = keys["model.d_model"]
        noise = np.random.default_rng([seed, width]).standard_normal()
        return 1 + 8 / width + 0.01 * noise + 0 * steps

    return fill(path, asked, curve)


def follow():
    """Types the commands of the page and runs its scripts, in order, in one namespace."""
    names = {}
    for language, text in BLOCKS:
        if language == "python":
            exec(compile(text, "json.md", "exec"), names)
            continue
        command, _, file = text.strip().partition(" > ")
        program, *arguments = shlex.split(command)
        assert program == "ablab"
        code, out, err = run_command(*arguments)
        assert code == 0, err
        Path(file).write_text(out, encoding="utf-8")


def test_the_scripts_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    widths(tmp_path / "lab", "final(loss) falls with model.d_model")
    follow()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("held: final(loss) falls with model.d_model (")
    rows = [line.split(",") for line in lines[1:]]
    assert [(row[0], row[1], row[2], row[-1]) for row in rows] == [
        ("model.d_model", "8", "32", "differs"), ("model.d_model", "16", "32", "differs")
    ]  # fmt: skip
    assert all(len(row) == 7 for row in rows)


def test_the_first_script_stops_if_an_expectation_failed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    widths(tmp_path / "lab", "final(loss) rises with model.d_model")
    with pytest.raises(SystemExit, match=r"failed: final\(loss\) rises with model\.d_model"):
        follow()


def test_in_python_the_documents_are_those_of_the_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    widths(tmp_path / "lab", "final(loss) falls with model.d_model")
    store = ablab.open("lab")
    printed = read("effects", run_command("effects", "widths", "--json")[1])
    assert effects_document("widths", store.effects("widths")) == printed
    printed = read("verdicts", run_command("expect", "widths", "--json")[1])
    assert verdicts_document("widths", store.verdicts("widths")) == printed


def test_the_page_names_each_field_of_the_documents():
    named = set(re.findall(r"`(\w+)`", PAGE))
    effects, verdicts = schema("effects"), schema("verdicts")
    for made in (effects, verdicts, verdicts["$defs"]["Verdict"]):
        known = set(made["properties"]) - {"of", "stopped", "expectations"}
        assert known <= named | {"format"}
    assert "`expectations`" in PAGE
    tables = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", PAGE, re.MULTILINE)
    fields = {each for row in tables for each in re.findall(r"\w+", row)}
    every = {*effects["properties"], *verdicts["properties"]}
    for made in (*effects["$defs"].values(), *verdicts["$defs"].values()):
        every |= set(made.get("properties", ()))
    assert len(fields) > 40
    assert fields <= every


def test_the_formats_of_the_page_are_those_of_the_schemas():
    for name in ("effects", "verdicts"):
        title = schema(name)["title"]
        assert f"| `{title}` | [{name}.json](schemas/{name}.json) |" in PAGE
