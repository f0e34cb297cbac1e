"""Curves of an experiment and of a run, and what they say under the cursor."""

import json
import re
from statistics import median

import polars as pl
import pytest

import ablab
from ablab.config import InputError
from ablab.logbook.entry import entry_content
from ablab.logbook.scales import planned_ends
from ablab.notebook import curves
from ablab.notebook.curves import _along
from ablab.read.bands import Band, SeedCurve
from tests.store.makers import train

SMALL = {
    "name": "small",
    "task": {"kind": "addition", "n_digits": 1},
    "model": {"d_model": 4, "n_heads": 1},
    "train": {"steps": 3, "batch_size": 4},
}
TIP = re.compile(r"<title>(.*?)</title>", re.DOTALL)


def tips(plot):
    """What the strips of a figure say: the lines, by the first line."""
    found = [tip.splitlines() for tip in TIP.findall(plot._repr_html_())]
    return {lines[0]: dict(line.split(": ") for line in lines[1:]) for lines in found}


def test_strips_say_the_median_over_seeds(result):
    rows = result.metrics(["train_loss"]).filter(pl.col("step") == 7, pl.col("model.d_model") == 16)
    said = tips(result.plot("train_loss"))
    assert len(said) == 12
    assert said["step 7"].keys() == {"d_model 8", "d_model 16"}
    assert said["step 7"]["d_model 16"] == f"{median(rows['train_loss']):.4g}"


def test_every_seed_is_thin_and_the_median_thick(result):
    (axes,) = result.plot("train_loss").figure.axes
    widths = [line.get_linewidth() for line in axes.get_lines() if len(line.get_xdata()) > 2]
    assert widths.count(0.6) == 6  # two variants of three seeds
    assert widths.count(1.6) == 2


def test_tokens_are_steps_times_samples_times_length(result):
    (axes,) = result.plot("eval_loss", x="tokens").figure.axes
    ends = {max(line.get_xdata()) for line in axes.get_lines() if len(line.get_xdata()) == 4}
    assert ends == {12 * 16 * 6}  # "12+34=" has six tokens
    assert axes.get_xlabel() == "tokens"


def test_costs_and_ends_of_whole_numbers_beside_decimals(tmp_path):
    asked = ablab.experiment(
        {
            "name": "decays",
            "task": {"kind": "addition", "n_digits": 1},
            "model": {"d_model": 8, "n_heads": 2},
            "train": {"steps": 4, "batch_size": 8, "evaluate": {"samples": 8}},
            "grid": {"train.weight_decay": [0, 0.1]},
        }
    )
    found = ablab.run(asked, store=tmp_path / "lab", compile="off", quiet=True, device="cpu")
    (axes,) = found.plot("train_loss", x="tokens").figure.axes
    ends = {max(line.get_xdata()) for line in axes.get_lines() if len(line.get_xdata()) > 2}
    assert ends == {4 * 8 * 4}  # "1+2=" has four tokens
    grid = json.loads(entry_content(found.store, found.record)["plot"].grid)
    assert [each["costs"]["tokens"] for each in grid["variants"]] == [8 * 4] * 2
    runs = found.store.runs(found.record)
    assert planned_ends(runs) == {"train.weight_decay=0.0": 4, "train.weight_decay=0.1": 4}


@pytest.mark.parametrize(
    ("column", "x", "meant"),
    [("train_los", "step", "train_loss"), ("train_loss", "token", "tokens")],
)
def test_a_mistyped_column_or_axis_has_a_suggestion(result, column, x, meant):
    with pytest.raises(InputError, match=f"did you mean {meant}"):
        result.plot(column, x)


def test_a_run_draws_its_losses_on_one_pair_of_axes(run):
    first, second = run.plot().figure.axes
    assert [text.get_text() for text in first.get_legend().get_texts()] == [
        "training loss",
        "held-out loss",
    ]
    assert second.get_title(loc="left") == "held-out accuracy"
    said = [tip for tip in TIP.findall(run.plot()._repr_html_()) if tip.startswith("step 8\n")]
    frame = run.metrics().filter(pl.col("step") == 8)
    assert f"held-out loss: {frame['eval_loss'].item():.4g}" in said[0]
    assert f"training loss: {frame['train_loss'].item():.4g}" in said[0]
    assert f"held-out accuracy: {frame['eval_accuracy'].item():.4g}" in said[1]


