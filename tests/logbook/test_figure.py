"""Figures are found by their files, a user's own by import path."""

import sys

import pytest

import ablab.logbook.figures
from ablab.config import InputError
from ablab.logbook.figure import FIGURES, all_figures, find_figure
from tests.logbook import my_figures


def test_every_shipped_figure_says_what_it_shows():
    assert [each.name for each in all_figures()] == ["curves", "heat", "histogram", "patterns"]
    assert all(each.about for each in all_figures())
    assert {each.name for each in all_figures() if each.shows == "statistic"} == {"curves", "heat"}


def test_one_file_is_a_figure(tmp_path, monkeypatch):
    (tmp_path / "parabola.py").write_text(
        "from matplotlib.figure import Figure\n"
        "from ablab.logbook.figure import figure\n"
        "@figure('parabola', shows='run', about='x squared')\n"
        "def parabola(run):\n"
        "    drawing = Figure()\n"
        "    drawing.subplots().set_title(run)\n"
        "    return drawing\n"
    )
    package = ablab.logbook.figures
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.setattr(FIGURES, "_entries", dict(FIGURES._entries))
    assert "parabola" in FIGURES.names()
    drawn = find_figure("parabola").svg("of a test")
    assert drawn.startswith("<svg") and "of a test" in drawn
    assert drawn == find_figure("parabola").svg("of a test")  # the same bytes
    del sys.modules["ablab.logbook.figures.parabola"]
    del package.parabola


def test_a_users_own_may_have_any_name():
    mine = find_figure("tests.logbook.my_figures:last")
    assert mine.make is my_figures.last.make
    assert mine.name == "tests.logbook.my_figures:last"
    assert find_figure("curves").make is not mine.make


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("curvs", "there is no figure called 'curvs'(.|\n)*did you mean curves"),
        ("tests.logbook.my_figures:undecorated", "is not a valid figure(.|\n)*decorator"),
        ("tests.logbook.my_figures:nothing", "has no 'nothing'"),
        ("nowhere:nothing", "cannot import 'nowhere'"),
    ],
)
def test_what_is_no_figure_is_said(name, said):
    with pytest.raises(InputError, match=said):
        find_figure(name)
