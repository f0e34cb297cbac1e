"""Settings of the tasks copy, reverse and roll. Does not import torch."""

import math
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from ablab.tasks.config import ACCURACIES, ACCURACY_LIMITS, TASKS, Direction, Limits, TaskConfig
from ablab.tasks.factors import NO_YES
from ablab.tasks.split import Split

MAX_LENGTH = 4096
MAX_PLACES = 8  # the positions of longer answers are sorted into thirds
MAX_SYMBOLS = 2**20
THIRDS = ("first", "middle", "last")


class SequenceConfig(TaskConfig):
    """Settings shared by the tasks of :class:`ablab.tasks.sequences.Sequences`."""

    measure_directions: ClassVar[dict[str, Direction]] = ACCURACIES
    measure_limits: ClassVar[dict[str, Limits]] = ACCURACY_LIMITS

    n_symbols: int = Field(10, ge=2, le=MAX_SYMBOLS)
    """The number of distinct symbols."""
    length: int = Field(10, ge=1, le=MAX_LENGTH)
    """The length of the longest sequence."""
    min_length: int | None = Field(None, ge=1)
    """The length of the shortest; lengths are uniform. null: all have ``length``."""
    held_out: float = Field(0.1, ge=0, lt=1)
    """The held-out share of sequences. 0: evaluation sequences are drawn as in training."""

    @model_validator(mode="after")
    def _space_is_large_enough(self) -> "SequenceConfig":
        if self.min_length is not None and self.min_length > self.length:
            raise ValueError(f"min_length {self.min_length} is greater than length {self.length}")
        problem = self.split.problem()
        if problem is not None:
            raise ValueError(problem)
        return self

    @property
    def split(self) -> Split:
        """The held-out sequences."""
        return Split(self.held_out, self.n_symbols, self.length, self.shortest)

    @property
    def shortest(self) -> int:
        """The length of the shortest sequence."""
        return self.length if self.min_length is None else self.min_length

    @property
    def ragged(self) -> bool:
        """Whether lengths vary."""
        return self.shortest < self.length

    @property
    def separator(self) -> int:
        """The token between a sequence and its answer."""
        return self.n_symbols

    @property
    def end(self) -> int | None:
        """The token after an answer, if lengths vary."""
        return self.n_symbols + 1 if self.ragged else None

    @property
    def padding(self) -> int | None:
        """The token that pads shorter sequences, if lengths vary."""
        return self.n_symbols + 2 if self.ragged else None

    @property
    def vocab_size(self) -> int:
        """The symbols, the separator, and if lengths vary, the end token and padding."""
        return self.n_symbols + (3 if self.ragged else 1)

    @property
    def input_length(self) -> int:
        """The sequence, the separator, and the answer without its last token."""
        return 2 * self.length + (1 if self.ragged else 0)

    @property
    def source_length(self) -> int:
        """The sequence and the separator, where the first symbol of the answer is predicted."""
        return self.length + 1

    @property
    def factors(self) -> dict[str, tuple[str, ...]]:
        """The position of a symbol in the answer, and the end of the sequence.

        - ``position``: from 1 up to ``length`` if that is at most 8, else the first, middle or last
          third of the answer. The end token has none.
        - ``end``: whether the end token is predicted, if lengths vary.
        """
        places = tuple(str(place + 1) for place in range(self.length))
        found = {"position": places if self.length <= MAX_PLACES else THIRDS}
        return found | {"end": NO_YES} if self.ragged else found

    @property
    def natural_levels(self) -> dict[str, float]:
        """The loss of guessing a symbol."""
        return {f"log({self.n_symbols})": math.log(self.n_symbols)}


@TASKS.register("copy")
class CopyConfig(SequenceConfig):
    """Settings of :class:`ablab.tasks.sequences.Copy`."""

    implementation: ClassVar[str] = "ablab.tasks.sequences:Copy"

    kind: Literal["copy"] = "copy"
    """This task's name."""


@TASKS.register("reverse")
class ReverseConfig(SequenceConfig):
    """Settings of :class:`ablab.tasks.sequences.Reverse`."""

    implementation: ClassVar[str] = "ablab.tasks.sequences:Reverse"

    kind: Literal["reverse"] = "reverse"
    """This task's name."""


@TASKS.register("roll")
class RollConfig(SequenceConfig):
    """Settings of :class:`ablab.tasks.sequences.Roll`."""

    implementation: ClassVar[str] = "ablab.tasks.sequences:Roll"

    kind: Literal["roll"] = "roll"
    """This task's name."""
    shift: int = Field(1, ge=-(2**31), lt=2**31)
    """Positions to shift to the right, modulo the length of the sequence."""
