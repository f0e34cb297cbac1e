import re

import numpy as np
import pytest

from ablab.logbook.conclusions import _seeds_words, find
from ablab.logbook.entry import write_entry
from ablab.logbook.marks import curve_marks
from ablab.read.curves import read_curve
from ablab.read.effects import differences, gather
from ablab.store.metrics import experiment_runs
from tests.read.effects.made import grid as made
from tests.read.filled import fill, grid, leaving

LEVELS = {"log(10)": np.log(10)}


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    rng = np.random.default_rng(0)

    def curve(keys, seed, steps):
        width, heads = keys["model.d_model"], keys["model.n_heads"]
        if (width, heads, seed) == (32, 4, 2):
            return None
        loss = leaving(rng, steps, 2400 / width)
        if (width, heads, seed) == (16, 1, 0):
            loss[350:] *= np.exp(3 * np.exp(-(steps[350:] - 351) / 5))
        return loss

    expect = [
        {"claim": "narrow leaves late", "measure": "leaves(log(10))", "falls_with": "model.d_model",
         "confidence": 0.8},
        "final(loss) is below 0.001",
        "leaves(log(10)) falls with model.n_heads",
    ]  # fmt: skip
    store, record = fill(
        tmp_path_factory.mktemp("store") / "lab", grid(steps=500, seeds=3, expect=expect), curve
    )
    written = write_entry(store, record)
    return store, record, written.folder


def test_findings_have_their_numbers(entry):
    text = (entry[2] / "entry.md").read_text()
    assert "17 of 18 runs stay at log(10), until step 1" in text
    assert "1 of 18 runs diverged, at step 10." in text
    assert "1 of 18 runs has spikes" in text
    assert "## Effects on the step at which the training loss leaves log 10\n" in text
    assert "The measure: `leaves(log(10))`." in text
    assert "halving model.d_model multiplies leaves(log(10)) by 1.98 [1.95, 2.01]" in text
    assert "**d_model 8, 1 head**: log(10) until 29" in text


def test_expectations_stand_in_the_entry(entry):
    text = (entry[2] / "entry.md").read_text()
    assert (
        "| narrow leaves late (leaves(log(10)) falls with model.d_model) | **held** | 80% |" in text
    )
    assert "| final(loss) is below 0.001 | **failed** |" in text
    assert "| leaves(log(10)) falls with model.n_heads | **undecided** |" in text
    page = (entry[2] / "index.html").read_text()
    assert "✗ failed" in page
    assert "✓ held" in page


def test_figures_of_effects(entry):
    names = {path.name for path in (entry[2] / "figures").iterdir()}
    assert {"effects-0.svg", "interactions-0.svg", "effects-1.svg"} <= names
    for name in names:
        assert (entry[2] / "figures" / name).read_text().startswith("<svg")


def test_spikes_are_explained_or_how_to(entry):
    text = (entry[2] / "entry.md").read_text()
    assert "spike at 351: no flight record of it, and no statistics that were watched at" in text
    assert "every step before it; to record them: ablab replay" in text
    again = f"ablab run lab/logbook/{entry[2].name}/experiment.yaml"
    assert f"{again} model.d_model=16 model.n_heads=1 'seeds=[0]'" in text


def test_marks_of_a_variant(entry):
    store, record, _ = entry
    runs = experiment_runs(store, record)
    steps = np.arange(1, 501)
    readings = {
        run.run: read_curve(
            steps, leaving(np.random.default_rng(run.seed), steps, 200), levels=LEVELS
        )
        for run in runs
        if run.status != "diverged"
    }
    marks = curve_marks(runs, readings)
    kinds = [mark["kind"] for mark in marks["model.d_model=8, model.n_heads=1"]]
    assert kinds[:2] == ["plateau", "descent"]
    assert marks["model.d_model=8, model.n_heads=1"][0]["text"].startswith(
        ("log(10) until 19", "log(10) until 20")
    )
    assert marks["model.d_model=32, model.n_heads=4"][-1]["kind"] == "diverged"


