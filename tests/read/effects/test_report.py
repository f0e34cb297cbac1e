import json

import numpy as np
import polars as pl
import pytest

from ablab.config import InputError
from ablab.logbook.effect_tables import effect_table
from ablab.read.effects import cell_means, effects, gather
from tests.read.effects.made import grid

NOISE = np.random.default_rng(2).normal(size=(3, 2, 4))
AXES = {"model.d_model": [8, 16, 32], "norm": ["none", "rms"]}


def value(width, norm, seed):
    place = AXES["model.d_model"].index(width), AXES["norm"].index(norm), seed
    return 1 + 100 / width + (norm == "rms") + 0.1 * NOISE[place]


FRAME = grid(AXES, 4, value)


def test_a_report_holds_both_tables_interactions_relations_and_cells():
    found = effects(FRAME, list(AXES), base={"model.d_model": 16}, measure="final(loss)")
    assert (found.scale, found.of, found.seeds, found.runs) == ("difference", tuple(AXES), 4, 24)
    assert (found.base, found.first) == ({"model.d_model": 16, "norm": "none"}, ("norm",))
    assert [(c.key, c.value, c.others) for c in found.marginal] == [
        ("model.d_model", 8, "base"),
        ("model.d_model", 32, "base"),
        ("norm", "rms", "base"),
    ]
    assert {c.others for c in found.factorial} == {"all"}
    assert {c.cells for c in found.factorial} == {2, 3}
    assert [(i.key, i.other) for i in found.interactions] == [tuple(AXES)]
    assert [s.key for s in found.scalings] == ["model.d_model"]
    assert len(found.cells) == 6


def test_one_setting_is_a_family_of_its_own():
    found = effects(FRAME, list(AXES), of="norm")
    assert [(c.key, c.family) for c in found.factorial] == [("norm", 1)]
    assert len(found.interactions) == 1
    assert found.scalings == ()


def test_of_a_single_axis_both_tables_are_the_same():
    frame = grid({"a": [1, 2]}, 3, lambda a, s: a + s * (1 + 0.1 * a))
    found = effects(frame, ["a"])
    assert found.marginal[0].p == pytest.approx(found.factorial[0].p)
    assert found.interactions == ()


def test_a_margin_needs_its_scale_where_ratios_would_be_taken():
    wide = grid({"a": [1, 2]}, 3, lambda a, s: 100.0**a + s)
    with pytest.raises(InputError, match="with an explicit scale"):
        effects(wide, ["a"], margin=1.5)
    assert effects(wide, ["a"], margin=1.5, scale="ratio").margin == 1.5
    assert effects(FRAME, list(AXES), margin=0.1).margin == 0.1


def test_a_report_is_plain_data():
    found = effects(FRAME, list(AXES), margin=0.1)
    data = json.loads(json.dumps(found.as_data(), allow_nan=False))
    assert len(data["sentences"]) == 3 + 1 + 1
    assert data["cells"][0]["keys"] == {"model.d_model": 8, "norm": "none"}
    assert data["of"] == list(AXES)


def test_nothing_finished_yet_is_reported_without_numbers():
    found = effects(grid(AXES, 2, lambda *_: None), list(AXES))
    assert (found.runs, found.missing) == (12, 12)
    assert all(each.difference is None for each in found.factorial)
    assert all(each.p is None for each in found.interactions)
    assert found.scalings == ()
    json.dumps(found.as_data(), allow_nan=False)


def test_cells_are_means_over_seeds_and_over_settings_that_are_left_out():
    results = gather(FRAME, list(AXES))
    cells = cell_means(results)
    assert cells[1].keys == {"model.d_model": 8, "norm": "rms"}
    assert cells[1].values == pytest.approx([value(8, "rms", seed) for seed in range(4)])
    assert cells[1].mean == pytest.approx(np.mean(cells[1].values))
    assert cells[1].interval[0] < cells[1].mean < cells[1].interval[1]
    (none, rms) = cell_means(results, ["norm"])
    assert (none.cells, rms.cells, none.seeds) == (3, 3, 4)
    assert none.mean == pytest.approx(np.mean([c.mean for c in cells if c.keys["norm"] == "none"]))


def test_cells_on_the_scale_of_ratios_are_geometric():
    frame = grid({"a": [1]}, 2, lambda a, s: [2.0, 8.0][s])
    (cell,) = cell_means(gather(frame, ["a"], scale="ratio"))
    assert (cell.mean, cell.values) == (pytest.approx(4.0), pytest.approx((2.0, 8.0)))


def test_a_table_says_that_steps_not_reached_count_as_the_last_common_step():
    frame = pl.DataFrame(
        {
            "a": [0, 0, 0, 1, 1, 1],
            "seed": [0, 1, 2] * 2,
            "value": [100.0, 200, 300, 350, None, None],
        }
        | {"not_before": [None] * 4 + [1000, 800]}
    )
    found = effects(frame, ["a"], scale="difference", measure="leaves(log(10))", better="lower")
    words = "The differences count runs that did not reach it as step 800."
    assert effect_table(found).caveat == found.bound == words
    assert any(note.endswith(words) for note in found.notes())
    assert effects(frame.head(3).with_columns(a=pl.Series([0, 1, 0])), ["a"]).bound == ""


def test_the_values_next_to_the_cut_are_told():
    values = {0: [0.1, 0.12, 1.94], 1: [2.3, 2.31, 0.11]}
    frame = grid({"a": [0, 1]}, 3, lambda a, seed: values[a][seed])
    found = effects(frame, ["a"], measure="final(loss)", better="lower", guessing=np.log(10))
    assert found.nearest == (1.94, 2.3)
    assert any(note.endswith("two groups, the nearest are 1.94 and 2.3.") for note in found.notes())


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ([None] * 3, ""),  # never reached: counts, and no difference
        ([400.0, 450.0, None], "The differences count runs that did not reach it as step 800."),
    ],
)
def test_how_steps_that_were_not_reached_count_is_said_of_differences(second, told):
    steps = [100.0, 200.0, 300.0, *second]
    frame = pl.DataFrame(
        {
            "a": [1] * 3 + [2] * 3,
            "seed": [0, 1, 2] * 2,
            "value": pl.Series(steps, dtype=pl.Float64),
            "not_before": [None if step is not None else 800 for step in steps],
        }
    )
    found = effects(frame, ["a"], scale="difference", better="lower")
    assert (found.factorial[0].difference is None) == (not told)
    assert found.bound == told
