"""Long labels and characters that the font lacks; warnings are errors in these tests."""

import numpy as np
import pytest

from ablab.logbook import drawing_cache
from ablab.logbook.entry import entry_content
from ablab.logbook.labels import fitted, font_families, text_width
from tests.read.filled import fill


@pytest.mark.parametrize(
    ("text", "most", "short"),
    [
        ("width", 5, "width"),
        ("abcdefghij", 7, "abc…hij"),
        ("abcdefghij", 6, "abc…ij"),
        ("one head   and\nmore", 40, "one head and more"),
        ("one two three four", 10, "one t…four"),
        ("宽度很大的模型", 14, "宽度很大的模型"),
        ("宽度很大的模型", 9, "宽度…模型"),
        ("", 3, ""),
    ],
)
def test_the_middle_of_a_long_label_is_left_out(text, most, short):
    assert fitted(text, most) == short
    assert text_width(fitted(text, most)) <= max(most, 1)


def test_widths_are_counted_in_letters():
    assert [text_width(each) for each in ("abc", "宽度", "e\u0301", "ﬃ")] == [3, 4, 1, 1]


def test_every_font_that_is_named_is_there():
    from matplotlib import font_manager

    known = {font.name for font in font_manager.fontManager.ttflist}
    assert font_families()[0] == "DejaVu Sans"
    assert set(font_families()) <= known


LONG = "a_bundle_of_settings_whose_name_has_no_space_at_all_and_does_not_end_" * 2


@pytest.mark.parametrize(
    "name", [LONG, "注意力激活函数的名字非常长" * 6, "한국어 이름", "$x_1$ and $", "🙂 ok"]
)
def test_any_name_is_drawn_without_a_warning(tmp_path, name, recwarn, caplog):
    asked = {
        "name": "names",
        "question": name,
        "task": {"kind": "addition"},
        "train": {"steps": 60},
        "grid": {
            "bundle": {name: {"train.lr": 1e-3}, "short": {"train.lr": 2e-3}},
            "model.d_model": [8, 16],
        },
        "seeds": 3,
        "answer": "final(loss)",
    }

    def curve(keys, seed, steps):
        level = (1 + 0.001 * seed) * (1.5 if keys["bundle"] == name else 1.0)
        falls = np.exp(-0.02 * steps) * level * (1.2 if keys["model.d_model"] == 8 else 1.0)
        logged = np.where(steps % 10 == 0, falls, np.nan)
        more = ("eval_loss", "grad/blocks.0.mlp.linear.weight/rms")
        return {"train_loss": falls} | dict.fromkeys(more, logged)

    store, record = fill(tmp_path / "lab", asked, curve)
    drawing_cache.cached_drawing._drawings.clear()
    content = entry_content(store, record)
    assert "Bold" in content["key_figure"].caption
    assert content["figures"] and content["key_figure"] and content["effect_figures"]
    assert not recwarn.list
    assert not caplog.records
