from types import SimpleNamespace

import pytest

from ablab.logbook.colours import styles
from ablab.logbook.main_setting import main_setting, needs_main_setting


def record(question, *keys):
    return SimpleNamespace(question=question, definition={"grid": {key: [1, 2] for key in keys}})


def effects(*sizes, scale="difference"):
    return SimpleNamespace(
        factorial=[SimpleNamespace(key=key, difference=size, scale=scale) for key, size in sizes]
    )


@pytest.mark.parametrize(
    ("sizes", "scale", "expected"),
    [
        ([("a.x", 0.1), ("b.y", -0.5), ("b.y", 0.01), ("c.z", 0.3)], "difference", "b.y"),
        ([("a.x", 1.5), ("b.y", 0.1), ("c.z", 3.0)], "ratio", "b.y"),  # log 10 > log 3
        ([("a.x", None), ("b.y", 0.1)], "difference", "b.y"),
        ([("a.x", None)], "difference", None),
    ],
)
def test_the_largest_effect_decides(sizes, scale, expected):
    asked = record("What matters?", "a.x", "b.y", "c.z")
    assert main_setting(asked, effects(*sizes, scale=scale)) == expected


def test_the_question_decides_if_it_names_one_setting():
    found = effects(("model.width", 1.0), ("model.norm", 0.1))
    keys = ("model.width", "model.norm")
    assert main_setting(record("Does the norm matter?", *keys), found) == "model.norm"
    assert main_setting(record("Do norms matter?", *keys), found) == "model.norm"
    assert main_setting(record("Does width or norm matter?", *keys), found) == "model.width"
    assert main_setting(record("Is it enormous?", *keys), None) is None


def cells():
    return [{"a": n, "b": m, "c": k} for n in range(2) for m in range(5) for k in range(4)]


def test_crowded_variants_are_coloured_by_the_main_setting():
    look = styles(cells(), "b")
    assert look.by.key == "b"
    assert {style.colour for style in look.styles} == set(look.axes[1].colours)
    for cell, style in zip(cells(), look.styles, strict=True):
        assert style.colour == look.axes[1].colours[cell["b"]]
    assert styles(cells()).by.key == "a"


def test_few_variants_need_no_main_setting():
    many = [SimpleNamespace(variant=cell) for cell in cells()]
    assert needs_main_setting(many)
    assert not needs_main_setting(many[:20])
    assert not needs_main_setting([SimpleNamespace(variant={"a": n}) for n in range(99)])
