"""Places of a drawing that say their values."""

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from ablab.logbook.finding_panels import MapCells
from ablab.logbook.hover import Series, Strip, strips, with_cells, with_strips

RECT = re.compile(
    r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"><title>(.*?)</title>',
    re.DOTALL,
)
DRAWING = '<svg viewBox="0 0 200 100"><path/></svg>\n'


def rectangles(drawing):
    return [(*map(float, found[:4]), found[4]) for found in RECT.findall(drawing)]


def test_cells_lie_over_their_map():
    values = np.array([[0.5, np.nan], [1.0, 0.12345]])
    drawing = with_cells(DRAWING, [MapCells((0.1, 0.2, 0.5, 0.8), values, "map <1>")])
    assert rectangles(drawing) == [
        (20.0, 20.0, 40.0, 30.0, "map &lt;1&gt; row 0, column 0: 0.5"),
        (60.0, 20.0, 40.0, 30.0, "map &lt;1&gt; row 0, column 1: none"),
        (20.0, 50.0, 40.0, 30.0, "map &lt;1&gt; row 1, column 0: 1"),
        (60.0, 50.0, 40.0, 30.0, "map &lt;1&gt; row 1, column 1: 0.123"),
    ]
    assert drawing.startswith('<svg viewBox="0 0 200 100"><path/><g class="cells"')
    assert drawing.endswith("</g></svg>\n")


def test_cells_can_have_names():
    cells = MapCells((0, 0, 1, 1), np.array([[2.0]]), "", ["from a"], ["to b"])
    assert rectangles(with_cells(DRAWING, [cells]))[0][4] == "from a, to b: 2"


def test_a_map_with_too_many_cells_says_nothing():
    assert with_cells(DRAWING, [MapCells((0, 0, 1, 1), np.zeros((200, 101)), "")]) == DRAWING


@pytest.fixture
def axes():
    """Axes from 20% to 60% of a drawing's width, with x from 0 to 10."""
    axes = Figure().add_axes((0.2, 0.1, 0.4, 0.6))
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 1)
    return axes


def test_strips_reach_to_the_middle_between_points(axes):
    curve = Series("loss", [0, 5, 10], [3.0, 2.0, 1.0])
    found = strips(axes.figure, axes, [curve], "step")
    assert [each.text for each in found] == [
        "step 0\nloss: 3",
        "step 5\nloss: 2",
        "step 10\nloss: 1",
    ]
    edges = [each.box for each in found]
    np.testing.assert_allclose(
        edges, [(0.2, 0.3, 0.3, 0.9), (0.3, 0.3, 0.5, 0.9), (0.5, 0.3, 0.6, 0.9)]
    )


def test_a_curve_has_no_value_before_its_start_after_its_end_or_where_it_is_not_finite(axes):
    whole = Series("a", [0, 2, 4, 6], [1, 2, 3, 4])
    part = Series("b", [2, 4], [7, float("nan")])
    texts = [each.text for each in strips(axes.figure, axes, [whole, part], "step")]
    assert texts == ["step 0\na: 1", "step 2\na: 2\nb: 7", "step 4\na: 3", "step 6\na: 4"]


def test_a_value_of_an_earlier_step_says_its_step(axes):
    every = Series("loss", [0, 3, 6, 9], [4, 3, 2, 1])
    held_out = Series("held-out loss", [0, 6, 10], [5, 4, 3])
    texts = [each.text.splitlines()[1:] for each in strips(axes.figure, axes, [every, held_out],
                                                           "step")]  # fmt: skip
    assert texts == [
        ["loss: 4", "held-out loss: 5"],
        ["loss: 3", "held-out loss: 5 (step 0)"],
        ["loss: 2", "held-out loss: 4"],
        ["loss: 1", "held-out loss: 4 (step 6)"],
        ["held-out loss: 3"],
    ]


def test_strips_of_a_logarithmic_axis(axes):
    axes.set_xscale("log")
    axes.set_xlim(1, 100)
    found = strips(axes.figure, axes, [Series("a", [1, 10, 100], [1, 2, 3])], "step")
    np.testing.assert_allclose([each.box[2] for each in found], [0.3, 0.5, 0.6])


def test_there_are_at_most_about_a_hundred_strips_and_fifteen_lines(axes):
    axes.set_xlim(0, 5000)
    curves = [Series(f"c{n}", np.arange(5000), np.ones(5000)) for n in range(40)]
    found = strips(axes.figure, axes, curves, "step")
    assert 90 <= len(found) <= 121
    lines = found[0].text.splitlines()
    assert len(lines) == 15
    assert lines[-1] == "and 27 more"


def test_strips_are_escaped():
    drawing = with_strips(DRAWING, [Strip((0, 0, 0.5, 1), "step 1\n<a>: 2")])
    assert rectangles(drawing) == [(0.0, 0.0, 100.0, 100.0, "step 1\n&lt;a&gt;: 2")]
    assert with_strips(DRAWING, []) == DRAWING
