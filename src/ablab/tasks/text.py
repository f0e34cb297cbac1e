"""Predicting the next character or subword of a text."""

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ablab.tasks.base import Batch, Table, Task
from ablab.tasks.factors import DOES_NOT_APPLY, octave_of
from ablab.tasks.random import Stream, integers, permuted
from ablab.tasks.subwords import Subwords, load_subwords
from ablab.tasks.text_config import TextConfig
from ablab.tasks.text_parts import TRAIN

PADDING = 0
_MOST_REDRAWN = 32  # tokens of a window


def is_word(character: str) -> bool:
    """Whether a character belongs to a word: a letter, a digit or an underscore."""
    return character.isalnum() or character == "_"


class Characters:
    """A character-level tokenizer: character k is token k + 1, 0 is padding."""

    def __init__(self, characters: str) -> None:
        self._characters = characters

    def text(self, tokens: NDArray[np.int64]) -> str:
        """Converts tokens to text, without padding."""
        return "".join(self._characters[token - 1] for token in tokens if token != PADDING)

    def tokens(self, text: str) -> NDArray[np.int64]:
        """Converts text to tokens.

        Raises:
            ValueError: A character does not occur in the corpus.
        """
        unknown = sorted(set(text) - set(self._characters))
        if unknown:
            raise ValueError(f"the corpus has no character {unknown[0]!r}")
        found = [self._characters.index(character) + 1 for character in text]
        return np.array(found, dtype=np.int64)


