"""Settings of associative recall. Does not import torch."""

import math
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from ablab.tasks.config import ACCURACIES, ACCURACY_LIMITS, TASKS, Direction, Limits, TaskConfig
from ablab.tasks.factors import octaves

MAX_TOKENS = 2**20
MAX_PAIRS = 4096


@TASKS.register("recall")
class RecallConfig(TaskConfig):
    """Settings of :class:`ablab.tasks.recall.Recall`."""

    implementation: ClassVar[str] = "ablab.tasks.recall:Recall"
    measure_directions: ClassVar[dict[str, Direction]] = ACCURACIES
    measure_limits: ClassVar[dict[str, Limits]] = ACCURACY_LIMITS

    kind: Literal["recall"] = "recall"
    """This task's name."""
    n_pairs: int = Field(8, ge=1, le=MAX_PAIRS)
    """The number of pairs of a key and a value in each sample."""
    n_queries: int = Field(4, ge=1)
    """The number of queries; each key is queried at most once."""
    n_keys: int = Field(64, ge=1, le=MAX_TOKENS)
    """The number of distinct keys; a sample never repeats a key."""
    n_values: int = Field(64, ge=2, le=MAX_TOKENS)
    """The number of distinct values; a sample can repeat values."""

    @model_validator(mode="after")
    def _there_are_enough(self) -> "RecallConfig":
        if self.n_pairs > self.n_keys:
            raise ValueError(
                f"n_pairs {self.n_pairs} needs as many distinct keys, but n_keys is {self.n_keys}"
            )
        if self.n_queries > self.n_pairs:
            raise ValueError(
                f"n_queries {self.n_queries} is greater than n_pairs {self.n_pairs}: each key is "
                f"queried at most once"
            )
        return self

    @property
    def vocab_size(self) -> int:
        """The keys and the values."""
        return self.n_keys + self.n_values

    @property
    def input_length(self) -> int:
        """The pairs, and the queries with their answers except the last answer."""
        return 2 * self.n_pairs + 2 * self.n_queries - 1

    @property
    def factors(self) -> dict[str, tuple[str, ...]]:
        """``distance``: how many pairs back the queried key was shown, in powers of two.

        The preceding pair is 1 back; a query with its answer counts as a pair.
        """
        return {"distance": octaves(self.n_pairs + self.n_queries - 1, first=1)}

    @property
    def natural_levels(self) -> dict[str, float]:
        """The losses of guessing any value, and of guessing a value of the sample."""
        shown = {f"log({self.n_pairs})": math.log(self.n_pairs)} if self.n_pairs > 1 else {}
        return {f"log({self.n_values})": math.log(self.n_values)} | shown
