import re
from xml.etree import ElementTree

import pytest

from ablab.logbook.line_chart import (
    ChartLine,
    ChartPanel,
    line_charts,
    linear_ticks,
    logarithmic_ticks,
)

RED, BLUE = "#d55e00", "#0072b2"
NAME = "{http://www.w3.org/2000/svg}"


def point(text):
    x, y = text.split()
    return float(x), float(y)


def paths(drawing, colour):
    """The points of each path of a colour, with a list for each part between gaps."""
    found = []
    for path in ElementTree.fromstring(drawing).iter(f"{NAME}path"):
        if f"stroke: {colour}" in path.get("style"):
            parts = path.get("d").split("M")[1:]
            found.append(
                [[tuple(map(float, p.split())) for p in part.split("L")] for part in parts]
            )
    return found


def texts(drawing):
    return [each.text for each in ElementTree.fromstring(drawing).iter(f"{NAME}text")]


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 10, ["0", "2", "4", "6", "8", "10"]),
        (0.1, 1.1, ["0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0, 1.25, ["0.00", "0.25", "0.50", "0.75", "1.00", "1.25"]),
        (-200, 300, ["-200", "-100", "0", "100", "200", "300"]),
        (0, 4e-7, ["0", "1e-07", "2e-07", "3e-07", "4e-07"]),
    ],
)
def test_linear_ticks_are_round_numbers(low, high, labels):
    found = linear_ticks(low, high, 5)
    assert [label for _, label in found] == labels
    assert [float(label) for label in labels] == pytest.approx([place for place, _ in found])


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.9, 11, ["1", "2", "5", "10"]),
        (0.001, 1, ["0.001", "0.01", "0.1", "1"]),
        (2, 2.5, ["2.0", "2.2", "2.4"]),  # less than half a decade
    ],
)
def test_logarithmic_ticks_are_powers_of_ten(low, high, labels):
    assert [label for _, label in logarithmic_ticks(low, high)] == labels


def test_many_decades_have_few_ticks():
    assert 3 <= len(logarithmic_ticks(1e-30, 1e10)) <= 8


def test_points_are_in_proportion():
    line = ChartLine([0, 10, 30], [1.0, 2.0, 5.0], RED)
    ((points,),) = paths(line_charts([ChartPanel([line])], 400, 200), RED)
    (x0, y0), (x1, y1), (x2, y2) = points
    assert (x1 - x0) / (x2 - x0) == pytest.approx(1 / 3, abs=1e-3)
    assert (y1 - y0) / (y2 - y0) == pytest.approx(1 / 4, abs=2e-3)
    assert y2 < y0, "larger values are higher"


def test_a_logarithmic_axis_has_equal_factors_at_equal_distances():
    line = ChartLine([0, 1, 2], [0.01, 1.0, 100.0], RED)
    ((points,),) = paths(line_charts([ChartPanel([line], logarithmic=True)], 400, 200), RED)
    (_, y0), (_, y1), (_, y2) = points
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.2)


def test_values_that_cannot_be_drawn_are_gaps():
    nan = float("nan")
    lines = [ChartLine([0, 1, 2, 3, 4], [1.0, nan, 2.0, float("inf"), 3.0], RED)]
    ((one, two, three),) = paths(line_charts([ChartPanel(lines)], 400, 200), RED)
    assert [len(one), len(two), len(three)] == [1, 1, 1]
    lines = [ChartLine([0, 1, 2], [1.0, 0.0, 2.0], RED)]
    ((one, two),) = paths(line_charts([ChartPanel(lines, logarithmic=True)], 400, 200), RED)
    assert [len(one), len(two)] == [1, 1]


def test_panels_stand_side_by_side():
    left = ChartPanel([ChartLine([0, 1], [0.0, 1.0], RED)], title="loss")
    right = ChartPanel([ChartLine([0, 1], [0.0, 1.0], BLUE)], title="accuracy")
    drawing = line_charts([left, right], 400, 200)
    ((one,),), ((two,),) = paths(drawing, RED), paths(drawing, BLUE)
    assert max(x for x, _ in one) < 200 < min(x for x, _ in two)
    assert {"loss", "accuracy"} <= set(texts(drawing))


def test_a_legend_names_several_lines_and_breaks_into_rows():
    lines = [ChartLine([0, 1], [n, n + 1.0], RED, f"a & b {n:02}") for n in range(12)]
    drawing = line_charts([ChartPanel(lines)], 300, 200)
    root = ElementTree.fromstring(drawing)
    named = [each for each in root.iter(f"{NAME}text") if each.text.startswith("a & b")]
    assert len(named) == 12
    assert len({each.get("y") for each in named}) > 1
    assert all(float(each.get("x")) < 300 for each in named)
    assert "a & b" not in str(texts(line_charts([ChartPanel(lines[:1])], 300, 200)))


def test_an_axis_of_one_value_and_no_values_are_drawn():
    for xs, ys in ([[5], [2.0]], [[], []], [[1, 2], [3.0, 3.0]], [[1, 2], [float("nan")] * 2]):
        for logarithmic in (False, True):
            panel = ChartPanel([ChartLine(xs, ys, RED)], "value", logarithmic=logarithmic)
            drawing = line_charts([panel], 300, 200)
            assert "nan" not in re.sub(r"<text.*", "", drawing)


def test_a_long_label_of_the_axis_is_shortened():
    label = "grad/blocks.*.attention.query.weight/rms of a very long name indeed"
    drawing = line_charts([ChartPanel([ChartLine([0, 1], [0, 1], RED)], label)], 300, 150)
    (shown,) = [each for each in texts(drawing) if each.startswith("grad")]
    assert "…" in shown and len(shown) <= 25
