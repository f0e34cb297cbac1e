"""A model made from its configuration, with its initial parameters."""

import torch

from ablab.config import load_object
from ablab.model.base import Model
from ablab.model.config import ModelConfig
from ablab.model.roles import parameter_roles


def build_model(
    config: ModelConfig,
    vocab_size: int,
    input_length: int,
    seed: int,
    source_length: int | None = None,
) -> Model:
    """A model with initial parameters drawn on the CPU from ``seed`` alone.

    Args:
        config: The model's settings.
        vocab_size: How many tokens there are (V).
        input_length: How many tokens the model reads at most (T).
        seed: Seeds a generator of its own; the global one is left alone.
        source_length: How many tokens are the question, where the task has one.
    """
    with torch.random.fork_rng(devices=[]):
        # torch's modules draw values of their own first, which a user's own module may keep.
        torch.default_generator.manual_seed(seed)
        cls: type[Model] = load_object(config.import_path, "model.kind")
        model = cls.make(config, vocab_size, input_length, source_length)
    parameter_roles(model)  # raises errors of declarations before training starts
    model.initialise(torch.Generator().manual_seed(seed))
    return model
