"""Figures of findings show the numbers that the findings have."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from ablab.analysis.analysis import NoSettings
from ablab.analysis.figures import Bars, Curves, HeatMap
from ablab.analysis.finding import Finding, ModelFinding, joined
from ablab.config import InputError
from ablab.logbook.drawn_findings import DrawnFindings
from ablab.logbook.finding_figures import draw, named_figure
from ablab.logbook.findings_section import _cells, _looked_at

CURVES = Curves("gini", "Sparsity", {"gini": "embedding"}, "Gini coefficient")
BARS = Bars("heads", "Heads", "heads", ("block", "head"), "change", "head", "nats", sort=True)
MAP = HeatMap("map", "Pattern", "pattern", "source", "destination", "weight")
MAPS = HeatMap(
    "neurons", "Neurons", "neurons", "b", "a", "activation", "diverging", ("order", "key"),
    "neuron", most=2,
)  # fmt: skip


def findings(steps=lambda variant, seed: (0, 10, 20)):
    """Two variants with two seeds each, at the steps 0, 10 and 20."""
    made = []
    for variant, width in enumerate((8, 16)):
        for seed in (0, 1):
            for step in steps(variant, seed):
                heads = pl.DataFrame({"block": [0, 0], "head": [0, 1], "change": [0.5, 2.0]})
                order = pl.DataFrame({"key": [3, 1, 2], "number": [7, 8, 9]})
                made.append(
                    ModelFinding(
                        Finding(
                            {"gini": 0.1 * variant + 0.01 * seed + step / 100},
                            {"heads": heads, "order": order},
                            {
                                "pattern": np.array([[1.0, 0.0], [0.25, step / 100]]),
                                "neurons": np.arange(12.0).reshape(3, 2, 2),
                            },
                        ),
                        f"{width}{seed}",
                        step,
                        {"seed": seed, "model.d_model": width},
                    )
                )
    return joined("parameter_norms", "What?", NoSettings(), made)


def test_curves_have_a_panel_for_each_variant_with_runs_and_their_median():
    drawing = draw(findings(), CURVES)
    panels = drawing.figure.axes
    assert [axes.get_title("left") for axes in panels] == ["d_model 8", "d_model 16"]
    *runs, median = [line.get_ydata() for line in panels[1].lines]
    np.testing.assert_allclose(runs, [[0.1, 0.2, 0.3], [0.11, 0.21, 0.31]])
    np.testing.assert_allclose(median, [0.105, 0.205, 0.305])
    assert panels[0].get_ylabel() == "Gini coefficient"


def test_the_legend_has_scalars_that_only_some_variants_have():
    """At width 8 there is only a, at width 16 only b."""
    made = [
        ModelFinding(Finding({name: 1.0 + step}, {}, {}), name, step,
                     {"seed": 0, "model.d_model": width})
        for name, width in (("a", 8), ("b", 16))
        for step in (0, 10)
    ]  # fmt: skip
    figure = Curves("two", "Two", {"b": "the b", "a": "the a"}, "nats")
    losses = pl.DataFrame({"run": ["a", "b"], "step": [10, 10], "train_loss": [2.0, 1.0]})
    drawing = draw(joined("parameter_norms", "What?", NoSettings(), made), figure, losses)
    (legend,) = drawing.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["the b", "the a", "training loss"]


@pytest.mark.parametrize("widths", [(8,), (8, 16), (8, 16, 32, 64)])
def test_the_legend_covers_no_title(widths):
    """Long titles are wrapped: the figure's own, and those of variants of several settings."""
    made = [
        ModelFinding(Finding({"gini": 1.0 + step}, {}, {}), f"{width}{seed}", step,
                     {"seed": seed, "model.d_model": width, "model.attention.kind": "sliding" * 3})
        for width in widths for seed in (0, 1) for step in (0, 10)
    ]  # fmt: skip
    losses = pl.DataFrame({"run": ["80", "80"], "step": [0, 10], "train_loss": [2.0, 1.0]})
    losses = losses.with_columns(pl.col("train_loss").alias("eval_loss"))
    title = "Share of the residual stream that depends on the sample, at the answer"
    scalars = {"gini": "after self-attention", "other": "after the MLP of a block"}
    figure = Curves("long", title, scalars, "share")
    drawing = draw(joined("parameter_norms", "What?", NoSettings(), made), figure, losses)
    drawing.figure.draw_without_rendering()
    (legend,) = drawing.figure.legends
    right = legend.get_window_extent().x0
    for axes in drawing.figure.axes:
        found = axes.get_title("left") and axes._left_title.get_window_extent()
        assert not found or found.x1 <= right


