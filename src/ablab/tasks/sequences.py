"""Copying, reversing and rolling sequences, as in the thinker logbook."""

from abc import abstractmethod

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ablab.tasks.base import Batch, Table, Task
from ablab.tasks.config import IGNORED
from ablab.tasks.factors import DOES_NOT_APPLY, at_positions
from ablab.tasks.random import Stream, permuted, scaled, wide_integers, words
from ablab.tasks.scores import accuracies
from ablab.tasks.sequences_config import (
    MAX_PLACES,
    THIRDS,
    CopyConfig,
    ReverseConfig,
    RollConfig,
    SequenceConfig,
)
from ablab.tasks.split import distinct

_EVALUATION_SEED = 0
_MOST_REDRAWN = 32  # positions of long sequences
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_SEPARATOR, _END, _PADDING = ">", ".", "_"


class Sequences(Task):
    """The input is a sequence of symbols; the target is the same symbols in a different order.

    The input is the sequence, the separator, then the answer (teacher forcing). Each symbol of the
    answer is predicted, starting at the separator. If lengths vary, the sequence is padded to
    ``length``, and the answer is followed by an end token, which is also predicted, and by padding,
    which is not. Symbols and lengths are uniformly distributed.

    A keyed hash of the sequence decides whether it is held out, so training never contains a
    held-out sequence, for any seed and step. If a length has few sequences, all of them can be on
    one side.
    """

    config: SequenceConfig

    def __init__(self, config: SequenceConfig) -> None:
        self.config = config

    @property
    def predicted(self) -> slice:
        """All positions from the separator on."""
        return slice(self.config.length, None)

    def draw(self, seed: int, first_step: int, steps: int, batch_size: int) -> Batch:
        """The batches for ``steps`` steps; see :meth:`ablab.tasks.base.Task.draw`."""
        sequences = self._sequences(seed, Stream.BATCH, first_step, steps, batch_size)
        if self.config.held_out:
            sequences = self.config.split.on_side(sequences, seed, first_step, held_out=False)
        return self._batch(sequences)

    def held_out(self, samples: int) -> Batch:
        """At most ``samples`` distinct held-out sequences.

        With ``held_out: 0``, they are drawn as in training, from a separate random stream.
        """
        share = self.config.held_out
        drawn = samples * 4 if share else samples
        sequences = self._sequences(_EVALUATION_SEED, Stream.EVALUATION, 0, 1, drawn)
        if share:
            split = self.config.split
            sequences = split.on_side(sequences, _EVALUATION_SEED, 0, held_out=True)
            return self._batch(distinct(sequences[0], samples))
        return self._batch(sequences[0])

    def measures(
        self,
        logits: Float[Tensor, "B P V"],
        tokens: Int[Tensor, "B T"],
        targets: Int[Tensor, "B P"],
    ) -> dict[str, Tensor]:
        """``accuracy`` over tokens, and ``sequence_accuracy`` over complete answers."""
        return accuracies(logits, targets)

    def factors(self, batch: Batch) -> dict[str, NDArray[np.int64]]:
        """The position of each symbol of the answer, and whether it is the end token (B, P)."""
        config, targets = self.config, batch.targets
        known = targets != IGNORED
        symbols = known & (targets != config.end) if config.ragged else known
        places, lengths = np.arange(targets.shape[-1]), symbols.sum(-1, keepdims=True)
        if config.length > MAX_PLACES:
            places = len(THIRDS) * places // lengths
        found = {"position": np.where(symbols, places, DOES_NOT_APPLY)}
        if config.ragged:
            found["end"] = np.where(known, targets == config.end, DOES_NOT_APPLY).astype(np.int64)
        return found

    @property
    def table_size(self) -> int:
        """All sequences."""
        return self.config.split.size

    def table(self) -> Table:
        """All sequences, from the shortest to the longest."""
        split = self.config.split
        rows = split.rows()
        return Table(self._batch(rows), ~split.is_held_out(rows) if split.share else None)

    @property
    def held_out_share(self) -> float:
        """The setting ``held_out``; with varying lengths, of each length about that share."""
        return self.config.held_out

    @property
    def strata(self) -> tuple[str, ...]:
        """Probes are stratified by the length of the sequence."""
        return ("length",) if self.config.ragged else ()

    def probe_factors(self, batch: Batch) -> dict[str, NDArray[np.int64]]:
        """Where each symbol of the answer is copied from, and the length of the sequence.

        ``source_position`` and ``source_token``, (B, T), are the position in the input that the
        predicted symbol is copied from, and the token there. If lengths vary, ``length``, (B,),
        is the number of symbols.
        """
        config = self.config
        inside = batch.tokens[:, : config.length] < config.n_symbols
        lengths = inside.sum(-1, keepdims=True)
        places = np.arange(batch.targets.shape[-1])
        known = places < lengths
        origin = np.where(known, self.source_places(places, lengths), 0)
        source = np.take_along_axis(batch.tokens, origin, axis=-1)
        found = {
            name: at_positions(np.where(known, own, DOES_NOT_APPLY), batch.tokens, self.predicted)
            for name, own in (("source_position", origin), ("source_token", source))
        }
        return found | {"length": lengths[:, 0]} if config.ragged else found

    def similar(self, batch: Batch, factor: str, seed: int) -> Batch:
        """One symbol of the sequence is another; if lengths vary, also one less or one more."""
        config = self.config
        sequences = batch.tokens[:, : config.length]
        sequences = np.where(sequences < config.n_symbols, sequences, config.n_symbols)
        count = min(config.length, _MOST_REDRAWN)
        places = permuted(
            seed, np.zeros(count, int), np.arange(count), config.length, Stream.CONTRAST
        )
        drawn = wide_integers(seed, Stream.CONTRAST, 0, len(sequences), count, config.n_symbols - 1)
        found = sequences[:, None].repeat(count + 2, axis=1)  # (B, K, length)
        before = sequences[:, places]
        other = (before + 1 + drawn) % config.n_symbols
        found[:, np.arange(count), places] = np.where(before < config.n_symbols, other, before)
        lengths = (sequences < config.n_symbols).sum(-1)
        rows = np.arange(len(sequences))
        (shorter,) = np.nonzero(lengths > config.shortest)
        found[shorter, count, lengths[shorter] - 1] = config.n_symbols
        (longer,) = np.nonzero(lengths < config.length)
        found[rows[longer], count + 1, lengths[longer]] = drawn[longer, 0]
        return self._batch(found)

    def text(self, tokens: NDArray[np.int64]) -> str:
        """Tokens as readable text: ``>`` is the separator, ``.`` the end token, ``_`` padding.

        Up to 36 symbols are written as 0 … 9, a … z; more as numbers separated by spaces.
        """
        between = "" if self.config.n_symbols <= len(_DIGITS) else " "
        return between.join(self._word(int(token)) for token in tokens if token != IGNORED)

    def tokens(self, text: str) -> NDArray[np.int64]:
        """Converts the output of :meth:`text` back to tokens; pads a short sequence before ``>``.

        Raises:
            ValueError: There is no such symbol, or the length of the sequence is out of range.
        """
        few = self.config.n_symbols <= len(_DIGITS)
        found = [self._token(word) for word in (text if few else text.split())]
        if self.config.separator in found:
            place = found.index(self.config.separator)
            given = [token for token in found[:place] if token != self.config.padding]
            if not self.config.shortest <= len(given) <= self.config.length:
                raise ValueError(
                    f"a sequence has {self.config.shortest} to {self.config.length} symbols, but "
                    f"{text!r} has {len(given)}"
                )
            if self.config.padding is not None:
                given += [self.config.padding] * (self.config.length - len(given))
            found[:place] = given
        return np.array(found, dtype=np.int64)

    @abstractmethod
    def source_places(
        self, places: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """The position in the sequence that each symbol of the answer is copied from.

        Args:
            places: The positions in the answer, 0 … length - 1.
            lengths: The lengths of the sequences, broadcast against ``places``.

        Returns:
            Positions in [0, length); values beyond the length of a sequence are not used.
        """

    def _sequences(
        self, seed: int, stream: Stream, first: int, rows: int, samples: int
    ) -> NDArray[np.int64]:
        """Sequences of shape (rows, samples, length), padded with ``n_symbols``."""
        config = self.config
        if not config.ragged:
            count = samples * config.length
            drawn = wide_integers(seed, stream, first, rows, count, config.n_symbols)
            return drawn.reshape(rows, samples, config.length)
        raw = words(seed, stream, first, rows, samples * (config.length + 1))
        raw = raw.reshape(rows, samples, config.length + 1)
        lengths = config.shortest + scaled(raw[..., 0], config.length - config.shortest + 1)
        inside = np.arange(config.length) < lengths[..., None]
        return np.where(inside, scaled(raw[..., 1:], config.n_symbols), config.n_symbols)

    def _batch(self, sequences: NDArray[np.int64]) -> Batch:
        config = self.config
        inside = sequences < config.n_symbols
        lengths = inside.sum(-1, keepdims=True)
        places = np.arange(config.length)
        origin = np.where(inside, self.source_places(places, lengths), places)
        answer = np.take_along_axis(sequences, origin, axis=-1)
        separator = np.full_like(lengths, config.separator)
        if config.end is None or config.padding is None:
            tokens = np.concatenate([sequences, separator, answer[..., :-1]], axis=-1)
            return Batch(tokens, answer)
        # One more position than symbols, for the end token of a sequence of maximum length.
        places = np.arange(config.length + 1)
        rest = np.where(places == lengths, config.end, config.padding)
        answer = np.concatenate([answer, rest[..., -1:]], axis=-1)
        answer = np.where(places < lengths, answer, rest)
        padded = np.where(inside, sequences, config.padding)
        tokens = np.concatenate([padded, separator, answer[..., :-1]], axis=-1)
        return Batch(tokens, np.where(places > lengths, IGNORED, answer))

    def _word(self, token: int) -> str:
        config = self.config
        special = {config.separator: _SEPARATOR, config.end: _END, config.padding: _PADDING}
        if token in special:
            return special[token]
        return _DIGITS[token] if config.n_symbols <= len(_DIGITS) else str(token)

    def _token(self, word: str) -> int:
        config = self.config
        special = {_SEPARATOR: config.separator, _END: config.end, _PADDING: config.padding}
        found = special.get(word)
        if found is not None:
            return found
        few = config.n_symbols <= len(_DIGITS)
        token = _DIGITS.find(word) if few else int(word) if word.isdecimal() else -1
        if not 0 <= token < config.n_symbols:
            expected = (
                f"{_DIGITS[0]} to {_DIGITS[config.n_symbols - 1]}"
                if few
                else f"0 to {config.n_symbols - 1}, separated by spaces"
            )
            raise ValueError(f"no symbol {word!r}; symbols are {expected}")
        return token


class Copy(Sequences):
    """The target is the same sequence.

    >>> task = Copy(CopyConfig(n_symbols=10, length=5))
    >>> batch = task.draw(seed=0, first_step=1, steps=1, batch_size=1)
    >>> task.text(batch.tokens[0, 0]), task.text(batch.targets[0, 0])
    ('59763>5976', '59763')

    With lengths from 3 to 5:

    >>> task = Copy(CopyConfig(n_symbols=10, length=5, min_length=3))
    >>> batch = task.draw(seed=0, first_step=1, steps=1, batch_size=1)
    >>> task.text(batch.tokens[0, 0]), task.text(batch.targets[0, 0])
    ('9763_>9763.', '9763.')
    """

    Config = CopyConfig

    def source_places(
        self, places: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Each symbol is copied from the same position."""
        return np.broadcast_arrays(places, lengths)[0]


class Reverse(Sequences):
    """The target is the sequence in reverse order.

    >>> task = Reverse(ReverseConfig(n_symbols=10, length=5))
    >>> batch = task.draw(seed=0, first_step=1, steps=1, batch_size=1)
    >>> task.text(batch.tokens[0, 0]), task.text(batch.targets[0, 0])
    ('59763>3679', '36795')
    """

    Config = ReverseConfig

    def source_places(
        self, places: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """The first symbol is copied from the last position."""
        return lengths - 1 - places


class Roll(Sequences):
    """The target is the sequence shifted to the right, with wraparound.

    Works like ``numpy.roll``, over the length of each sequence.

    >>> task = Roll(RollConfig(n_symbols=10, length=5, shift=2))
    >>> batch = task.draw(seed=0, first_step=1, steps=1, batch_size=1)
    >>> task.text(batch.tokens[0, 0]), task.text(batch.targets[0, 0])
    ('59763>6359', '63597')
    """

    Config = RollConfig
    config: RollConfig

    def source_places(
        self, places: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """The first symbol is copied from ``shift`` positions before the end."""
        return (places - self.config.shift) % lengths
