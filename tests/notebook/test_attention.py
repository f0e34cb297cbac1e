"""Heat maps of attention say the model's own values."""

import re

import numpy as np
import pytest
import torch

import ablab
from ablab.config import InputError
from ablab.model.bigram_config import BigramConfig
from ablab.model.thinker_config import ThinkerConfig
from ablab.notebook import attention
from ablab.notebook.attention import plot_attention, sample_tokens
from ablab.store.index import StoreError
from ablab.tasks.sequences_config import CopyConfig
from ablab.train.stack import initial_model, make_task
from tests.helpers import make_run

TIP = re.compile(r"<title>L(\d)H(\d) from (\S+) \((\d+)\), to (\S+) \((\d+)\): (\S+)</title>")
TOKENS = [1, 2, 10, 3, 4, 11]  # "12+34="


def test_cells_say_the_attention_of_the_model(run):
    found = TIP.findall(run.attention("12+34=")._repr_html_())
    assert len(found) == 2 * 2 * 6 * 6  # layers, heads, queries, keys
    model = run.model()
    _, seen = ablab.watch(model, torch.tensor([TOKENS]), ["blocks.*.attn.pattern"])
    for layer, head, source, row, target, column, value in found:
        pattern = seen[f"blocks.{layer}.attn.pattern"][0, int(head), int(row), int(column)]
        assert value == f"{pattern.item():.3g}"
        assert (source, target) == ("12+34="[int(row)], "12+34="[int(column)])


def test_a_layer_a_head_and_a_step(run):
    plot = run.attention(TOKENS, step=0, layer=1, head=0)
    (axes,) = [each for each in plot.figure.axes if each.get_images()]
    assert axes.get_title(loc="left") == "layer 1, head 0"
    _, seen = ablab.watch(run.model(0), torch.tensor([TOKENS]), ["blocks.1.attn.pattern"])
    drawn = np.asarray(axes.get_images()[0].get_array())
    np.testing.assert_allclose(drawn, seen["blocks.1.attn.pattern"][0, 0].detach().numpy())
    assert [text.get_text() for text in axes.get_xticklabels()] == list("12+34=")
    assert "after step 0 on '12+34='" in plot.caption


def test_by_default_the_first_held_out_sample(run):
    task = run.task()
    assert repr(task.text(task.held_out(1).tokens[0])) in run.attention().caption


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tokens": "12+3x"}, "cannot read these tokens"),
        ({"tokens": [1, 2, 12]}, "not the tokens of one sample"),
        ({"tokens": [0.5]}, "not the tokens of one sample"),
        ({"tokens": []}, "not the tokens of one sample"),
        ({"tokens": [[1, 2], [3, 4]]}, "not the tokens of one sample"),
        ({"tokens": ""}, "cannot read these tokens: there are none"),
        ({"tokens": ["1", "2"]}, "not the tokens of one sample"),
        ({"tokens": [[1, 2], [3]]}, "not the tokens of one sample"),
        ({"tokens": [True, False]}, "not the tokens of one sample"),
        ({"layer": "0"}, "the layer is not a whole number"),
        ({"head": "0"}, "the head is not a whole number"),
        ({"head": 1.0}, "the head is not a whole number"),
        ({"head": True}, "the head is not a whole number"),
        ({"step": "last"}, "the step is not a whole number"),
        ({"tokens": [1] * 30}, "cannot read these tokens"),
        ({"layer": 2}, "no such layer"),
        ({"head": -1}, "no such head"),
    ],
)
def test_what_cannot_be_drawn_is_said(run, given, message):
    with pytest.raises(InputError, match=message):
        run.attention(**({"tokens": "12+34="} | given))


def test_a_step_without_a_snapshot(run):
    with pytest.raises(StoreError, match="no snapshot of step 5"):
        run.attention("12+34=", step=5)


def test_a_model_without_attention():
    made = make_run(model=BigramConfig())
    with pytest.raises(InputError, match="no attention that can be drawn"):
        plot_attention(initial_model(made), make_task(made), None)


def test_tokens_of_a_tensor_with_one_sample():
    task = make_task(make_run())
    assert sample_tokens(task, torch.tensor([TOKENS])).tolist() == TOKENS
    assert sample_tokens(task, "12+34=").tolist() == TOKENS


def test_numbers_of_numpy(run):
    plot = run.attention(TOKENS, step=np.int64(6), layer=np.int64(1), head=np.int32(1))
    assert "after step 6" in plot.caption and len(plot.maps) == 1


def test_the_figure_says_which_run_it_is_of(run):
    figure = run.attention("12+34=").figure
    cell = f"(model.d_model={run.record.variant['model.d_model']}, seed {run.record.seed})"
    assert f"run {run.id} {cell} after step 12 on '12+34='" in figure.get_suptitle()
    panels = [axes for axes in figure.axes if axes.get_images()]
    assert [axes.get_ylabel() for axes in panels] == ["from", "", "", ""]
    assert [axes.get_xlabel() for axes in panels] == ["to"] * 4


def test_a_thinkers_attention_has_its_memory_at_the_axes():
    made = make_run(
        task=CopyConfig(length=4), model=ThinkerConfig(d_model=8, n_heads=2, n_latents=3)
    )
    model, task = initial_model(made), make_task(made)
    plot = plot_attention(model, task, None)
    assert "m0, m1, … are the vectors of the model's memory" in plot.caption
    titles = [axes.get_title(loc="left") for axes in plot.figure.axes if axes.get_images()]
    layers = ("read", "thought 0", "write")
    assert titles == [f"{layer}, head {head}" for layer in layers for head in range(2)]
    tokens = task.held_out(1).tokens[:1]
    _, seen = ablab.watch(model, torch.from_numpy(tokens), ["*.attn.pattern"])
    for place, values in enumerate(seen.values()):
        drawn = plot.maps[2 * place + 1].values
        np.testing.assert_allclose(drawn, values[0, 1].detach(), rtol=1e-6)
    read, thought, write = (plot.maps[2 * place] for place in range(3))
    text = task.text(tokens[0])
    assert (
        read.rows[0] == thought.rows[0] == thought.columns[0].replace("to", "from") == "from m0 (0)"
    )
    assert [name[3] for name in read.columns] == list(text[: read.values.shape[1]])
    assert [name[5] for name in write.rows] == list(text)
    assert len(plot_attention(model, task, None, layer=2, head=1).maps) == 1


def test_many_cells_are_said_to_have_no_values(monkeypatch, run):
    assert "under the cursor" not in run.attention("12+34=").caption
    monkeypatch.setattr(attention, "MOST_CELLS", 143)  # of 2 * 2 * 6 * 6
    assert "no values under the cursor" in run.attention("12+34=").caption
