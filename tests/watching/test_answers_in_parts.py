"""Statistics of predictions do not depend on how a batch is split."""

import numpy as np
import pytest
import torch

from ablab.experiments import experiment
from ablab.train.method import Method
from ablab.train.stack import Stack
from ablab.watching.reducer import reducer
from ablab.watching.step_statistics import StepStatistics

OWN = "tests.watching.test_answers_in_parts:largest_margin"


@reducer("largest_margin", given="answers")
def largest_margin(logits, targets):
    """The largest margin of the right answer over the mean logit."""
    right = logits.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return (right - logits.mean(-1)).max()


def statistics(method):
    asked = {
        "name": "split", "task": {"kind": "copy", "length": 8, "min_length": 1},
        "model": {"d_model": 16, "n_heads": 2}, "train": {"steps": 2, "batch_size": 8}, "seeds": 2,
    }  # fmt: skip
    stack = Stack(experiment(asked).runs, None, torch.device("cpu"), method)
    patterns = [f"activation/logits/{OWN}", "activation/logits/*"]
    stack.collector = StepStatistics(stack, patterns, lambda key: True)
    return dict(zip(stack.collector.names, stack.advance(1).watched[0], strict=True))


@pytest.mark.parametrize("samples", [2, 3])
def test_predictions_are_reduced_when_the_batch_is_complete(samples):
    whole = statistics(Method("stack", rows=1))
    assert {name.rpartition("/")[2] for name in whole} >= {"mean_margin", "full_confidence", OWN}
    parts = statistics(Method("stack", rows=1, samples=samples))
    for name, values in whole.items():
        np.testing.assert_allclose(parts[name], values, rtol=1e-4, atol=1e-6, err_msg=name)
