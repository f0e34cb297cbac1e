"""Associative recall: the value that was paired with a key earlier in the sequence."""

from itertools import combinations, permutations, product
from math import perm

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ablab.tasks.base import Batch, Table, Task
from ablab.tasks.config import IGNORED
from ablab.tasks.factors import at_positions, octave_of
from ablab.tasks.random import Stream, scaled, wide_integers, words
from ablab.tasks.recall_config import RecallConfig
from ablab.tasks.scores import accuracies

_EVALUATION_SEED = 0
_MOST_CHANGED = 8  # pairs of a long sample


class Recall(Task):
    """The input is pairs of a key and a value, then keys again; the targets are their values.

    Multi-query associative recall (Arora et al., "Zoology: measuring and improving recall in
    efficient language models", 2023): ``n_pairs`` pairs with different keys, then ``n_queries`` of
    the keys in random order, each followed by its value (teacher forcing), which is predicted at
    the key. In the paper, every key is queried, at random distances with filler tokens in between;
    here, queries follow each other directly.

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
        """The queries: every second position after the pairs."""
        return slice(2 * self.config.n_pairs, None, 2)

    def draw(self, seed: int, first_step: int, steps: int, batch_size: int) -> Batch:
        """The batches for ``steps`` steps; see :meth:`ablab.tasks.base.Task.draw`."""
        return self._samples(seed, Stream.BATCH, first_step, steps, batch_size)

    def held_out(self, samples: int) -> Batch:
        """Samples from a separate random stream; small tasks repeat some of them in training."""
        batch = self._samples(_EVALUATION_SEED, Stream.EVALUATION, 0, 1, samples)
        return Batch(batch.tokens[0], batch.targets[0])

    def measures(
        self,
        logits: Float[Tensor, "B P V"],
        tokens: Int[Tensor, "B T"],
        targets: Int[Tensor, "B P"],
    ) -> dict[str, Tensor]:
        """``accuracy`` over queries, and ``sequence_accuracy`` over complete samples."""
        return accuracies(logits, targets)

    def factors(self, batch: Batch) -> dict[str, NDArray[np.int64]]:
        """The distance from each query to the pair with its key, (B, P)."""
        pairs = self._queried(batch.tokens)
        distance = self.config.n_pairs + np.arange(pairs.shape[1]) - pairs
        return {"distance": octave_of(distance) - 1}

    @property
    def table_size(self) -> int:
        """The orders of different keys, times their values, times the orders of queries."""
        config = self.config
        keys, asked = perm(config.n_keys, config.n_pairs), perm(config.n_pairs, config.n_queries)
        return int(keys * config.n_values**config.n_pairs * asked)

    def table(self) -> Table:
        """All samples."""
        config = self.config
        keys = np.array(list(permutations(range(config.n_keys), config.n_pairs)))
        values = np.array(list(product(range(config.n_values), repeat=config.n_pairs)))
        asked = np.array(list(permutations(range(config.n_pairs), config.n_queries)))
        at = np.indices((len(keys), len(values), len(asked))).reshape(3, -1)
        found = self._composed(keys[at[0]], config.n_keys + values[at[1]], asked[at[2]])
        return Table(found, None)

    @property
    def held_out_share(self) -> float:
        """Nothing is held out."""
        return 0.0

    @property
    def strata(self) -> tuple[str, ...]:
        """Probes are not stratified."""
        return ()

    def probe_factors(self, batch: Batch) -> dict[str, NDArray[np.int64]]:
        """``source_position`` and ``source_token``: where each value was shown, and it, (B, T)."""
        origin = 2 * self._queried(batch.tokens) + 1
        source = np.take_along_axis(batch.tokens, origin, axis=-1)
        return {
            "source_position": at_positions(origin, batch.tokens, self.predicted),
            "source_token": at_positions(source, batch.tokens, self.predicted),
        }

    def similar(self, batch: Batch, factor: str, seed: int) -> Batch:
        """One pair has another value, or two pairs have changed places; queried pairs first."""
        n, n_values = self.config.n_pairs, self.config.n_values
        keys, values = batch.tokens[:, : 2 * n : 2], batch.tokens[:, 1 : 2 * n : 2]
        asked, samples = self._queried(batch.tokens), np.arange(len(keys))[:, None]
        count = min(n, _MOST_CHANGED)
        drawn = wide_integers(seed, Stream.CONTRAST, 0, len(keys), count, n_values - 1)
        ranks = words(seed, Stream.CONTRAST, len(keys), len(keys), n) / 2.0**64
        ranks[samples, asked] -= 1
        places = np.argsort(ranks, axis=-1)[:, :count]  # (B, count)
        others = np.array(list(combinations(range(count), 2)), dtype=np.int64).reshape(-1, 2)
        first, second = places[:, others[:, 0]], places[:, others[:, 1]]
        order = np.tile(np.arange(n), (len(keys), count + len(others), 1))  # (B, K, n)
        swaps = np.arange(count, order.shape[1])
        order[samples, swaps, first] = second
        order[samples, swaps, second] = first
        keys, values = keys[samples[..., None], order], values[samples[..., None], order]
        changes = np.arange(count)
        before = values[samples, changes, places] - self.config.n_keys
        values[samples, changes, places] = self.config.n_keys + (before + 1 + drawn) % n_values
        # A change of two places is its own inverse: the pair that was at i is at order[i].
        found = np.take_along_axis(order, asked[:, None].repeat(order.shape[1], axis=1), axis=-1)
        return self._composed(keys, values, found)

    def _queried(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of the pair with the key of each query, (B, P)."""
        n = self.config.n_pairs
        offsets = np.arange(len(tokens))[:, None] * self.config.vocab_size
        keys = (tokens[:, : 2 * n : 2] + offsets).ravel()  # different in all samples
        queries = tokens[:, 2 * n :: 2] + offsets
        order = np.argsort(keys)
        places = order[np.searchsorted(keys, queries, sorter=order).clip(max=len(keys) - 1)]
        found: NDArray[np.int64] = places - np.arange(len(tokens))[:, None] * n
        return found

    def text(self, tokens: NDArray[np.int64]) -> str:
        """Tokens as readable text, separated by spaces: key 3 is ``k3``, value 5 is ``v5``."""
        n_keys = self.config.n_keys
        return " ".join(
            f"k{token}" if token < n_keys else f"v{token - n_keys}"
            for token in tokens
            if token != IGNORED
        )

    def tokens(self, text: str) -> NDArray[np.int64]:
        """Converts the output of :meth:`text` back to tokens.

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
                f"no token {word!r}; tokens are k0 to k{config.n_keys - 1} and v0 to "
                f"v{config.n_values - 1}"
            )
        return first + int(word[1:])

    def _samples(self, seed: int, stream: Stream, first: int, rows: int, samples: int) -> Batch:
        config = self.config
        n, m = config.n_pairs, config.n_queries
        raw = words(seed, stream, first, rows, samples * 4 * n).reshape(rows, samples, 4, n)
        keys = _different(raw[..., 0, :], config.n_keys)
        # The selection of keys also fixes their order, so the order is drawn separately.
        keys = np.take_along_axis(keys, _order(raw[..., 1, :]), axis=-1)
        values = config.n_keys + scaled(raw[..., 2, :], config.n_values)
        return self._composed(keys, values, _order(raw[..., 3, :])[..., :m])

    def _composed(
        self, keys: NDArray[np.int64], values: NDArray[np.int64], asked: NDArray[np.int64]
    ) -> Batch:
        """Samples from keys and values, (..., n), and the numbers of queried pairs, (..., m)."""
        questions = np.take_along_axis(keys, asked, axis=-1)
        answers = np.take_along_axis(values, asked, axis=-1)
        pairs = np.stack([keys, values], axis=-1).reshape(*keys.shape[:-1], -1)
        queries = np.stack([questions, answers], axis=-1).reshape(*asked.shape[:-1], -1)
        return Batch(np.concatenate([pairs, queries[..., :-1]], axis=-1), answers)


def _different(raw: NDArray[np.uint64], below: int) -> NDArray[np.int64]:
    """Distinct integers in [0, below) along the last axis; all sets are equally likely.

    Floyd's algorithm (Bentley, "Programming pearls: a sample of brilliance", CACM 1987): for each
    of the last candidates in turn, draw a random number up to it, and use the candidate itself if
    that number was already chosen. The cost does not depend on ``below``.
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
    """A random permutation of the last axis: the sort order of random words."""
    order: NDArray[np.int64] = np.argsort(raw, axis=-1, kind="stable")
    return order
