"""Heat maps of attention say the model's own values."""

import re

import numpy as np
import pytest
import torch

import ablab
from ablab.config import InputError
from ablab.model.bigram_config import BigramConfig
from ablab.notebook.attention import plot_attention, sample_tokens
from ablab.store.index import StoreError
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
    with pytest.raises(InputError, match="no attention"):
        plot_attention(initial_model(made), make_task(made), None)


def test_tokens_of_a_tensor_with_one_sample():
    task = make_task(make_run())
    assert sample_tokens(task, torch.tensor([TOKENS])).tolist() == TOKENS
    assert sample_tokens(task, "12+34=").tolist() == TOKENS
