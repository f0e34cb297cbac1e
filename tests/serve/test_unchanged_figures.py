import pytest
from starlette.testclient import TestClient

from ablab.logbook import drawing_cache, figure, variant_curves
from ablab.serve.app import make_app
from ablab.store import Store
from tests.store.makers import train_and_write

ASKED = {
    "name": "served",
    "task": {"kind": "addition", "n_digits": 1},
    "model": {"d_model": 4, "n_heads": 1},
    "train": {"steps": 20, "batch_size": 8, "evaluate": {"every": 10, "samples": 16}},
    "watch": {"every": 10, "statistics": ["grad/blocks.0.mlp.linear.weight/rms"]},
    "grid": {"train.lr": [1e-3, 1e-2]},
    "seeds": 2,
}


@pytest.fixture
def lab(tmp_path):
    return train_and_write(ASKED, tmp_path / "lab")


def test_figures_that_show_the_same_are_not_drawn_again(lab, monkeypatch):
    drawing_cache.cached_drawing._drawings.clear()
    drawn = []
    draw_curves = variant_curves.Figure

    def counted(*args, **kwargs):
        drawn.append("curves")
        return draw_curves(*args, **kwargs)

    monkeypatch.setattr(variant_curves, "Figure", counted)
    found = figure.find_figure

    def looked_up(name):
        drawn.append(name)
        return found(name)

    monkeypatch.setattr(figure, "find_figure", looked_up)
    browser = TestClient(
        make_app(lab.store.path, loopback=True, token=None), base_url="http://127.0.0.1:8765"
    )
    page = f"/experiments/{lab.record.id}"
    first = browser.get(page)
    # Both losses alone and together, and the accuracy; one statistic for each of two variants.
    assert drawn.count("curves") == 4 + 2
    drawn.clear()
    Store(lab.store.path).note(lab.record.id, "A new note.")
    second = browser.get(page)
    while second.headers["etag"] == first.headers["etag"]:  # the last response is still young
        second = browser.get(page)
    assert "A new note." in second.text
    assert drawn == []
