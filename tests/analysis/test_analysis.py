"""Analyses are found by their files, a user's own by import path."""

import sys

import polars as pl
import pytest
from torch import nn

import ablab.analysis.analyses
from ablab.analysis.analysis import ANALYSES, all_analyses, analysis, find_analysis
from ablab.analysis.finding import Finding
from ablab.config import Config, InputError, field_descriptions
from tests.analysis import my_analyses
from tests.cli.command import run_command

FILE = """
from ablab.analysis.analysis import analysis
from ablab.analysis.finding import Finding


@analysis("counting", question="How many parameters are there?", inputs=["model"], cost="nothing")
def counting(subject, settings):
    return Finding({"parameters": float(sum(p.numel() for p in subject.model.parameters()))})
"""


def test_every_shipped_analysis_says_what_it_is():
    names = [each.name for each in all_analyses()]
    assert "parameter_norms" in names and names == sorted(names)
    for each in all_analyses():
        assert each.question.endswith("?") and each.cost and "model" in each.inputs
        assert each.examine.__doc__
        assert each.examine.__module__ == f"ablab.analysis.analyses.{each.name}"
        assert all(field_descriptions(each.settings).values())


def test_one_file_is_an_analysis(tmp_path, monkeypatch):
    (tmp_path / "counting.py").write_text(FILE)
    package = ablab.analysis.analyses
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.setattr(ANALYSES, "_entries", dict(ANALYSES._entries))
    found = ablab.analyze(nn.Linear(3, 4), "counting")
    assert found.scalars.rows() == [(None, None, "analysis/counting/parameters", 16.0)]
    code, out, _ = run_command("analyses")
    assert code == 0 and "counting  How many parameters are there?" in out
    del sys.modules["ablab.analysis.analyses.counting"]
    del package.counting


def test_a_users_own_may_have_any_name():
    mine = find_analysis("tests.analysis.my_analyses:of_the_same_name")
    assert mine.examine is my_analyses.of_the_same_name.examine
    assert find_analysis("parameter_norms").examine is not mine.examine
    assert mine.name == "tests.analysis.my_analyses:of_the_same_name"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "parameter_norm",
            "no analysis called 'parameter_norm'(.|\n)*did you mean parameter_no",
        ),
        ("tests.analysis.my_analyses:undecorated", "not a valid analysis(.|\n)*decorator"),
        ("tests.analysis.my_analyses:nothing", "has no 'nothing'"),
        ("nowhere:nothing", "cannot import 'nowhere'"),
    ],
)
def test_what_is_no_analysis_is_said(name, said):
    with pytest.raises(InputError, match=said):
        find_analysis(name)


def test_settings_have_defaults_and_needs_are_known():
    class Required(Config):
        number: int

    with pytest.raises(ValueError, match="number of the analysis x has no default"):
        analysis("x", question="?", inputs=["model"], cost="", settings=Required)
    with pytest.raises(ValueError, match="'weather', which is not an input"):
        analysis("x", question="?", inputs=["weather"], cost="")


def test_a_tables_first_columns_are_added_to_it():
    with pytest.raises(ValueError, match="has a column 'step', a name that ablab adds"):
        Finding(tables={"bad": pl.DataFrame({"step": [1]})})


def test_the_list_names_question_needs_cost_and_settings():
    code, out, _ = run_command("analyses", "--json")
    assert code == 0 and '"inputs"' in out and '"default"' in out
    code, out, _ = run_command("analyses")
    assert "parameter_norms  How large is each parameter" in out
    assert "setting  parameters (by default *): Names or patterns of parameters" in out
