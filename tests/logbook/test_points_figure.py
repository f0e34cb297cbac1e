"""The key figure where several numeric settings vary together, on made-up values."""

import re
from dataclasses import replace

from ablab.logbook.answer_figure import answer_figure
from ablab.logbook.colours import sequential, styles
from ablab.logbook.points_figure import point_settings, points_figure
from ablab.logbook.svg import PAPER
from tests.logbook.made_up import measured


def points(count):
    """A measure at points of two settings, of which the last but one is the best."""
    away = [abs(k - (count - 2)) for k in range(count)]
    values = {str(4 * k + 4): [each + 1.0, each + 1.2] for k, each in enumerate(away)}
    found = measured("final(eval_loss)", values)
    keys = [
        {"train.lr": 10.0 ** (-k / 4), "train.weight_decay": (3 * k) % count / 10}
        for k in range(count)
    ]
    variants = [replace(row, keys=each) for row, each in zip(found.variants, keys, strict=True)]
    return replace(found, variants=variants)


def test_each_setting_has_a_panel():
    found = points(8)
    assert list(point_settings(found)) == ["train.lr", "train.weight_decay"]
    figure = answer_figure(found)
    said = re.findall(r"<text[^>]*>([^<]*)</text>", figure.drawing)
    assert {"lr", "weight_decay"} <= set(said)
    assert "Circled" in figure.caption
    assert "bars are medians" in figure.caption


def test_two_groups_are_told_apart_in_each_panel():
    """Each variant has a run at 5 + 0.1 k, above the cut at 4, and one at 1 + 0.1 k below it."""
    found = points(8)
    variants = [
        replace(row, values=(1 + 0.1 * k, 5 + 0.1 * k), learnt=(1 + 0.1 * k,))
        for k, row in enumerate(found.variants)
    ]
    found = replace(found, variants=variants, cut=4.0)
    assert "apart at 4 (dashed); open dots are those that did not" in answer_figure(found).caption
    for axes in points_figure(found, point_settings(found), None).axes:
        dots = [line for line in axes.lines if line.get_marker() == "o"]
        filled = {y for each in dots if each.get_mfc() != PAPER for y in each.get_ydata()}
        still_open = {y for each in dots if each.get_mfc() == PAPER for y in each.get_ydata()}
        assert filled == {row.values[0] for row in variants}
        assert still_open == {row.values[1] for row in variants}
        (cut,) = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert set(cut.get_ydata()) == {4.0}


def test_settings_without_a_panel_are_counted():
    found = points(8)
    variants = [
        replace(row, keys={f"train.x{n}": float((n + 1) * k) for n in range(6)})
        for k, row in enumerate(found.variants)
    ]
    figure = answer_figure(replace(found, variants=variants))
    said = re.findall(r"<text[^>]*>([^<]*)</text>", figure.drawing)
    assert [each for each in said if re.fullmatch(r"x\d", each)] == ["x0", "x1", "x2", "x3"]
    assert "4 of 6 settings are shown." in figure.caption
    assert "settings are shown" not in answer_figure(points(8)).caption


def test_a_grid_and_few_points_have_none():
    assert point_settings(points(6)) == {}
    grid = points(14)
    variants = [
        replace(row, keys={"train.lr": float(k % 7), "train.weight_decay": float(k // 7)})
        for k, row in enumerate(grid.variants)
    ]
    assert point_settings(replace(grid, variants=variants)) == {}


def test_colours_show_the_number_that_tells_all_variants_apart():
    cells = [{"model.n_layers": k % 2, "train.lr": k / 8, "train.eps": k} for k in range(8)]
    found = styles(cells)
    assert [each.colour for each in found.styles] == sequential(8)
    assert {each.dash for each in found.styles} == {0}
