"""What the configuration of every model has, and the registry of models. Does not import torch."""

from typing import Any, ClassVar

from ablab.config import Config, Registry, Variants, load_object, source_digest
from ablab.tasks.config import TaskConfig

MODELS = Registry("model", "ablab.model", suffix="_config")
ATTENTION_ACTIVATIONS = Variants("attention activation", "ablab.model.attention_activations")
ACTIVATIONS = Variants("activation", "ablab.model.activations")
NORMS = Variants("norm", "ablab.model.norms")
POSITIONS = Variants("position", "ablab.model.positions")


class ModelConfig(Config):
    """A model's settings; a subclass names the class that it describes by import path."""

    implementation: ClassVar[str] = ""

    kind: str
    """The model's registered name, or an import path to a model class of the user's own."""

    @property
    def import_path(self) -> str:
        """Where the class is that this configures: a user's own is named by ``kind`` itself."""
        return self.kind if ":" in self.kind else self.implementation

    def check_task(self, task: TaskConfig) -> None:
        """Whether the model can be trained on a task.

        Raises:
            ValueError: It cannot; the message says why.
        """

    def identity(self) -> dict[str, Any]:
        """What of the model shapes a run; a user's own enters with its module's source hash."""
        identity = super().identity()
        if ":" in self.kind:
            component = load_object(self.kind, "model.kind")
            identity["source"] = source_digest(component, type(self))
        return identity
