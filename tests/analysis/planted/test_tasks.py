"""The tasks of the planted heads."""

import numpy as np
import pytest

from tests.analysis.planted.tasks import Previous, PreviousConfig, Repetition, RepetitionConfig


def test_answers_worked_by_hand():
    tokens = np.array([[2, 0, 5, 2, 2, 1], [1, 1, 0, 3, 0, 3]])
    previous = Previous(PreviousConfig()).answers(tokens)
    assert previous.tolist() == [[2, 0, 5, 2, 2], [1, 1, 0, 3, 0]]
    new, seen = 6, 7
    repetition = Repetition(RepetitionConfig(n_symbols=6)).answers(tokens)
    assert repetition.tolist() == [
        [new, new, new, seen, seen, new],
        [new, seen, new, new, seen, seen],
    ]


@pytest.mark.parametrize("config", [PreviousConfig(length=5), RepetitionConfig(length=5)])
def test_batches_have_their_shapes(config):
    cls = {"Previous": Previous, "Repetition": Repetition}[config.kind.rpartition(":")[2]]
    task = cls(config)
    batch = task.draw(seed=0, first_step=3, steps=2, batch_size=4)
    targets = len(range(5)[task.predicted])
    assert batch.tokens.shape == (2, 4, 5)
    assert batch.targets.shape == (2, 4, targets)
    alone = task.draw(seed=0, first_step=4, steps=1, batch_size=4)
    np.testing.assert_array_equal(alone.tokens[0], batch.tokens[1])
    assert batch.tokens.max() < 6 <= config.vocab_size
