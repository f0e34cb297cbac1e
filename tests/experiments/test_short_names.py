import pytest

from ablab.experiments.short_names import group_name, setting_name, short_keys, short_names


def test_only_what_differs_is_named():
    cells = [{"model.d_model": 32, "model.n_heads": heads, "train.lr": 1e-3} for heads in (1, 4)]
    assert short_names(cells) == ["1 head", "4 heads"]


def test_several_settings_are_listed_in_the_grids_order():
    cells = [{"model.d_model": width, "model.n_layers": 1 + (width > 8)} for width in (8, 16)]
    assert short_names(cells) == ["d_model 8, 1 layer", "d_model 16, 2 layers"]


def test_endings_of_keys_stay_unique():
    keys = ["model.attention.activation", "model.mlp.activation", "train.lr"]
    assert short_keys(keys) == {
        "model.attention.activation": "attention.activation",
        "model.mlp.activation": "mlp.activation",
        "train.lr": "lr",
    }
    assert short_keys(["lr", "train.lr"]) == {"lr": "lr", "train.lr": "train.lr"}


@pytest.mark.parametrize(
    ("key", "value", "alone", "expected"),
    [
        ("n_heads", 1, False, "1 head"),
        ("n_latents", 12, True, "12 latents"),
        ("bias", True, True, "bias on"),
        ("bias", False, False, "bias off"),
        ("lr", 0.001, True, "lr 0.001"),
        ("qk_norm", "none", True, "qk_norm none"),
        ("qk_norm", None, True, "qk_norm none"),
        ("activation", "softmax", True, "softmax"),
        ("activation", "softmax", False, "activation softmax"),
        ("shape", "64/4", True, "64/4"),
        ("width", "64", True, "width 64"),
    ],
)
def test_a_setting_in_words(key, value, alone, expected):
    assert setting_name(key, value, alone) == expected


def test_names_that_would_be_equal_stay_whole():
    cells = [{"a": 1, "b": 2.0}, {"a": 1, "b": 2.0000001}]
    assert short_names(cells) == ["a=1, b=2.0", "a=1, b=2.0000001"]


def test_one_variant_keeps_its_label():
    assert short_names([{}]) == ["base"]
    assert short_names([{"train.lr": 0.1}]) == ["train.lr=0.1"]


def test_variants_are_named_together_by_a_setting_that_they_alone_have():
    cells = [{"model.d_model": d, "model.n_heads": h} for d in (8, 16, 32) for h in (1, 4)]
    assert group_name(cells, [2, 3, 4, 5]) == "d_model 16 or 32"
    assert group_name(cells, [1, 3, 5]) == "4 heads"
    assert group_name(cells, [2, 3, 4]) is None  # width 32 is not whole
    more = [{"model.n_heads": h, "lr": lr} for h in (1, 2, 4, 8) for lr in (0.1, 0.2)]
    assert group_name(more, range(6)) == "1, 2 or 4 heads"
    assert group_name([{"on": on, "x": x} for on in (1, 2) for x in "ab"], [0, 1]) == "on 1"
    bools = [{"bias": b, "x": x} for b in (True, False, None) for x in "ab"]
    assert group_name(bools, range(4)) == "bias on or off"
    assert group_name(cells, [2]) is None
    assert group_name(cells, range(6)) is None
    assert group_name([{"norm": "rms"}, {"norm": "layer"}, {}], [0, 1]) is None
