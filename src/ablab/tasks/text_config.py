"""Settings of the text task. Does not import torch.

Checking settings reads no corpus and trains no tokenizer: ``check_data`` does, and every property
that depends on the text.
"""

import re
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ablab.config import Neutral, NotInIdentity
from ablab.tasks.config import ACCURACIES, ACCURACY_LIMITS, TASKS, Direction, Limits, TaskConfig
from ablab.tasks.corpora import corpus_digest, read_corpus
from ablab.tasks.factors import octaves
from ablab.tasks.subwords import (
    bpe_of_corpus,
    check_tokenizer_name,
    content_digest,
    load_subwords,
    read_tokenizer,
)
from ablab.tasks.text_parts import HELD_OUT, TRAIN, Part, encoded_part, joint_characters, parts_of

_SPLIT = re.compile(r"(?!length_)[a-z][a-z0-9_]*")


@TASKS.register("text")
class TextConfig(TaskConfig):
    """Settings of :class:`ablab.tasks.text.Text`."""

    implementation: ClassVar[str] = "ablab.tasks.text:Text"
    reads_data: ClassVar[bool] = True
    measure_directions: ClassVar[dict[str, Direction]] = ACCURACIES
    measure_limits: ClassVar[dict[str, Limits]] = ACCURACY_LIMITS

    kind: Literal["text"] = "text"
    """This task's name."""
    corpus: Annotated[str, NotInIdentity()] = "tinyshakespeare"
    """``tinyshakespeare``, ``python-stdlib``, or the path of a UTF-8 text file."""
    tokenizer: str = "char"
    """``char`` uses one token per character; ``bpe`` trains ``bpe_size`` subwords on the training
    part of the text; or the path of a JSON file of the tokenizers library."""
    bpe_size: Annotated[int | None, Field(ge=256, le=2**20), NotInIdentity()] = None
    """The number of subwords for ``tokenizer: bpe``, including the 256 bytes."""
    seq_len: int = Field(64, ge=1)
    """The number of input tokens (T)."""
    held_out: Annotated[float | str, Field(union_mode="left_to_right")] = 0.1
    """The share of the text, at its end, that is held out for evaluation; or, with ``splits``, the
    name of the split whose measures are ``eval_MEASURE``, by default the first."""
    splits: Annotated[dict[str, float | str], Neutral({})] = Field({})
    """Held-out parts by name, such as ``{validation: 0.1, test: other.txt}``: a share of the text,
    at its end and in this order, or another corpus or file. Measures of splits other than
    ``held_out`` are ``eval_MEASURE/NAME``, and of ``eval_lengths``,
    ``eval_MEASURE/NAME_length_LENGTH``."""
    eval_lengths: Annotated[tuple[Annotated[int, Field(ge=1)], ...], NotInIdentity()] = ()
    """Additional sequence lengths for evaluation, as ``eval_MEASURE/length_LENGTH``."""

    @model_validator(mode="before")
    @classmethod
    def _held_out_names_a_split(cls, data: Any) -> Any:
        """Fills in the name of the first split."""
        if isinstance(data, dict) and isinstance(splits := data.get("splits"), dict) and splits:
            return {"held_out": next(iter(splits))} | data
        return data

    @model_validator(mode="after")
    def _splits_fit(self) -> "TextConfig":
        if not self.splits:
            if isinstance(self.held_out, str) or not 0 < self.held_out < 1:
                raise ValueError(
                    f"held_out {self.held_out} is not a share between 0 and 1"
                    + ("; a name needs splits" if isinstance(self.held_out, str) else "")
                )
            return self
        for name, value in self.splits.items():
            if not _SPLIT.fullmatch(name) or name == TRAIN:
                raise ValueError(
                    f"splits.{name} is not a valid name; expected lower-case letters, digits and "
                    f"underscores, and not train or length_…"
                )
            if not isinstance(value, str) and not 0 < value < 1:
                raise ValueError(f"splits.{name} {value} is not a share between 0 and 1")
        held_out = sum(value for value in self.splits.values() if not isinstance(value, str))
        if held_out >= 1:
            raise ValueError(f"splits hold out {held_out:g} of the text; nothing is left to train")
        if self.held_out not in self.splits:
            raise ValueError(
                f"held_out {self.held_out} is not one of splits: {', '.join(self.splits)}"
            )
        return self

    @model_validator(mode="after")
    def _settings_belong(self) -> "TextConfig":
        if self.tokenizer != "bpe" and self.bpe_size is not None:
            raise ValueError(
                f"bpe_size can only be used with tokenizer bpe, not with {self.tokenizer}"
            )
        if self.tokenizer == "bpe" and self.bpe_size is None:
            raise ValueError(
                "tokenizer bpe needs bpe_size, the number of subwords (for example 1024)"
            )
        if len(set(self.eval_lengths)) < len(self.eval_lengths):
            raise ValueError("eval_lengths repeats a length")
        return self

    def check_data(self) -> None:
        """Reads the corpus, makes the tokenizer, and checks that the text is long enough.

        Raises:
            InputError: There is no such corpus or tokenizer, or it cannot be read or downloaded.
            ValueError: The text is too short.
        """
        check_tokenizer_name(self.tokenizer)
        if self.bpe_size is not None:
            found = self.vocab_size - 1
            if found < self.bpe_size:
                raise ValueError(
                    f"bpe_size {self.bpe_size} is too large: the text yields only {found} subwords"
                )
        train, held_out = self.share_sizes
        unit = "characters" if self.tokenizer == "char" else "tokens"
        for name, tokens in self.encoded_parts.items() if self.splits else ():
            longest = self.seq_len if name == TRAIN else self.longest_input
            if longest + 1 > len(tokens):
                raise ValueError(
                    f"{name} has {len(tokens):,} {unit}, but the longest input has {longest:,}, "
                    f"and a part needs one more"
                )
        if self.seq_len + 1 > min(train, held_out):
            raise ValueError(
                f"seq_len {self.seq_len} is longer than the text: {self.corpus} has "
                f"{train:,} {unit} for training and {held_out:,} held out, and each part needs "
                f"at least seq_len + 1"
            )
        for length in self.eval_lengths:
            if length + 1 > held_out:
                raise ValueError(
                    f"eval_lengths has {length}, but only {held_out:,} {unit} of {self.corpus} are "
                    f"held out; a length needs one more than itself"
                )

    @property
    def texts(self) -> dict[str, str]:
        """The corpora, and the tokenizer if it is a file."""
        others = [value for value in self.splits.values() if isinstance(value, str)]
        found = {name: read_corpus(name) for name in (self.corpus, *others)}
        if self.tokenizer not in ("char", "bpe"):
            found[self.tokenizer] = read_tokenizer(self.tokenizer)
        return found

    @property
    def train_characters(self) -> int:
        """The number of characters, from the beginning, to train on."""
        stop = self.parts[TRAIN].stop
        return len(read_corpus(self.corpus)) if stop is None else stop

    @property
    def main_split(self) -> str:
        """The name of the part whose measures are ``eval_MEASURE``."""
        return self.held_out if isinstance(self.held_out, str) else HELD_OUT

    @property
    def parts(self) -> dict[str, Part]:
        """The parts of the text by name: ``train``, then those that are held out."""
        splits = self.splits or {HELD_OUT: self.held_out}
        return parts_of(self.corpus, splits)

    @property
    def encoded_parts(self) -> dict[str, NDArray[np.int32]]:
        """The tokens of each part; the arrays are shared and must not be written."""
        content = self.subwords_json
        characters = "" if content is not None else self.characters
        return {name: encoded_part(part, content, characters) for name, part in self.parts.items()}

    @property
    def characters(self) -> str:
        """The distinct characters in order; with ``char``, character k is token k + 1."""
        others = (value for value in self.splits.values() if isinstance(value, str))
        return joint_characters((self.corpus, *others))

    @property
    def subwords_json(self) -> str | None:
        """The subword tokenizer as JSON of the tokenizers library; None with ``char``."""
        if self.tokenizer == "char":
            return None
        if self.tokenizer == "bpe":
            return bpe_of_corpus(self.corpus, self.train_characters, self.bpe_size or 0)
        return read_tokenizer(self.tokenizer)

    @property
    def share_sizes(self) -> tuple[int, int]:
        """The number of training tokens and the number of held-out tokens."""
        found = self.encoded_parts
        return len(found[TRAIN]), len(found[self.main_split])

    @property
    def train_size(self) -> int:
        """The number of windows per epoch."""
        return self.share_sizes[0] - self.seq_len

    @property
    def never_drawn(self) -> tuple[int, ...]:
        """Token 0."""
        return (0,)

    @property
    def vocab_size(self) -> int:
        """The distinct characters or subwords, and the padding token."""
        content = self.subwords_json
        return len(self.characters) + 1 if content is None else load_subwords(content).vocab_size

    @property
    def input_length(self) -> int:
        """``seq_len``."""
        return self.seq_len

    @property
    def factors(self) -> dict[str, tuple[str, ...]]:
        """The position in the window, and the place of a token in a word.

        - ``position``: the number of tokens before the last input token, in powers of two.
        - ``word``: whether the predicted token begins a word, continues one (``inside``), or is
          none. A word is a run of letters, digits and underscores. A subword that begins with
          a space is sorted by what follows the space.
        """
        return {"position": octaves(self.seq_len - 1), "word": ("start", "inside", "outside")}

    @property
    def endless(self) -> bool:
        """True: samples are windows of a text."""
        return True

    @property
    def longest_input(self) -> int:
        """The maximum of ``seq_len`` and ``eval_lengths``."""
        return max(self.seq_len, *self.eval_lengths, 0)

    @property
    def vocabulary_record(self) -> dict[str, str]:
        """The distinct characters, or the digest of the subword tokenizer, which is stored."""
        content = self.subwords_json
        if content is None:
            return {"characters": self.characters}
        return {"tokenizer_sha256": content_digest(content)}

    def identity(self) -> dict[str, Any]:
        """The corpus and a subword tokenizer enter by their content, independent of their paths."""
        identity = super().identity() | {"corpus_sha256": corpus_digest(self.corpus)}
        if self.splits:  # a list, since the order of shares matters
            identity["splits"] = [
                [name, corpus_digest(value) if isinstance(value, str) else value]
                for name, value in self.splits.items()
            ]
        content = self.subwords_json
        if content is None:
            return identity
        return identity | {"tokenizer": "subwords", "tokenizer_sha256": content_digest(content)}


def tokenizer_json(config: TaskConfig) -> str | None:
    """The subword tokenizer of a task as JSON of the tokenizers library, to store with it.

    Returns:
        The JSON, whose digest enters the identity; None if the task has no such tokenizer.
    """
    return config.subwords_json if isinstance(config, TextConfig) else None
