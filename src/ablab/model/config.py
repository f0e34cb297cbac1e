"""The base class of model settings, and the registry of models. Does not import torch."""

from typing import Any, ClassVar

from ablab.config import Config, Registry, Variants, component_source
from ablab.tasks.config import TaskConfig

MODELS = Registry("model", "ablab.model", suffix="_config")
ATTENTION_ACTIVATIONS = Variants("attention activation", "ablab.model.attention_activations")
ACTIVATIONS = Variants("activation", "ablab.model.activations")
NORMS = Variants("norm", "ablab.model.norms")
POSITIONS = Variants("position", "ablab.model.positions")

MAX_PARAMETERS = 10**10


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
            ValueError: It cannot, or the model would have more than ``MAX_PARAMETERS``.
        """
        count = self.parameter_estimate(0)  # the vocabulary may have to be read from a file first
        if count is not None and count > MAX_PARAMETERS:
            raise ValueError(
                f"about {count:.1e} parameters; expected at most {MAX_PARAMETERS:.0e}, "
                f"since ablab is made for small models"
            )

    def parameter_estimate(self, vocab_size: int) -> int | None:
        """About how many parameters the model has, without building it; None if unknown.

        Only matrices are counted, since they decide whether a model fits.

        Args:
            vocab_size: The number of tokens in the vocabulary.
        """
        return None

    def identity(self) -> dict[str, Any]:
        """The settings that affect a run, with the source digest of a user's model."""
        identity = super().identity()
        if ":" in self.kind:
            identity["source"] = component_source(self.kind, "model.kind", type(self))
        return identity