class Text(Task):
    """The input is a window of a text; the target at each position is the next token.

    Token 0 is padding, which does not occur in windows. Character k of the sorted distinct
    characters, or token k of a subword tokenizer, is token k + 1. Neither the model nor a
    tokenizer is trained on what is held out: the end of the text (a share ``held_out`` of its
    characters), or its ``splits``. An epoch visits every window of ``seq_len`` tokens of the rest
    once, in an order drawn by a keyed permutation of (seed, epoch); the last batch of an epoch can
    include windows of the next one.

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
        config.check_data()
        self.config: TextConfig = config
        content = config.subwords_json
        self._codec: Characters | Subwords
        self._codec = Characters(config.characters) if content is None else load_subwords(content)
        tokens = config.encoded_parts
        self._train = tokens.pop(TRAIN)
        self._held_out = tokens.pop(config.main_split)
        self._others = tokens

    @property
    def windows(self) -> int:
        """The number of windows per epoch."""
        return len(self._train) - self.config.seq_len

    @property
    def predicted(self) -> slice:
        """Every position."""
        return slice(None)

    def draw(self, seed: int, first_step: int, steps: int, batch_size: int) -> Batch:
        """The batches for ``steps`` steps; see :meth:`ablab.tasks.base.Task.draw`."""
        first = (first_step - 1) * batch_size
        drawn = np.arange(first, first + steps * batch_size, dtype=np.int64)
        starts = permuted(seed, drawn // self.windows, drawn % self.windows, self.windows)
        return self._cut(self._train, starts.reshape(steps, batch_size), self.config.seq_len)

    def held_out(self, samples: int) -> Batch:
        """At most ``samples`` windows, spread evenly over the held-out text."""
        return self._spread(self._held_out, samples, self.config.seq_len)

    def evaluation_sets(self, samples: int) -> dict[str, Batch]:
        """The held-out windows, those of other splits, and longer ones of each.

        The sets of another split have its name. A set with windows of length L, for each of
        ``eval_lengths``, is ``length_L``, or ``SPLIT_length_L`` of another split; it has about as
        many tokens. All windows are spread evenly over their text.
        """
        sets = {"": self.held_out(samples)}
        for length in self.config.eval_lengths:
            sets[f"length_{length}"] = self._longer(self._held_out, samples, length)
        for name, text in self._others.items():
            sets[name] = self._spread(text, samples, self.config.seq_len)
            for length in self.config.eval_lengths:
                sets[f"{name}_length_{length}"] = self._longer(text, samples, length)
        return sets

    def _longer(self, text: NDArray[np.int32], samples: int, length: int) -> Batch:
        return self._spread(text, max(1, round(samples * self.config.seq_len / length)), length)

    def measures(
        self,
        logits: Float[Tensor, "B P V"],
        tokens: Int[Tensor, "B T"],
        targets: Int[Tensor, "B P"],
    ) -> dict[str, Tensor]:
        """``accuracy``, the share of correct tokens."""
        return {"accuracy": (logits.argmax(-1) == targets).float().mean()}

    def factors(self, batch: Batch) -> dict[str, NDArray[np.int64]]:
        """The position in the window, and the place of each target in a word, (B, P)."""
        places = octave_of(np.arange(batch.targets.shape[-1]))
        return {
            "position": np.broadcast_to(places, batch.targets.shape),
            "word": self._places_in_words(batch.tokens, batch.targets),
        }

    @property
    def table_size(self) -> int:
        """The windows of the text to train on, and of the main held-out text."""
        return self.windows + self._held_out_windows

    def table(self) -> Table:
        """All windows: those to train on, then the held-out ones."""
        length = self.config.seq_len
        train = self._cut(self._train, np.arange(self.windows), length)
        held_out = self._cut(self._held_out, np.arange(self._held_out_windows), length)
        joined = Batch(
            np.concatenate([train.tokens, held_out.tokens]),
            np.concatenate([train.targets, held_out.targets]),
        )
        return Table(joined, np.arange(self.table_size) < self.windows)

    @property
    def held_out_share(self) -> float:
        """The share of windows that are those of the main held-out text."""
        return self._held_out_windows / self.table_size

    @property
    def strata(self) -> tuple[str, ...]:
        """Probes are not stratified."""
        return ()

    def probe_factors(self, batch: Batch) -> dict[str, NDArray[np.int64]]:
        """Labels of each input position, (B, T).

        - ``previous_token``: the token before the one that is read.
        - ``tokens_before``: the number of tokens before it in the window.
        - ``bigram_seen``: whether this token was followed by the predicted one before, in the
          window: 0 or 1.
        """
        tokens = batch.tokens
        before = np.full_like(tokens, DOES_NOT_APPLY)
        before[:, 1:] = tokens[:, :-1]
        bigrams = tokens * self.config.vocab_size + batch.targets
        order = np.argsort(bigrams, axis=-1, kind="stable")
        found = np.take_along_axis(bigrams, order, axis=-1)
        repeats = np.zeros_like(tokens)
        repeats[:, 1:] = found[:, 1:] == found[:, :-1]
        seen = np.empty_like(tokens)
        np.put_along_axis(seen, order, repeats, axis=-1)
        places = np.broadcast_to(np.arange(tokens.shape[-1]), tokens.shape)
        return {"previous_token": before, "tokens_before": places, "bigram_seen": seen}

    def similar(self, batch: Batch, factor: str, seed: int) -> Batch:
        """One token is that of another window at the same position."""
        window = np.concatenate([batch.tokens, batch.targets[:, -1:]], axis=-1)
        samples, length = batch.tokens.shape
        shape = (samples, _MOST_REDRAWN)
        others = integers(seed, Stream.CONTRAST, 0, *shape, samples)
        places = integers(seed, Stream.CONTRAST, samples, *shape, length)
        found = window[:, None].repeat(_MOST_REDRAWN, axis=1)  # (B, K, T + 1)
        rows, columns = np.indices(shape)
        found[rows, columns, places] = window[others, places]
        return Batch(found[..., :-1], found[..., 1:])

    @property
    def _held_out_windows(self) -> int:
        return len(self._held_out) - self.config.seq_len

    def _places_in_words(
        self, before: NDArray[np.int64], tokens: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """0 where a token begins a word, 1 where it continues one, 2 elsewhere.

        Args:
            before: The token before each.
            tokens: The tokens.
        """
        known = np.unique(np.concatenate([before.ravel(), tokens.ravel()]))
        texts = [self.text(token[None]) for token in known]
        spaced = np.array([text[:1].isspace() for text in texts])
        begins = np.array([is_word(text.lstrip()[:1]) for text in texts])
        ends = np.array([is_word(text[-1:]) for text in texts])
        at, at_before = np.searchsorted(known, tokens), np.searchsorted(known, before)
        continues = ends[at_before] & ~spaced[at]
        return np.where(begins[at], continues.astype(np.int64), 2)

    def text(self, tokens: NDArray[np.int64]) -> str:
        """Converts tokens to text, without padding."""
        return self._codec.text(tokens)

    def tokens(self, text: str) -> NDArray[np.int64]:
        """Converts text to tokens.

        Raises:
            ValueError: A character does not occur in the corpus, or the tokenizer cannot encode
                the text.
        """
        return self._codec.tokens(text)

    def _spread(self, text: NDArray[np.int32], samples: int, length: int) -> Batch:
        last = len(text) - length - 1
        starts = np.unique(np.linspace(0, last, samples).round()).astype(np.int64)
        return self._cut(text, starts, length)

    def _cut(self, text: NDArray[np.int32], starts: NDArray[np.int64], length: int) -> Batch:
        window = starts[..., None] + np.arange(length + 1)
        cut = text[window].astype(np.int64)
        return Batch(cut[..., :-1], cut[..., 1:])
