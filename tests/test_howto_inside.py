"""The how-to pages on parts that look inside, as written, against independent results."""

import numpy as np
import pytest
import torch

import ablab
from tests.howto_pages import follow

STORE = "lab"


def test_a_measure(folder):
    _, effects = follow("own_measure.md", folder)
    assert "final(analysis/itself:to_itself/value) of 6 runs, 3 seeds" in effects
    column = "analysis/itself:to_itself/value"
    metrics = ablab.open(STORE).metrics("itself", [column]).drop_nulls(column)
    assert sorted(set(metrics["step"])) == [0, 100, 200]
    run, step, value = metrics.filter(metrics["step"] == 200).select("run", "step", column).row(0)
    model = ablab.open(STORE).run(run).model(step)
    tokens = torch.tensor([[a, 10, b, 11] for a in range(10) for b in range(10)])  # a+b=
    answers = torch.tensor([[(a + b) // 10] for a in range(10) for b in range(10)])
    tokens = torch.cat([tokens, answers], dim=1)  # the first digit of the answer is an input, too
    _, seen = ablab.watch(model, tokens, ["blocks.0.attn.pattern"])
    pattern = seen["blocks.0.attn.pattern"].detach().numpy()
    expected = np.mean([pattern[:, :, t, t] for t in range(5)])
    assert value == pytest.approx(expected, rel=1e-5)
