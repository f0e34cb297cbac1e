"""Predicting the next character of a text."""

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ablab.tasks.base import Batch, Task
from ablab.tasks.corpora import read_corpus
from ablab.tasks.random import permuted
from ablab.tasks.text_config import TextConfig

PADDING = 0


class Text(Task):
    """Windows of a text in; the next character at each position out.

    Token 0 is padding, which stands in no window; character k of the text's sorted distinct
    characters is token k + 1. The text's end (``held_out`` of it) is never trained on. An epoch
    visits every window of ``seq_len`` characters of the rest once, in an order drawn by a keyed
    permutation of (seed, epoch); the last batch of an epoch may reach into the next.

    >>> task = Text(TextConfig(corpus="python-stdlib", seq_len=8))
    >>> batch = task.draw(seed=0, first_step=1, steps=1, batch_size=2)
    >>> batch.tokens.shape, batch.targets.shape
    ((1, 2, 8), (1, 2, 8))
    >>> text, following = task.text(batch.tokens[0, 0]), task.text(batch.targets[0, 0])
    >>> text[1:] == following[:-1]
    True
    """

    Config = TextConfig

    def __init__(self, config: TextConfig) -> None:
        self.config: TextConfig = config
        points = np.frombuffer(read_corpus(config.corpus).encode("utf-32-le"), dtype="<u4")
        distinct, tokens = np.unique(points, return_inverse=True)
        self._characters = "".join(map(chr, distinct))
        numbers: NDArray[np.int32] = (tokens + 1).astype(np.int32)
        self._train = numbers[: config.train_characters]
        self._held_out = numbers[config.train_characters :]

    @property
    def windows(self) -> int:
        """How many windows an epoch visits."""
        return len(self._train) - self.config.seq_len

    @property
    def predicted(self) -> slice:
        """Every position."""
        return slice(None)

    def draw(self, seed: int, first_step: int, steps: int, batch_size: int) -> Batch:
        """The batches of ``steps`` steps; see :meth:`ablab.tasks.base.Task.draw`."""
        first = (first_step - 1) * batch_size
        drawn = np.arange(first, first + steps * batch_size, dtype=np.int64)
        starts = permuted(seed, drawn // self.windows, drawn % self.windows, self.windows)
        return self._cut(self._train, starts.reshape(steps, batch_size))

    def held_out(self, samples: int) -> Batch:
        """At most ``samples`` windows spread evenly over the held-out text."""
        last = len(self._held_out) - self.config.seq_len - 1
        starts = np.unique(np.linspace(0, last, samples).round()).astype(np.int64)
        return self._cut(self._held_out, starts)

    def measures(
        self,
        logits: Float[Tensor, "B P V"],
        tokens: Int[Tensor, "B T"],
        targets: Int[Tensor, "B P"],
    ) -> dict[str, Tensor]:
        """``accuracy``, the share of characters predicted."""
        return {"accuracy": (logits.argmax(-1) == targets).float().mean()}

    def text(self, tokens: NDArray[np.int64]) -> str:
        """Tokens as text; padding is left out."""
        return "".join(self._characters[token - 1] for token in tokens if token != PADDING)

    def tokens(self, text: str) -> NDArray[np.int64]:
        """Text as tokens.

        Raises:
            ValueError: A character does not occur in the corpus.
        """
        unknown = sorted(set(text) - set(self._characters))
        if unknown:
            raise ValueError(f"the corpus has no character {unknown[0]!r}")
        return np.array([self._characters.index(character) + 1 for character in text])

    def _cut(self, text: NDArray[np.int32], starts: NDArray[np.int64]) -> Batch:
        window = starts[..., None] + np.arange(self.config.seq_len + 1)
        cut = text[window].astype(np.int64)
        return Batch(cut[..., :-1], cut[..., 1:])
