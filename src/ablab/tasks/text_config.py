"""Settings of the text task. Does not import torch."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ablab.config import NotInIdentity
from ablab.tasks.config import TASKS, TaskConfig
from ablab.tasks.corpora import corpus_characters, corpus_digest, read_corpus


@TASKS.register("text")
class TextConfig(TaskConfig):
    """Settings of :class:`ablab.tasks.text.Text`."""

    implementation: ClassVar[str] = "ablab.tasks.text:Text"

    kind: Literal["text"] = "text"
    """This task's name."""
    corpus: Annotated[str, NotInIdentity()] = "tinyshakespeare"
    """``tinyshakespeare``, ``python-stdlib``, or the path of a UTF-8 text file."""
    tokenizer: Literal["char"] = "char"
    """How text becomes tokens: ``char`` is one token a character, with 0 for padding."""
    seq_len: int = Field(64, ge=1)
    """Tokens that the model reads at once (T)."""
    held_out: float = Field(0.1, gt=0, lt=1)
    """The share of the text, at its end, that is kept for evaluation."""

    @model_validator(mode="after")
    def _text_is_long_enough(self) -> "TextConfig":
        length = len(read_corpus(self.corpus))
        held_out = length - self.train_characters
        shorter = min(held_out, self.train_characters)
        if self.seq_len + 1 > shorter:
            raise ValueError(
                f"seq_len {self.seq_len} is longer than the text: {self.corpus} has {length:,} "
                f"characters, {self.train_characters:,} to train on and {held_out:,} held out, and "
                f"each share needs seq_len + 1"
            )
        return self

    @property
    def train_characters(self) -> int:
        """How many characters, from the text's beginning, are trained on."""
        return round(len(read_corpus(self.corpus)) * (1 - self.held_out))

    @property
    def characters(self) -> str:
        """The distinct characters in order; character k is token k + 1."""
        return corpus_characters(self.corpus)

    @property
    def vocab_size(self) -> int:
        """The distinct characters and the padding token."""
        return len(self.characters) + 1

    @property
    def input_length(self) -> int:
        """``seq_len``."""
        return self.seq_len

    def identity(self) -> dict[str, Any]:
        """The corpus enters by its content, wherever its file is."""
        return super().identity() | {"corpus_sha256": corpus_digest(self.corpus)}