def test_losses_stand_below_curves():
    losses = pl.DataFrame(
        {"run": ["80", "80", "160"], "step": [0, 20, 20], "train_loss": [2.0, 1.0, 3.0]}
    )
    panels = draw(findings(), CURVES, losses).figure.axes
    assert len(panels) == 4
    assert panels[2].lines[-1].get_ydata().tolist() == [2.0, 1.0]
    assert panels[3].lines[-1].get_ydata().tolist() == [3.0]


def test_bars_are_those_of_the_last_step_of_each_run():
    panels = draw(findings(), BARS).figure.axes
    assert len(panels) == 4
    assert [bar.get_height() for bar in panels[0].patches] == [2.0, 0.5]
    assert [label.get_text() for label in panels[0].get_xticklabels()] == ["0.1", "0.0"]
    assert panels[3].get_title("left") == "d_model 16, seed 1"


def test_tables_of_an_earlier_edition_have_nothing_to_draw():
    later = Bars("heads", "Heads", "heads", ("block", "head"), "share", "head", "share")
    with pytest.raises(InputError, match="nothing to draw as heads"):
        draw(findings(), later)


def test_an_analysis_without_scalars_has_panels_by_run():
    heads = pl.DataFrame({"block": [0], "head": [1], "change": [2.0]})
    made = [
        ModelFinding(Finding({}, {"heads": heads}), run, 5, {"seed": 0}) for run in ("aa", "bb")
    ]
    drawing = draw(joined("parameter_norms", "What?", NoSettings(), made), BARS)
    assert [axes.get_title(loc="left") for axes in drawing.figure.axes] == ["aa", "bb"]


def test_heat_maps_tell_their_values():
    drawing = draw(findings(), MAP)
    assert len(drawing.maps) == 4
    np.testing.assert_array_equal(drawing.maps[0].values, [[1, 0], [0.25, 0.2]])
    for cells in drawing.maps:
        left, top, right, bottom = cells.box
        assert 0 < left < right < 1 and 0 < top < bottom < 1
    known = json.loads(_cells(drawing.maps))
    assert known[1]["values"] == [[1.0, 0.0], [0.25, 0.2]]
    assert known[1]["name"] == "d_model 8, seed 1"


def test_small_multiples_are_those_of_one_run_in_order():
    drawing = draw(findings(), MAPS)
    assert [each.name for each in drawing.maps] == ["neuron 1", "neuron 2"]
    np.testing.assert_array_equal(drawing.maps[0].values, [[4, 5], [6, 7]])
    assert "2 of 3" in drawing.caption and "d_model 8, seed 0" in drawing.caption


def test_findings_draw_themselves():
    found = DrawnFindings.of(findings(), None)
    assert {each.name for each in found.figures} == {"effective_rank", "spectral_norm"}
    with pytest.raises(InputError, match=r"no figure 'gini'(.|\n)*effective_rank"):
        found.figure("gini")
    with pytest.raises(InputError, match="nothing to draw as effective_rank"):
        found.figure()
    assert named_figure([CURVES, BARS], "heads") is BARS


def test_runs_that_were_looked_at_longest_are_drawn_and_others_say_their_step():
    short = findings(lambda variant, seed: (0, 10) if (variant, seed) == (0, 0) else (0, 10, 20))
    drawing = draw(short, MAP)
    assert [each.name for each in drawing.maps] == [
        "d_model 8, seed 1, step 20", "d_model 8, seed 0, step 10",
        "d_model 16, seed 0, step 20", "d_model 16, seed 1, step 20",
    ]  # fmt: skip
    assert drawing.caption == "Pattern, each after the latest step that was looked at."
    (first, _) = draw(short, MAPS).maps
    np.testing.assert_array_equal(first.values, [[4, 5], [6, 7]])
    assert "d_model 8, seed 1, step 20" in draw(short, MAPS).caption


