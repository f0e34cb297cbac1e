import base64
import json
import math
from itertools import product

import pytest

from ablab.logbook.plotdata import VariantCosts, packed, plot_data, unpacked
from ablab.read.bands import Band, SeedCurve


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
    assert [(axis["key"], axis["values"]) for axis in grid["axes"]] == [
        ("a", ["8", "16"]), ("b", ["None", "x"]),
    ]  # fmt: skip
    assert [each["at"] for each in grid["variants"]] == [[0, 0], [0, 1], [1, 0], [1, 1]]
    # Colour and shape show the first axis, dashes the second.
    assert [each["style"] for each in grid["variants"]] == [
        [0, 0, 0], [0, 1, 0], [1, 0, 1], [1, 1, 1],
    ]  # fmt: skip
    assert [each["name"] for each in grid["variants"]] == [
        "a 8, b none", "a 8, b x", "a 16, b none", "a 16, b x",
    ]  # fmt: skip
    assert [curve["variant"] for curve in data["other"]["curves"]] == [2, 3]
    assert data["loss"]["title"] == "L"


def test_variants_without_a_curve_have_their_place_and_colour():
    cells = [{"a": value} for value in (4, 8, 16) for _ in range(2)]
    grid, data = read(plot_data({"loss": [band({"a": 8}, [1.0])]}, {"loss": "L"}, {}, cells=cells))
    assert [each["label"] for each in grid["variants"]] == ["a=4", "a=8", "a=16"]
    assert grid["variants"][1]["style"] == [1, 0, 1]
    assert data["loss"]["curves"][0]["variant"] == 1


def test_curves_share_steps_and_leave_out_what_says_nothing():
    found = [band({"a": 1}, [2.0, 1.0]), band({"a": 2}, [2.0, 1.0], [1.5, 0.5], [3.0, 1.0])]
    _, data = read(plot_data({"loss": found}, {"loss": "loss"}, {"log 2": math.log(2)}))
    first, second = data["loss"]["curves"]
    assert data["loss"]["steps"] == [[1, 2]]
    assert (first["steps"], second["steps"]) == (0, 0)
    assert "low" not in first and "marks" not in first
    assert unpacked(second["low"]) == [1.5, 0.5]
    assert data["loss"]["levels"] == {"log 2": math.log(2)}


def test_numbers_are_packed_in_four_characters():
    # 1 is 3f 80 00 00 as float32, of which the first three bytes are kept; −2 is c0 00 00 00.
    assert packed([1.0, -2.0]) == base64.b64encode(bytes.fromhex("3f8000c00000")).decode()
    assert packed([]) == ""
    given = [1 / 3, 2e-12 / 3, 100.0, 123456.7, -0.1, 0.0, math.log(10)]
    assert unpacked(packed(given)) == pytest.approx(given, rel=1.6e-5)
    assert math.isfinite(unpacked(packed([1e300]))[0])


def test_numbers_are_listed_in_order():
    grid, data = read(
        plot_data({"loss": [band({"d": d}, [float(d)]) for d in (32, 8, 16)]}, {"loss": "L"}, {})
    )
    assert [each["name"] for each in grid["variants"]] == ["d 8", "d 16", "d 32"]
    curves = data["loss"]["curves"]
    assert [(curve["variant"], unpacked(curve["values"])) for curve in curves] == [
        (0, [8.0]), (1, [16.0]), (2, [32.0]),
    ]  # fmt: skip


def test_seeds_stand_with_their_curve():
    seeds = [
        SeedCurve(4, [1, 2], [2.0, 1.0], [2.0, 1.0], [2.0, 1.0]),
        SeedCurve(7, [1, 2, 3], [3.0, 2.0, 1.0], [3.0, 2.0, 0.5], [3.0, 2.0, 1.0]),
    ]
    found = Band({"a": 1}, "a=1", [1, 2], [3.0, 2.0], [2.0, 1.0], [3.0, 2.0], [], seeds, 2)
    _, data = read(plot_data({"loss": [found]}, {"loss": "L"}, {}))
    (curve,) = data["loss"]["curves"]
    assert curve["count"] == 2
    assert data["loss"]["steps"] == [[1, 2], [1, 2, 3]]
    first, second = curve["seeds"]
    assert (first["seed"], first["steps"], "low" in first) == (4, 0, False)
    assert (second["seed"], second["steps"]) == (7, 1)
    assert unpacked(second["low"]) == [3.0, 2.0, 0.5]


def test_costs_stand_with_their_variant():
    costs = {
        "a=1": VariantCosts(640.0, 0.25, 1e9, "6 N per token", {0: 0.25, 1: 0.5}),
        "a=2": VariantCosts(None, None, None, "", {}),
    }
    found = [band({"a": 1}, [1.0]), band({"a": 2}, [1.0])]
    grid, _ = read(plot_data({"loss": found}, {"loss": "L"}, {}, costs=costs))
    assert [each["costs"] for each in grid["variants"]] == [
        {"tokens": 640.0, "seconds": 0.25, "flops": 1e9, "seeds": {"0": 0.25, "1": 0.5}},
        {},
    ]
    assert grid["flops"] == "6 N per token"


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
