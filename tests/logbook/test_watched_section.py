"""What was watched, by variant, in stores of made-up curves."""

import numpy as np
import pytest

from ablab.logbook.entry import write_entry
from ablab.logbook.watched_section import MOST_VARIANTS, capture_words, watched_variants
from ablab.store.metrics import experiment_runs
from tests.read.filled import fill, grid

ENTROPY = "activation/blocks.{}.attn.pattern/mean_entropy"
RATIO = "param/model/update_ratio"


def curve(keys, seed, steps):
    """Two layers' entropies at width 8 only, and a statistic that was never logged."""
    logged = steps % 10 == 0
    found = {"train_loss": np.ones(len(steps)), RATIO: np.where(logged, 0.1 + seed, np.nan)}
    found["grad/model/noise_scale"] = np.full(len(steps), np.nan)
    for layer in (0, 1):
        narrow = logged & (keys["model.d_model"] == 8)
        found[ENTROPY.format(layer)] = np.where(narrow, 1.0 + layer, np.nan)
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    asked = grid(steps=40, seeds=2)
    asked["grid"] = {"model.d_model": [8, 16]}
    return fill(tmp_path_factory.mktemp("watched") / "lab", asked, curve)


def test_each_variant_has_what_was_logged_for_it(made):
    narrow, wide = watched_variants(*made, experiment_runs(*made))
    assert (narrow.name, wide.name) == ("d_model 8", "d_model 16")
    entropy = ENTROPY.format("*")
    assert [each.title for each in narrow.figures] == [
        entropy, f"{entropy}, as a heat map", RATIO,
    ]  # fmt: skip
    assert [each.title for each in wide.figures] == [RATIO]  # no empty figure
    assert [each.file for each in wide.figures] == ["param-model-update-ratio-2"]


def test_captions_say_what_is_averaged(made):
    narrow, _ = watched_variants(*made, experiment_runs(*made))
    assert {each.caption for each in narrow.figures} == {"mean over 2 seeds at each step"}


def test_without_scripts_every_variant_is_listed(made):
    entry = write_entry(*made)
    page = entry.page.read_text()
    assert page.count('<details class="watched-set"') == 2
    assert page.count('<details class="watched-set" data-variant="0" open>') == 1
    assert '<select id="watched-variant">' in page
    assert "noise_scale" not in page.partition('id="watched"')[2].partition("<script")[0]
    text = (entry.folder / "entry.md").read_text()
    assert (
        "### d_model 16\n\n![param/model/update_ratio](figures/param-model-update-ratio-2.svg)"
        in (text)
    )
    assert (entry.folder / "figures" / "param-model-update-ratio-2.svg").is_file()


def test_of_many_variants_the_first_have_figures(tmp_path):
    asked = grid(steps=20, seeds=1)
    asked["grid"] = {"model.d_model": [4 * (place + 1) for place in range(MOST_VARIANTS + 2)]}
    store, record = fill(tmp_path / "lab", asked, curve)
    found = watched_variants(store, record, experiment_runs(store, record))
    assert len(found) == MOST_VARIANTS
    assert sum(len(each.figures) for each in found) <= 48
    entry = write_entry(store, record)
    for text in (entry.page.read_text(), (entry.folder / "entry.md").read_text()):
        assert f"Figures of {MOST_VARIANTS} of {MOST_VARIANTS + 2} variants." in text


def test_what_a_capture_shows_is_said():
    name = "activation/blocks.3.attn.pattern"
    assert (
        capture_words(name, (64, 4, 9, 9), True) == "mean over 64 samples, for 4 heads of block 3"
    )
    assert capture_words(name, (1, 16, 9, 9), True) == (
        "mean over 1 sample, for the first 8 of 16 heads of block 3"
    )
    assert capture_words("param/embed", (10, 8), False) == (
        "each column is the histogram of all 80 entries"
    )
