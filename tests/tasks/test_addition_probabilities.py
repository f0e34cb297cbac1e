"""The predicted probability by offset from the naive digit sum, against a count by hand."""

import numpy as np
import pytest
import torch

from ablab.experiments import experiment
from ablab.tasks.addition import Addition
from ablab.tasks.addition_config import AdditionConfig
from ablab.train.method import SOLO, STACK, Method
from ablab.train.stack import Stack

NAMES = ("naive", "naive_plus_1", "other", "larger_of_two")


def counted(text, probabilities, digit, base=10):
    """The mean probabilities over samples, sample by sample from the text of each."""
    sums = dict.fromkeys(NAMES, 0.0)
    for line, row in zip(text, probabilities, strict=True):
        first, second = line.split("=")[0].split("+")
        naive = 0
        if digit < len(first):
            naive = (int(first[-1 - digit], base) + int(second[-1 - digit], base)) % base
        none, one = row[naive], row[(naive + 1) % base]
        values = (none, one, 1 - none - one, max(none, one))
        for name, value in zip(NAMES, values, strict=True):
            sums[name] += value / len(text)
    return sums


@pytest.mark.parametrize(("target", "base"), [(2, 10), (0, 10), (3, 10), ("all", 10), (1, 16)])
def test_probabilities_by_offset_are_counted_right(target, base):
    task = Addition(AdditionConfig(n_digits=3, base=base, target=target))
    batch = task.held_out(40)
    tokens, targets = torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets)
    logits = torch.randn(*targets.shape, base + 2, generator=torch.Generator().manual_seed(0)) * 3
    found = task.measures(logits, tokens, targets)
    shares = logits.double().softmax(-1).numpy()
    texts = [task.text(row) for row in batch.tokens]
    for place, digit in enumerate(task.config.digits):
        for name, value in counted(texts, shares[:, place], digit, base).items():
            got = found[f"probability/digit_{digit}/{name}"].item()
            assert got == pytest.approx(value, abs=1e-6)


def test_a_model_that_chooses_between_the_two_has_half_of_each():
    # 15+27=42: the digits of the tens add up to 3 without the carry, and to 4 with it.
    task = Addition(AdditionConfig(n_digits=2, target="next_to_last"))
    tokens = torch.from_numpy(task.tokens("15+27="))[None]
    logits = torch.full((1, 1, 12), -50.0)
    logits[0, 0, [3, 4]] = 0.0
    found = task.measures(logits, tokens, torch.tensor([[4]]))
    values = [found[f"probability/digit_1/{name}"].item() for name in NAMES]
    assert values == pytest.approx([0.5, 0.5, 0.0, 0.5], abs=1e-6)
    assert found["loss/digit_1"].item() == pytest.approx(np.log(2))


@pytest.mark.parametrize("method", [STACK, Method("stack", True, "innermost")])
def test_runs_of_a_stack_have_the_probabilities_of_each_alone(method):
    asked = {
        "name": "two",
        "task": {"kind": "addition", "n_digits": 2, "target": 2},
        "model": {"d_model": 8, "n_heads": 2},
        "train": {"steps": 4, "batch_size": 16},
        "seeds": 2,
    }
    runs = experiment(asked).runs
    stack = Stack(list(runs), [None, None], torch.device("cpu"), method)
    held_out = stack.task.held_out(50)
    found = stack.evaluate(held_out, chunk=20)
    for place, run in enumerate(runs):
        alone = Stack([run], [None], torch.device("cpu"), SOLO).evaluate(held_out)
        for name in NAMES:
            column = f"probability/digit_2/{name}"
            np.testing.assert_allclose(found[column][place], alone[column][0], atol=1e-6)
