import polars as pl

from ablab.experiments.joint_keys import joint_keys
from ablab.read.effects import effects
from ablab.read.effects.joint import as_one, join


def frame(cells, seeds=2):
    rows = [cell | {"seed": seed, "value": float(place)} for seed in range(seeds)
            for place, cell in enumerate(cells)]  # fmt: skip
    return pl.DataFrame(rows)


PAIRED = [
    {"model.d_model": width, "model.n_heads": heads, "train.lr": rate}
    for width, heads in ((8, 1), (16, 2), (32, 4))
    for rate in (0.1, 0.2)
]


def test_settings_that_vary_together_are_one():
    found = join(frame(PAIRED), ["model.d_model", "model.n_heads", "train.lr"])
    assert found.keys == ["d_model + n_heads", "train.lr"]
    assert found.frame["d_model + n_heads"].unique(maintain_order=True).to_list() == [
        "d_model 8, 1 head", "d_model 16, 2 heads", "d_model 32, 4 heads",
    ]  # fmt: skip
    assert found.key_of("model.n_heads") == "d_model + n_heads"
    assert found.key_of("train.lr") == "train.lr"
    base = {"model.d_model": 16, "model.n_heads": 2, "train.lr": 0.2}
    assert found.base(base) == {"d_model + n_heads": "d_model 16, 2 heads", "train.lr": 0.2}
    assert found.base(base | {"model.n_heads": 4}) == {"train.lr": 0.2}


def test_effects_of_settings_that_vary_together():
    found = join(frame(PAIRED), ["model.d_model", "model.n_heads", "train.lr"])
    made = effects(found.frame, found.keys, points=found.points)
    assert [each.key for each in made.factorial] == ["d_model + n_heads"] * 2 + ["train.lr"]
    assert [each.difference for each in made.factorial] == [2, 4, 1]


def test_a_key_that_varies_in_some_cells_goes_with_its_condition():
    cells = [
        {"train.optimizer": name, "train.momentum": momentum, "train.lr": rate}
        for name, momentum in (("adamw", None), ("sgd", 0.0), ("sgd", 0.9))
        for rate in (0.1, 0.2)
    ]
    found = join(frame(cells), ["train.optimizer", "train.momentum", "train.lr"])
    assert found.keys == ["optimizer + momentum", "train.lr"]
    assert found.points["optimizer + momentum"][0] == {
        "train.optimizer": "adamw",
        "train.momentum": None,
    }


def test_keys_of_a_product_are_left_alone():
    cells = [{"a.b": one, "a.c": other} for one in (1, 2) for other in (1, 2)]
    assert joint_keys(["a.b", "a.c"], cells) == [["a.b"], ["a.c"]]
    found = join(frame(cells), ["a.b", "a.c"])
    assert (found.keys, found.points) == (["a.b", "a.c"], {})


def test_cells_that_are_no_product_of_groups_are_one_group():
    # Each pair of keys has all four combinations, and yet half of the eight cells are missing.
    cells = [{"a": a, "b": b, "c": (a + b) % 2} for a in (0, 1) for b in (0, 1)]
    assert joint_keys(["a", "b", "c"], cells) == [["a", "b", "c"]]


def test_whole_cells_as_one_setting():
    assert as_one(frame(PAIRED), ["model.d_model", "train.lr"])["variant"][1] == (
        "model.d_model=8, train.lr=0.2"
    )
