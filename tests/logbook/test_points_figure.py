"""The key figure where several numeric settings vary together, on made-up values."""

import re
from dataclasses import replace

from ablab.logbook.answer_figure import answer_figure
from ablab.logbook.colours import sequential, styles
from ablab.logbook.points_figure import point_settings
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
