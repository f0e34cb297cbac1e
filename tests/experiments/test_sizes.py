import pytest

from ablab.config import InputError
from ablab.experiments import experiment

TREE = {
    "name": "sized",
    "logbook": "made-up",
    "task": {"kind": "addition"},
    "model": {"d_model": 8, "n_heads": 1},
    "train": {"steps": 20, "schedule": "cosine"},
    "grid": {"model.d_model": [8, 16], "model.n_heads": [1, 2]},
    "seeds": 1,
    "sizes": {
        "quick": {"about": "leaves out the wide models"},
        "full": {
            "about": "adds width 32",
            "set": {
                "train.steps": 40,
                "train.schedule.warmup": 5,
                "grid.model.d_model": [8, 16, 32],
                "grid.model.n_heads": None,
                "seeds": 2,
            },
        },
        "wide": {"set": {"model.d_model": 64}},
    },
}


def labels(found):
    return [variant.label for variant in found.variants]


def test_the_file_as_it_stands_is_the_quick_size():
    quick = experiment(TREE)
    assert quick.definition["size"] == "quick"
    assert "sizes" not in quick.definition
    assert len(quick.variants) == 4
    assert experiment(TREE, "size=quick") == quick


def test_a_size_sets_values_axes_and_seeds():
    full = experiment(TREE, "size=full")
    assert full == experiment(TREE, size="full")
    assert labels(full) == ["model.d_model=8", "model.d_model=16", "model.d_model=32"]
    assert full.seeds == (0, 1)
    train = full.variants[0].parts.train
    assert (train.steps, train.schedule.kind, train.schedule.warmup) == (40, "cosine", 5)
    assert full.definition["size"] == "full"


def test_a_setting_of_a_size_takes_the_place_of_its_axis():
    wide = experiment(TREE, "size=wide")
    assert labels(wide) == ["model.n_heads=1", "model.n_heads=2"]
    assert wide.variants[0].parts.model.d_model == 64


def test_overrides_come_after_the_size():
    found = experiment(TREE, "train.steps=7", "size=full", "model.d_model=32")
    assert found.variants[0].parts.train.steps == 7
    assert labels(found) == ["base"]


def test_the_words_of_a_size_make_no_other_experiment():
    plain = {key: value for key, value in TREE.items() if key not in ("sizes", "logbook")}
    assert experiment(TREE).digest == experiment(plain).digest
    assert [run.id for run in experiment(TREE).runs] == [run.id for run in experiment(plain).runs]
    assert experiment(TREE, "size=full").digest != experiment(plain).digest


@pytest.mark.parametrize("size", ["quick", "full"])
def test_a_definition_gives_the_experiment_again(size):
    found = experiment(TREE, f"size={size}")
    assert found.definition["logbook"] == "made-up"
    again = experiment(found.definition)
    assert again == found
    assert again.digest == found.digest


def test_what_a_file_sets_is_not_changed_by_its_sizes():
    experiment(TREE, "size=full")
    assert TREE["grid"]["model.d_model"] == [8, 16]
    assert "sizes" in TREE


@pytest.mark.parametrize(
    ("sizes", "size", "message", "suggestion"),
    [
        (TREE["sizes"], "ful", "there is no size 'ful'", "full"),
        (None, "full", "the experiment has no sizes", None),
        ([1], "full", "sizes is not a mapping", None),
        ({"full": 3}, "full", "sizes.full is not a size", None),
        ({"full": {"abuot": "x"}}, "full", "sizes.full.abuot is not a setting", "about"),
        ({"full": {"set": [1]}}, "full", "sizes.full.set is not a mapping", None),
        ({"full": {"set": {"train.stepss": 3}}}, "full", "train.stepss", "train.steps"),
        ({"full": {"set": {"name": "x"}}}, "full", "name cannot be an axis", "name"),
    ],
)
def test_what_is_wrong_with_a_size_is_said(sizes, size, message, suggestion):
    tree = {key: value for key, value in TREE.items() if key != "sizes"}
    with pytest.raises(InputError) as caught:
        experiment(tree | ({"sizes": sizes} if sizes else {}), f"size={size}")
    assert any(message in str(each) for each in caught.value.problems)
    if suggestion:
        assert any(each.suggestion == suggestion for each in caught.value.problems)


def test_a_size_is_found_in_a_file_with_its_line(tmp_path):
    path = tmp_path / "sized.yaml"
    path.write_text(
        "task: {kind: addition}\nsizes:\n  full:\n    about: more\n    set:\n"
        "      train.steps: many\n"
    )
    assert experiment(str(path)).definition["size"] == "quick"
    with pytest.raises(InputError, match="line 6"):
        experiment(str(path), "size=full")
    with pytest.raises(InputError, match="size=fll"):
        experiment(str(path), "size=fll")
