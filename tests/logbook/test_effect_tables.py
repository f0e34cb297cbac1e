"""What stands beside the tables of effects in an entry, with and without comparisons."""

import numpy as np
import pytest

from ablab.logbook import effect_figures, effect_tables
from ablab.logbook.entry import write_entry
from tests.read.filled import fill, grid

EXPECTED = "final(loss) is below 2 where train.lr=0.001"
CORRECTED = "the tables of effects below correct for all of"
SHORT = "Not compared, since trained for far fewer steps: lr 1e-08, d_mlp 40, steps 8 (8 steps)."


def swept(path):
    """Nine points of two settings, one with 8 steps in place of 60; one run of 27 diverged."""
    asked = grid(steps=60, seeds=3, answer="final(loss)", expect=[EXPECTED])
    asked["grid"] = {
        "zip": {
            "train.lr": [10.0**-k for k in range(9)],
            "model.d_mlp": [8 * (5 * k % 9) + 8 for k in range(9)],
            "train.steps": [60] * 8 + [8],
        }
    }

    def curve(keys, seed, steps):
        if keys["train.lr"] == 1.0 and seed == 0:
            return None
        return 1 + 0.1 * abs(np.log10(keys["train.lr"]) + 3) + 0.01 * seed + 0 * steps

    return fill(path / "lab", asked, curve)


def texts(store, record):
    entry = write_entry(store, record)
    return [(entry.folder / "entry.md").read_text(), entry.page.read_text()]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return texts(*swept(tmp_path_factory.mktemp("sweep")))


def test_trends_alone_have_their_caveat_and_the_runs_without_a_value(sweep):
    for text in sweep:
        after = text[text.index("Settings with many numbers have one test of a trend") :]
        assert after.index(f"1 of 24 runs has no value and is left out. {SHORT}") > 0


def test_a_table_that_is_there_is_pointed_to(sweep):
    for text in sweep:
        assert CORRECTED in text


def test_no_table_is_pointed_to_where_there_is_none(tmp_path):
    asked = grid(steps=60, seeds=3, expect=["final(loss) is below 2"], grid={})
    curve = lambda keys, seed, steps: 1 + 0.01 * seed + 0 * steps  # noqa: E731
    for text in texts(*fill(tmp_path / "lab", asked, curve)):
        assert "Each verdict is one test at 5%." in text
        assert CORRECTED not in text


@pytest.mark.parametrize(("most", "said"), [(3, True), (4, False)])
def test_a_figure_of_some_comparisons_says_so(tmp_path, monkeypatch, most, said):
    for module in (effect_figures, effect_tables):
        monkeypatch.setattr(module, "ROWS", most)
    norms = ["frobenius", "layer", "none", "rms"]
    axes = {"model.norm": norms, "train.lr": [1e-3, 1e-2]}
    asked = grid(steps=60, seeds=3, answer="final(loss)", grid=axes)

    def curve(keys, seed, steps):
        return 1 + 0.01 * seed + 0.1 * norms.index(keys["model.norm"]) + 0 * steps

    for text in texts(*fill(tmp_path / "lab", asked, curve)):
        assert ("Of 4 comparisons, the first 3 with a value are drawn." in text) == said
