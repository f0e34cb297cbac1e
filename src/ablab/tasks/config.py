"""What the configuration of every task has, and the registry of tasks. Does not import torch."""

import math
from abc import abstractmethod
from typing import Any, ClassVar

from ablab.config import Config, Registry, load_object, source_digest

TASKS = Registry("task", "ablab.tasks", suffix="_config")
IGNORED = -100  # the target where nothing is predicted, as torch's losses have it


class TaskConfig(Config):
    """A task's settings.

    A subclass names the class that draws the batches by import path, so that an experiment can be
    read, checked and listed without importing torch.
    """

    implementation: ClassVar[str] = ""

    kind: str
    """The task's registered name, or an import path to a task class of the user's own."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """How many tokens there are."""

    @property
    @abstractmethod
    def input_length(self) -> int:
        """How many tokens the model reads (T)."""

    @property
    def longest_input(self) -> int:
        """How many tokens the model reads at most, in evaluation too."""
        return self.input_length

    @property
    def endless(self) -> bool:
        """Whether a sample is a window of something that goes on, as a text does."""
        return False

    @property
    def source_length(self) -> int | None:
        """How many tokens, from the first, are the question; None where there is no such border."""
        return None

    @property
    def padding(self) -> int | None:
        """The token that fills up shorter samples; None where all have one length."""
        return None

    @property
    def ragged(self) -> bool:
        """Whether some positions have nothing to predict; their target is ``IGNORED``."""
        return False

    @property
    def train_size(self) -> int | None:
        """How many samples an epoch visits; None where samples are drawn without end."""
        return None

    @property
    def natural_levels(self) -> dict[str, float]:
        """Losses with a meaning for this task, by name, in nats; guessing any token, by default."""
        return {f"log({self.vocab_size})": math.log(self.vocab_size)}

    @property
    def import_path(self) -> str:
        """Where the class is that this configures: a user's own is named by ``kind`` itself."""
        return self.kind if ":" in self.kind else self.implementation

    def identity(self) -> dict[str, Any]:
        """What of the task shapes a run; a user's own enters with its module's source hash."""
        identity = super().identity()
        if ":" in self.kind:
            component = load_object(self.kind, "task.kind")
            identity["source"] = source_digest(component, type(self))
        return identity
