"""The base class of task configurations, and the registry of tasks. Does not import torch."""

import math
from abc import abstractmethod
from typing import Any, ClassVar, Literal

from ablab.config import Config, Registry, component_source

TASKS = Registry("task", "ablab.tasks", suffix="_config")
IGNORED = -100  # the target at positions without a prediction, as in torch's losses


Direction = Literal["higher", "lower"]
LOSSES: dict[str, Direction] = {"loss": "lower"}
ACCURACIES: dict[str, Direction] = LOSSES | {"accuracy": "higher", "sequence_accuracy": "higher"}

Limits = tuple[float | None, float | None]
"""The least and the greatest value that a measure can have; None where there is no end."""
LOSS_LIMITS: dict[str, Limits] = {"loss": (0.0, None)}
ACCURACY_LIMITS: dict[str, Limits] = LOSS_LIMITS | {
    "accuracy": (0.0, 1.0),
    "sequence_accuracy": (0.0, 1.0),
}


class TaskConfig(Config):
    """The settings of a task.

    A subclass refers to its task class by import path, so that experiments can be parsed, checked
    and listed without importing torch.
    """

    implementation: ClassVar[str] = ""
    reads_data: ClassVar[bool] = False
    """Whether sizes such as ``vocab_size`` or the identity need data that the settings name, such
    as a corpus. The data are read when a size or an id is needed, not when settings are checked."""
    measure_directions: ClassVar[dict[str, Direction]] = LOSSES
    """Which values are better, by the name of a measure; it holds for ``NAME/…``, too. A measure
    that is not declared has no direction."""
    measure_limits: ClassVar[dict[str, Limits]] = LOSS_LIMITS
    """The least and the greatest value of each measure, by its name in the same way; intervals stay
    within. A measure that is not declared has no ends."""

    kind: str
    """The registered name of the task, or the import path of your own task class."""

    def check_data(self) -> None:
        """Reads the data that the settings name and checks that the settings fit them.

        Raises:
            ValueError: The data are missing, or a setting does not fit them.
        """

    @property
    def texts(self) -> dict[str, str]:
        """The texts that the settings name, such as corpora, by these names.

        They are sent to other machines that train runs of the task.
        """
        return {}

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """The number of tokens in the vocabulary."""

    @property
    @abstractmethod
    def input_length(self) -> int:
        """The number of input tokens (T)."""

    @property
    def longest_input(self) -> int:
        """The maximum number of input tokens, including evaluation."""
        return self.input_length

    @property
    def endless(self) -> bool:
        """Whether samples are windows of a longer sequence, such as a text."""
        return False

    @property
    def source_length(self) -> int | None:
        """The number of leading tokens that form the question; None if samples have no question."""
        return None

    @property
    def never_drawn(self) -> tuple[int, ...]:
        """Tokens that the vocabulary has and no sample."""
        return ()

    @property
    def padding(self) -> int | None:
        """The padding token of shorter samples; None if all samples have the same length."""
        return None

    @property
    def ragged(self) -> bool:
        """Whether some predicted positions can be without a target (``IGNORED``)."""
        return False

    @property
    def train_size(self) -> int | None:
        """The number of samples per epoch; None if the training set is not finite."""
        return None

    @property
    def natural_levels(self) -> dict[str, float]:
        """Losses with a meaning for this task, by name, in nats; by default, that of guessing."""
        return {f"log({self.vocab_size})": math.log(self.vocab_size)}

    @property
    def factors(self) -> dict[str, tuple[str, ...]]:
        """The factors of the task's samples: the names of the values of each, by its name.

        A factor sorts samples, or their predicted positions, into a few classes, such as whether
        there is a carry into a digit. :meth:`ablab.tasks.base.Task.factors` gives the labels.
        Evaluation adds ``eval_loss/FACTOR.VALUE`` and ``eval_accuracy/FACTOR.VALUE`` for each
        value.
        """
        return {}

    @property
    def answer(self) -> str | None:
        """The measure that most questions about this task are about, such as ``final(eval_loss)``.

        An experiment's own ``answer`` takes precedence; None if there is no such measure.
        """
        return None

    @property
    def vocabulary_record(self) -> dict[str, str] | None:
        """How tokens are shown, as plain data to keep with samples; None if nothing is kept."""
        return None

    @property
    def import_path(self) -> str:
        """The import path of the task class; for a user's task, this is ``kind`` itself."""
        return self.kind if ":" in self.kind else self.implementation

    def identity(self) -> dict[str, Any]:
        """The settings that affect training; a user's task adds the digest of its source."""
        identity = super().identity()
        if ":" in self.kind:
            identity["source"] = component_source(self.kind, "task.kind", type(self))
        return identity
