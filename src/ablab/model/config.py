"""The base class of model settings, and the registry of models. Does not import torch."""

from typing import Any, ClassVar

from ablab.config import Config, Registry, Variants, component_source
from ablab.tasks.config import TaskConfig

MODELS = Registry("model", "ablab.model", suffix="_config")
ATTENTION_ACTIVATIONS = Variants("attention activation", "ablab.model.attention_activations")
ACTIVATIONS = Variants("activation", "ablab.model.activations")
NORMS = Variants("norm", "ablab.model.norms")
POSITIONS = Variants("position", "ablab.model.positions")


class ModelConfig(Config):
    """The settings of a model; a subclass gives the import path of the model class."""

    implementation: ClassVar[str] = ""

    kind: str
    """The registered name of the model, or the import path of a user's class."""

    @property
    def import_path(self) -> str:
        """The import path of the model class."""
        return self.kind if ":" in self.kind else self.implementation

    def check_task(self, task: TaskConfig) -> None:
        """Checks that the model can be trained on a task.

        Raises:
            ValueError: It cannot.
        """

    def identity(self) -> dict[str, Any]:
        """The settings that affect a run, with the source digest of a user's model."""
        identity = super().identity()
        if ":" in self.kind:
            identity["source"] = component_source(self.kind, "model.kind", type(self))
        return identity
