import json
import math
from itertools import product

import pytest

from ablab.logbook.plotdata import plot_data, points_of_curves
from ablab.read.bands import Band


def band(keys, mean, low=None, high=None):
    label = ", ".join(f"{key}={value}" for key, value in keys.items()) or "base"
    steps = list(range(1, len(mean) + 1))
    return Band(keys, label, steps, mean, low or mean, high or mean, [])


def read(plot):
    return json.loads(plot.grid), json.loads(plot.data)


def test_the_grid_names_axes_and_places_of_variants():
    cells = [dict(zip("ab", cell, strict=True)) for cell in product([8, 16], [None, "x"])]
    found = [band(cell, [1.0]) for cell in cells]
    grid, data = read(
        plot_data({"loss": found, "other": found[2:]}, {"loss": "L", "other": "O"}, {})
    )
    assert grid["axes"] == [
        {"key": "a", "values": ["8", "16"]},
        {"key": "b", "values": ["None", "x"]},
    ]
    assert [each["at"] for each in grid["variants"]] == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert [each["style"] for each in grid["variants"]] == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert [curve["variant"] for curve in data["other"]["curves"]] == [2, 3]
    assert data["loss"]["title"] == "L"


def test_variants_without_a_curve_have_their_place_and_colour():
    cells = [{"a": value} for value in (4, 8, 16) for _ in range(2)]
    grid, data = read(plot_data({"loss": [band({"a": 8}, [1.0])]}, {"loss": "L"}, {}, cells=cells))
    assert [each["label"] for each in grid["variants"]] == ["a=4", "a=8", "a=16"]
    assert grid["variants"][1]["style"] == [1, 0]
    assert data["loss"]["curves"][0]["variant"] == 1


def test_curves_share_steps_and_leave_out_what_says_nothing():
    found = [band({"a": 1}, [2.0, 1.0]), band({"a": 2}, [2.0, 1.0], [1.5, 0.5], [3.0, 1.0])]
    _, data = read(plot_data({"loss": found}, {"loss": "loss"}, {"log 2": math.log(2)}))
    first, second = data["loss"]["curves"]
    assert data["loss"]["steps"] == [[1, 2]]
    assert (first["steps"], second["steps"]) == (0, 0)
    assert "low" not in first and "marks" not in first
    assert second["low"] == [1.5, 0.5]
    assert data["loss"]["levels"] == {"log 2": math.log(2)}


def test_numbers_are_short():
    plot = plot_data({"x": [band({}, [1 / 3, 2e-12 / 3, 100.0, 123456.7])]}, {"x": "x"}, {})
    assert '"mean":[0.33333,6.6667e-13,100,123460]' in plot.data


def test_marks_stand_with_their_curve():
    marks = {
        "train_loss": {
            "a=1": [
                {"kind": "plateau", "from": 1, "to": 900, "level": math.log(10), "text": "log 10"},
                {"kind": "spike", "from": 950, "to": 952, "level": math.nan, "text": "</script>"},
            ]
        }
    }
    found = [band({"a": 1}, [2.0, 1.0]), band({"a": 2}, [2.0, 1.0])]
    plot = plot_data({"train_loss": found}, {"train_loss": "training loss"}, {}, marks)
    first, second = json.loads(plot.data)["train_loss"]["curves"]
    assert first["marks"][0] == marks["train_loss"]["a=1"][0]
    assert first["marks"][1]["level"] is None
    assert "marks" not in second
    assert "</script" not in plot.data


@pytest.mark.parametrize("variants", [1, 12, 200, 1000])
@pytest.mark.parametrize("statistics", [0, 12])
def test_a_page_holds_a_bounded_number_of_points(variants, statistics):
    points, few = points_of_curves(variants, 3, statistics)
    assert 40 <= points <= 400
    assert few == 0 or 40 <= few <= 400
    if variants <= 200:
        assert variants * (3 * points + statistics * few) <= 170_000
