"""Associative recall: which value stood beside a key earlier in the sequence."""

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ablab.tasks.base import Batch, Task
from ablab.tasks.config import IGNORED
from ablab.tasks.random import Stream, scaled, words
from ablab.tasks.recall_config import RecallConfig
from ablab.tasks.scores import accuracies

_EVALUATION_SEED = 0


class Recall(Task):
    """Pairs of a key and a value in, then keys again; the value of each out.

    Multi-query associative recall (Arora et al., "Zoology: measuring and improving recall in
    efficient language models", 2023): ``n_pairs`` pairs with different keys, then ``n_queries`` of
    the keys in random order, each followed by its value (teacher forcing), which is predicted at
    the key. In the paper all keys are asked for, at random distances with filling between them;
    here queries follow each other at once.

    Tokens are the keys 0 … n_keys - 1, then the values.

    >>> task = Recall(RecallConfig(n_pairs=3, n_queries=2, n_keys=10, n_values=10))
    >>> batch = task.draw(seed=0, first_step=1, steps=1, batch_size=1)
    >>> task.text(batch.tokens[0, 0]), task.text(batch.targets[0, 0])
    ('k9 v8 k4 v6 k2 v7 k4 v6 k2', 'v6 v7')
    """

    Config = RecallConfig

    def __init__(self, config: RecallConfig) -> None:
        self.config: RecallConfig = config

    @property
    def predicted(self) -> slice:
        """The queries: every other position from the end of the pairs on."""
        return slice(2 * self.config.n_pairs, None, 2)

    def draw(self, seed: int, first_step: int, steps: int, batch_size: int) -> Batch:
        """The batches of ``steps`` steps; see :meth:`ablab.tasks.base.Task.draw`."""
        return self._samples(seed, Stream.BATCH, first_step, steps, batch_size)

    def held_out(self, samples: int) -> Batch:
        """Samples from a stream of their own; of very small settings, some are met in training."""
        batch = self._samples(_EVALUATION_SEED, Stream.EVALUATION, 0, 1, samples)
        return Batch(batch.tokens[0], batch.targets[0])

    def measures(
        self,
        logits: Float[Tensor, "B P V"],
        tokens: Int[Tensor, "B T"],
        targets: Int[Tensor, "B P"],
    ) -> dict[str, Tensor]:
        """``accuracy`` over queries and ``sequence_accuracy``, the share of samples all right."""
        return accuracies(logits, targets)

    def text(self, tokens: NDArray[np.int64]) -> str:
        """Tokens as a person writes them, with blanks between: key 3 is ``k3``, value 5 ``v5``."""
        n_keys = self.config.n_keys
        return " ".join(
            f"k{token}" if token < n_keys else f"v{token - n_keys}"
            for token in tokens
            if token != IGNORED
        )

    def tokens(self, text: str) -> NDArray[np.int64]:
        """What :meth:`text` wrote, as tokens.

        Raises:
            ValueError: A word is neither a key nor a value.
        """
        return np.array([self._token(word) for word in text.split()], dtype=np.int64)

    def _token(self, word: str) -> int:
        config = self.config
        sizes = {"k": (config.n_keys, 0), "v": (config.n_values, config.n_keys)}
        size, first = sizes.get(word[0], (0, 0))
        if not (word[1:].isdecimal() and int(word[1:]) < size):
            raise ValueError(
                f"there is no token {word!r}; tokens are k0 to k{config.n_keys - 1} and v0 to "
                f"v{config.n_values - 1}"
            )
        return first + int(word[1:])

    def _samples(self, seed: int, stream: Stream, first: int, rows: int, samples: int) -> Batch:
        config = self.config
        n, m = config.n_pairs, config.n_queries
        raw = words(seed, stream, first, rows, samples * 4 * n).reshape(rows, samples, 4, n)
        keys = _different(raw[..., 0, :], config.n_keys)
        # Which keys are chosen says where they stand, so their order is drawn apart.
        keys = np.take_along_axis(keys, _order(raw[..., 1, :]), axis=-1)
        values = config.n_keys + scaled(raw[..., 2, :], config.n_values)
        asked = _order(raw[..., 3, :])[..., :m]
        questions = np.take_along_axis(keys, asked, axis=-1)
        answers = np.take_along_axis(values, asked, axis=-1)
        pairs = np.stack([keys, values], axis=-1).reshape(rows, samples, 2 * n)
        queries = np.stack([questions, answers], axis=-1).reshape(rows, samples, 2 * m)
        return Batch(np.concatenate([pairs, queries[..., :-1]], axis=-1), answers)


def _different(raw: NDArray[np.uint64], below: int) -> NDArray[np.int64]:
    """Different integers in [0, below) along the last axis, every set of them equally likely.

    Floyd's algorithm (Bentley, "Programming pearls: a sample of brilliance", CACM 1987): of the
    n-th last candidate and a random one before it, the random one unless it is taken. Its cost does
    not grow with ``below``.
    """
    count = raw.shape[-1]
    chosen = np.empty(raw.shape, dtype=np.int64)
    for place in range(count):
        last = below - count + place
        found = scaled(raw[..., place], last + 1)
        taken = (chosen[..., :place] == found[..., None]).any(-1)
        chosen[..., place] = np.where(taken, last, found)
    return chosen


def _order(raw: NDArray[np.uint64]) -> NDArray[np.int64]:
    """A random order of the last axis: the order of random words."""
    order: NDArray[np.int64] = np.argsort(raw, axis=-1, kind="stable")
    return order
