"""Modular arithmetic with part of the table held out, as in the grokking literature."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ablab.tasks.base import Batch, Table, Task
from ablab.tasks.groups import CyclicGroup, NoCyclicGroupError, additive_group, multiplicative_group
from ablab.tasks.modular_config import ModularConfig
from ablab.tasks.polynomial import canonical, evaluate, parse_polynomial
from ablab.tasks.random import Stream, permuted
from ablab.tasks.scores import is_right

_MOST_SIMILAR = 4096  # pairs


class Modular(Task):
    """The input is two numbers below p; the target is a polynomial of them, modulo p.

    Tokens are the numbers 0 … p - 1, then ``=`` (p). The layout is that of Nanda et al., "Progress
    measures for grokking via mechanistic interpretability" (2023): a, b, ``=``, and the answer is
    predicted at ``=``. The split follows Power et al., "Grokking: generalization beyond overfitting
    on small algorithmic datasets" (2022): a fraction ``train_fraction`` of all p * p pairs (a, b)
    is used for training. A permutation keyed by ``split_seed`` chooses them, so the split is the
    same for every run seed.

    An epoch visits every training pair once, in an order drawn by a permutation keyed by
    (seed, epoch); the last batch of an epoch can include pairs of the next one. A batch of
    ``train_size`` pairs contains all training pairs, in the same order at every step.

    >>> task = Modular(ModularConfig(operation="a**2+a*b+b**2", p=11))
    >>> batch = task.draw(seed=0, first_step=1, steps=1, batch_size=1)
    >>> task.text(batch.tokens[0, 0]), task.text(batch.targets[0, 0])
    ('2 3 =', '8')
    """

    Config = ModularConfig

    def __init__(self, config: ModularConfig) -> None:
        self.config: ModularConfig = config
        pairs = _shuffled(config.p, config.split_seed)
        self._train = pairs[: config.train_size]
        self._held_out = np.sort(pairs[config.train_size :])
        self._operation = parse_polynomial(config.operation)

    @property
    def predicted(self) -> slice:
        """The last position."""
        return slice(2, None)

    def draw(self, seed: int, first_step: int, steps: int, batch_size: int) -> Batch:
        """The batches for ``steps`` steps; see :meth:`ablab.tasks.base.Task.draw`."""
        size = self.config.train_size
        first = (first_step - 1) * batch_size
        drawn = np.arange(first, first + steps * batch_size, dtype=np.int64)
        places = drawn % size
        if batch_size != size:
            places = permuted(seed, drawn // size, places, size)
        return self._batch(self._train[places].reshape(steps, batch_size))

    def held_out(self, samples: int) -> Batch:
        """At most ``samples`` held-out pairs, spread over the table."""
        last = len(self._held_out) - 1
        places = np.unique(np.linspace(0, last, samples).round()).astype(np.int64)
        return self._batch(self._held_out[places])

    def measures(
        self,
        logits: Float[Tensor, "B P V"],
        tokens: Int[Tensor, "B T"],
        targets: Int[Tensor, "B P"],
    ) -> dict[str, Tensor]:
        """``accuracy``, the share of correct answers."""
        return {"accuracy": is_right(logits, targets).float().mean()}

    def factors(self, batch: Batch) -> dict[str, NDArray[np.int64]]:
        """Whether the sum or difference leaves 0 … p - 1, (B,)."""
        if not self.config.factors:
            return {}
        a, b = batch.tokens[:, 0], batch.tokens[:, 1]
        wraps = {"a - b": a < b, "b - a": b < a}
        found = wraps.get(canonical(self.config.operation), a + b >= self.config.p)
        return {"wraps": found.astype(np.int64)}

    @property
    def table_size(self) -> int:
        """All p * p pairs."""
        return int(self.config.p**2)

    def table(self) -> Table:
        """All pairs, ordered by a, then b."""
        train = np.zeros(self.table_size, dtype=bool)
        train[self._train] = True
        return Table(self._batch(np.arange(self.table_size)), train)

    @property
    def held_out_share(self) -> float:
        """The share of pairs that are not trained on."""
        return 1 - self.config.train_size / self.table_size

    def probe_factors(self, batch: Batch) -> dict[str, NDArray[np.int64]]:
        """``a``, ``b``, their sum ``a_plus_b`` modulo p, and the ``answer``, each (B,)."""
        a, b = batch.tokens[:, 0], batch.tokens[:, 1]
        answer = batch.targets[:, 0]
        return {"a": a, "b": b, "a_plus_b": (a + b) % self.config.p, "answer": answer}

    def similar(self, batch: Batch, factor: str, seed: int) -> Batch:
        """Another a for the factor ``a``, another b for ``b``; other factors: any other pairs.

        If there are many pairs, all that share a or b, and a random selection of the others.
        """
        p = self.config.p
        others = np.arange(p)
        a, b = batch.tokens[:, :1], batch.tokens[:, 1:2]  # (B, 1)
        same_b, same_a = others * p + b, a * p + others  # (B, p)
        if factor in ("a", "b"):
            return self._batch(same_b if factor == "a" else same_a)
        places = np.arange(min(self.table_size, _MOST_SIMILAR))
        rest = permuted(seed, np.zeros_like(places), places, self.table_size, Stream.CONTRAST)
        rest = np.broadcast_to(rest, (len(a), len(rest)))
        return self._batch(np.concatenate([same_b, same_a, rest], axis=-1))

    def cyclic_groups(self) -> dict[str, CyclicGroup]:
        """Sums and differences are in Z_p; products, for an odd prime p, in its units.

        The units do not contain 0. The ``answer`` is predicted at ``=``.

        Raises:
            NoCyclicGroupError: The operation is another one, or p is not an odd prime.
        """
        operation, p = canonical(self.config.operation), self.config.p
        signs = {"a + b": (1, 1), "b + a": (1, 1), "a - b": (1, -1), "b - a": (-1, 1)}
        if operation in signs:
            return {"answer": additive_group(p, (0, 1), signs[operation], 2)}
        if operation in ("a * b", "b * a"):
            return {"answer": multiplicative_group(p, (0, 1), 2)}
        raise NoCyclicGroupError(
            f"{operation} is not a sum, a difference or a product of a and b, so its answer is not "
            f"a sum in a cyclic group"
        )

    def text(self, tokens: NDArray[np.int64]) -> str:
        """Tokens as readable text, separated by spaces: ``3 4 =``."""
        words = ("=" if token == self.config.p else str(token) for token in tokens)
        return " ".join(words)

    def tokens(self, text: str) -> NDArray[np.int64]:
        """Converts the output of :meth:`text` back to tokens.

        Raises:
            ValueError: A word is neither a number below p nor ``=``.
        """
        return np.array([self._token(word) for word in text.split()], dtype=np.int64)

    def _token(self, word: str) -> int:
        if word == "=":
            return self.config.p
        if not (word.isdecimal() and int(word) < self.config.p):
            raise ValueError(
                f"{word!r} is neither a number from 0 to {self.config.p - 1} nor =; expected a b ="
            )
        return int(word)

    def _batch(self, pairs: NDArray[np.int64]) -> Batch:
        p = self.config.p
        a, b = pairs // p, pairs % p
        answers = evaluate(self._operation, a, b, p)
        return Batch(np.stack([a, b, np.full_like(a, p)], axis=-1), answers[..., None])


@lru_cache(maxsize=4)
def _shuffled(p: int, split_seed: int) -> NDArray[np.int64]:
    """All pairs as a * p + b, in the order of the split."""
    pairs = np.arange(p * p)
    result = permuted(split_seed, np.zeros_like(pairs), pairs, p * p, Stream.SPLIT)
    result.setflags(write=False)
    return result