def test_a_level_that_half_of_the_runs_never_leave_is_told_once(tmp_path):
    """Two of four runs leave log 10 at about step 200, the others never do."""

    def curve(keys, seed, steps):
        return leaving(np.random.default_rng(seed), steps, 200 if seed < 2 else 10**6)

    asked = grid(steps=400, seeds=4, answer="leaves(log(10))") | {"grid": {}}
    store, record = fill(tmp_path / "lab", asked, curve)
    (said,) = find(store, record, experiment_runs(store, record)).sentences
    assert re.fullmatch(
        r"4 of 4 runs stay at log\(10\): median not left by step 400, earliest left at "
        r"(19|20)\d; 2 never left it\.",
        said,
    )


@pytest.mark.parametrize("long", [1, 2])
def test_runs_that_were_seen_for_fewer_steps_have_no_common_median(tmp_path, long):
    """Runs of 1,000 steps leave log 10 at about 600; those of 300 steps cannot be seen to."""

    def curve(keys, seed, steps):
        at = 10**6 if len(steps) == 300 else 570 + 30 * seed
        return leaving(np.random.default_rng(seed), steps, at)

    bundles = {"short": {"model.d_model": 16, "train.steps": 300}, "long": {"model.d_model": 32}}
    if long == 2:
        bundles["longer"] = {"model.d_model": 64, "train.steps": 1200}
    asked = grid(steps=1000, seeds=3, answer="leaves(log(10))", grid={"variant": bundles})
    store, record = fill(tmp_path / "lab", asked, curve)
    (said,) = find(store, record, experiment_runs(store, record)).sentences
    runs, left = 3 + 3 * long, 3 * long
    assert re.fullmatch(
        rf"{runs} of {runs} runs stay at log\(10\): {left} leave it at step (59|60)\d \[5\d\d, "
        r"6\d\d\] \(median and range\); 3 had not when they ended, at step 300\.",
        said,
    ), said


def test_an_entry_before_anything_is_trained(tmp_path):
    store, record = fill(tmp_path / "lab", grid(steps=20, seeds=1), lambda *_: np.ones(20))
    with store.index.transaction() as connection:
        connection.execute("UPDATE runs SET step = 0")
        connection.execute("DELETE FROM part_runs")
    text = (write_entry(store, record).folder / "entry.md").read_text()
    assert "6 planned" in text
    assert "## Notes" in text


def test_an_axis_may_be_called_as_a_family_of_statistics(tmp_path):
    asked = grid(steps=40, seeds=1) | {
        "grid": {"activation": {"narrow": {"model.d_model": 8}, "wide": {"model.d_model": 16}}}
    }
    store, record = fill(
        tmp_path / "lab",
        asked,
        lambda keys, seed, steps: {"train_loss": 1 / steps, "activation/embed/rms": 1.0 / steps},
    )
    page = write_entry(store, record).page.read_text()
    assert "activation=narrow" in page
    assert "activation/embed/rms" in page


def test_seeds_needed_are_announced_only_where_they_are_estimated():
    """Of two seeds no number is estimated, and none for a mean difference of 0.000002."""
    noise = {8: [0.0] * 5, 16: [0.3, -0.3, 0.2, -0.2, 1e-5], 64: [0.3, -0.1, 0.2, -0.2, 0.3]}

    def said(seeds, widths):
        frame = made({"w": widths}, seeds, lambda width, seed: noise[width][seed])
        return _seeds_words(differences(gather(frame, ["w"], {"w": 8}, "difference")))

    assert said(2, [8, 16, 64]) == said(5, [8, 16]) == ""
    assert said(5, [8, 64]) == "; the table estimates the number of seeds needed"
    assert said(5, [8, 16, 64]).endswith("number of seeds needed, where it can")


def test_of_one_run_no_median_is_told(tmp_path):
    """It stays at log 10 until step 200, and its loss jumps at step 300."""

    def curve(keys, seed, steps):
        loss = leaving(np.random.default_rng(seed), steps, 200)
        loss[299:] *= np.exp(3 * np.exp(-(steps[299:] - 300) / 5))
        return loss

    store, record = fill(tmp_path / "lab", grid(steps=500, seeds=1, grid={}), curve)
    told = find(store, record, experiment_runs(store, record)).sentences
    assert re.fullmatch(r"The run stays at log\(10\), until step (19|20)\d\.", told[0]), told
    assert any(re.fullmatch(r"The run has spikes, by a factor of at most .*: 1\.", each)
               for each in told), told  # fmt: skip
