"""Dropout on tensors whose first axis is not that of samples."""

import pytest
import torch

from ablab.config import InputError
from ablab.experiments import experiment
from ablab.model.forward import Noise
from ablab.train.method import SOLO, STACK
from ablab.train.stack import Stack

SHAPES = ("Flattened", "OfPositions", "SequenceFirst")


def runs_of(name):
    asked = {
        "name": "dropout", "task": {"kind": "addition", "n_digits": 1},
        "model": {"kind": f"tests.train.dropouts:{name}"},
        "train": {"steps": 4, "batch_size": 12}, "seeds": 2,
    }  # fmt: skip
    return experiment(asked).runs


@pytest.mark.parametrize("name", SHAPES)
def test_a_stack_drops_what_each_run_alone_drops(name):
    runs, device = runs_of(name), torch.device("cpu")
    together = Stack(runs, None, device, STACK).advance(4).losses
    for place, run in enumerate(runs):
        alone = Stack([run], None, device, SOLO).advance(4).losses
        torch.testing.assert_close(
            torch.as_tensor(together[:, place]), torch.as_tensor(alone[:, 0]), rtol=1e-5, atol=1e-6
        )
    assert (together[:, 0] != together[:, 1]).all()


@pytest.mark.parametrize("shape", [(6, 3), (2, 3, 3), (3, 2, 3)])
def test_entries_are_kept_with_the_probability_that_is_asked_for(shape):
    words = torch.randint(-32768, 32768, (2, 9 * 4000), dtype=torch.int16)
    noise = Noise(words, [9] * 4000)
    kept = torch.stack([noise.keep(torch.Size(shape), 0.25) for _ in range(4000)]).float()
    torch.testing.assert_close(kept.mean(0), torch.full(shape, 0.75), rtol=0, atol=0.04)


def test_what_samples_share_is_dropped_in_all_of_them():
    words = torch.tensor([[-32768, 32767], [0, 0]], dtype=torch.int16)
    assert Noise(words, [2]).keep(torch.Size((1, 2)), 0.5).tolist() == [[False, True]]


def test_a_size_that_is_not_in_proportion_to_samples_is_told():
    (run, _) = runs_of("OfTokens")
    with pytest.raises(InputError, match="not in proportion to the number of samples"):
        Stack([run], None, torch.device("cpu"), SOLO).advance(2)