def test_rows_and_columns_of_heat_maps_have_whole_numbers():
    for axes in draw(findings(), MAP).figure.axes[:4]:
        assert all(float(tick).is_integer() for tick in [*axes.get_xticks(), *axes.get_yticks()])


def test_a_caption_says_the_step():
    assert draw(findings(), BARS).caption == "Heads, after step 20."
    assert draw(findings(lambda variant, seed: (0,)), BARS).caption == "Heads, untrained."


def test_small_multiples_can_be_named_by_what_sorts_them():
    figure = replace(MAPS, name_sorts=True, number_by=("order", "number"))
    drawing = draw(findings(), figure)
    assert [each.name for each in drawing.maps] == ["neuron 8 (1)", "neuron 9 (2)"]
    assert drawing.caption.endswith(", 2 of 3, after step 20. In brackets: key.")


def test_maps_of_several_blocks_say_of_which():
    table = pl.DataFrame({"block": [0, 0, 1], "head": [0, 1, 0]})
    maps = np.arange(12.0).reshape(3, 2, 2)
    made = [ModelFinding(Finding({}, {"heads": table}, {"m": maps}), "r", 5, {"seed": 0})]
    found = joined("parameter_norms", "What?", NoSettings(), made)
    figure = HeatMap(
        "m", "Maps", "m", "to", "from", "weight", panel="head", number_by=("heads", "head")
    )
    names = [each.name for each in draw(found, figure).maps]
    assert names == ["block 0, head 0", "block 0, head 1", "block 1, head 0"]


def test_numbers_on_a_scale_can_be_a_line():
    line = Bars("curve", "Curve", "order", ("number",), "key", "number", "key", line=True)
    (points, *_) = draw(findings(), line).figure.axes[0].lines
    np.testing.assert_array_equal(points.get_xydata(), [[7, 3], [8, 1], [9, 2]])


def test_findings_of_an_earlier_release_say_how_to_make_them_anew():
    with pytest.raises(InputError, match="ablab analyze EXPERIMENT parameter_norms"):
        draw(findings(), replace(BARS, y="later"))


def test_a_line_has_its_intervals():
    table = pl.DataFrame({"x": [1, 2], "y": [2.0, 3.0], "low": [1.5, 2.0], "high": [4.0, 3.5]})
    made = [ModelFinding(Finding({"gini": 0.5}, {"t": table}, {}), "r", 5, {"seed": 0})]
    found = joined("parameter_norms", "What?", NoSettings(), made)
    line = Bars("line", "Line", "t", ("x",), "y", "x", "y", "low", "high", line=True)
    (bars,) = draw(found, line).figure.axes[0].collections
    np.testing.assert_allclose(bars.get_segments(), [[[1, 1.5], [1, 4]], [[2, 2], [2, 3.5]]])


def test_bars_that_are_too_short_to_see_are_said_to_be_left_out():
    """The longest bar is 100, so that one of 0.1 is left out and one of 0.3 is not."""
    table = pl.DataFrame({"block": [0, 0, 0], "head": [0, 1, 2], "change": [0.1, 100.0, 0.3]})
    made = [ModelFinding(Finding({"gini": 0.5}, {"heads": table}, {}), "r", 5, {"seed": 0})]
    drawing = draw(joined("parameter_norms", "What?", NoSettings(), made), BARS)
    assert [bar.get_height() for bar in drawing.figure.axes[0].patches] == [100.0, 0.3]
    assert drawing.caption.endswith(" Bars shorter than 0.2% of the longest are left out.")


def test_a_section_says_which_variants_were_looked_at():
    every = [
        SimpleNamespace(run=f"{width}-{seed}", variant={"model.d_model": width})
        for width in (8, 16, 32)
        for seed in (0, 1)
    ]

    def looked_at(*runs):
        made = [ModelFinding(Finding({"gini": 0.5}, {}, {}), run, 5, {"seed": 0}) for run in runs]
        found = joined("parameter_norms", "What?", NoSettings(), made)
        return _looked_at(found, every)

    assert looked_at("8-0", "32-1") == "Looked at 2 of 3 variants: d_model 8; d_model 32."
    assert looked_at(*(run.run for run in every)) == ""