def test_columns_are_drawn_in_the_order_in_which_they_are_asked_for(run):
    figure = run.plot("lr", "eval_accuracy", "train_loss").figure
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert titles == ["learning rate", "held-out accuracy", "training loss"]


def test_the_losses_share_axes_in_any_order(run):
    figure = run.plot("lr", "eval_loss", "train_loss").figure
    rate, losses = (axes for axes in figure.axes if axes.get_visible())
    assert rate.get_title(loc="left") == "learning rate"
    assert losses.get_ylabel() == "loss" and len(losses.get_legend().get_texts()) == 2


def test_at_most_six_columns_are_drawn(run):
    plot = run.plot("*")
    assert len([axes for axes in plot.figure.axes if axes.get_visible()]) == 6
    assert "The first 6 of " in plot.caption


def test_an_unknown_column_of_a_run_has_a_suggestion(run):
    with pytest.raises(InputError, match="did you mean grad_norm"):
        run.plot("grad_nrm")


@pytest.mark.parametrize(
    ("name", "start"),
    [("a.svg", b"<svg"), ("a.png", b"\x89PNG"), ("a.pdf", b"%PDF"), ("a.html", b"<!doctype html>")],
)
def test_a_figure_is_saved(run, tmp_path, name, start):
    path = run.plot("train_loss").save(tmp_path / name)
    assert path.read_bytes().startswith(start)


def test_a_figure_is_not_saved_in_an_unknown_format(run, tmp_path):
    with pytest.raises(InputError, match=r"did you mean \.png"):
        run.plot("train_loss").save(tmp_path / "a.pgn")
    with pytest.raises(InputError, match="cannot be written"):
        run.plot("train_loss").save(tmp_path / "none" / "a.png")


@pytest.mark.parametrize(
    "column", ["model.d_model", "step", "seed", "run", "experiment", "restart", ["train_loss"]]
)
def test_what_is_no_column_of_values_is_said(store, column):
    with pytest.raises(InputError, match=r"widths has no column .* to draw") as error:
        store.plot("widths", column)
    assert "one of train_loss, eval_loss" in str(error.value)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (["step"], "has no column 'step' to draw"),
        (["train_loss", "run"], "has no column 'run' to draw"),
        ([["train_loss"]], r"not the name of a column(.|\n)*one argument each"),
    ],
)
def test_what_is_no_column_of_a_run_is_said(run, columns, said):
    with pytest.raises(InputError, match=said):
        run.plot(*columns)


def test_the_caption_tells_which_median_it_is(tmp_path):
    rule = "the less favourable of the two in the middle"
    for seeds, told in ((2, True), (3, False)):
        made = train(SMALL | {"seeds": seeds}, tmp_path / "lab", compile="off")
        caption = ablab.open(made.store.path).plot("small").caption
        assert "thick lines their median" in caption
        assert (rule in caption) is told


def test_nothing_was_trained_yet(tmp_path):
    train(SMALL, tmp_path / "lab", pause=lambda: True)
    with pytest.raises(InputError, match=r"nothing was trained yet\n  given     'small'$"):
        ablab.open(tmp_path / "lab").plot("small")


def test_a_long_curve_has_the_lowest_and_the_highest_value_of_each_point(monkeypatch, run):
    monkeypatch.setattr(curves, "_POINTS", 3)
    plot = run.plot("train_loss")
    assert plot.caption.endswith(
        "A point is the mean of 4 logged steps; the band is from the lowest to the highest of them."
    )
    (axes,) = plot.figure.axes
    losses = run.metrics(["train_loss"])["train_loss"].drop_nulls().to_numpy().reshape(3, 4)
    (line,) = axes.get_lines()
    assert line.get_xdata().tolist() == [4, 8, 12]
    assert line.get_ydata() == pytest.approx(losses.mean(axis=1))
    (band,) = axes.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices}
    assert {(4.0 * (n + 1), end(losses[n])) for n in range(3) for end in (min, max)} <= corners
    monkeypatch.undo()
    assert "of them" not in run.plot("train_loss").caption


def test_restarts_are_where_the_curve_is():
    seed = SeedCurve(0, [250, 500, 750], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0])
    band = Band({}, "a", seed.steps, seed.values, seed.low, seed.high, [500], [seed])
    found = _along(band, 4096.0, {}, "tokens")
    assert found.restarts == [500 * 4096]
    assert found.steps == [step * 4096 for step in seed.steps]
