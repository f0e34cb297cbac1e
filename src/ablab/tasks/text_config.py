"""Settings of the text task. Does not import torch.

Checking settings reads no corpus and trains no tokenizer: ``check_data`` does, and every property
that depends on the text.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ablab.config import NotInIdentity
from ablab.tasks.config import ACCURACIES, TASKS, Direction, TaskConfig
from ablab.tasks.corpora import corpus_characters, corpus_digest, read_corpus
from ablab.tasks.subwords import (
    bpe_of_corpus,
    check_tokenizer_name,
    content_digest,
    encoded_corpus,
    load_subwords,
    read_tokenizer,
)


@TASKS.register("text")
class TextConfig(TaskConfig):
    """Settings of :class:`ablab.tasks.text.Text`."""

    implementation: ClassVar[str] = "ablab.tasks.text:Text"
    reads_data: ClassVar[bool] = True
    measure_directions: ClassVar[dict[str, Direction]] = ACCURACIES

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
    held_out: float = Field(0.1, gt=0, lt=1)
    """The share of the text, at its end, that is held out for evaluation."""
    eval_lengths: Annotated[tuple[Annotated[int, Field(ge=1)], ...], NotInIdentity()] = ()
    """Additional sequence lengths for evaluation, as ``eval_MEASURE/length_LENGTH``."""

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
    def train_characters(self) -> int:
        """The number of characters, from the beginning, to train on."""
        return round(len(read_corpus(self.corpus)) * (1 - self.held_out))

    @property
    def characters(self) -> str:
        """The distinct characters in order; with ``char``, character k is token k + 1."""
        return corpus_characters(self.corpus)

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
        content = self.subwords_json
        if content is None:
            return self.train_characters, len(read_corpus(self.corpus)) - self.train_characters
        train, held_out = encoded_corpus(self.corpus, self.train_characters, content)
        return len(train), len(held_out)

    @property
    def train_size(self) -> int:
        """The number of windows per epoch."""
        return self.share_sizes[0] - self.seq_len

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
