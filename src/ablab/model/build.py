"""Builds a model from its configuration and draws its initial parameters."""

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
    """A model with initial parameters, drawn on the CPU as a function of ``seed`` only.

    Args:
        config: The model's settings.
        vocab_size: The number of tokens in the vocabulary (V).
        input_length: The maximum number of tokens that the model reads (T).
        seed: The seed. The state of torch's global generator does not change.
        source_length: The number of tokens of the question; None if the task has none.
    """
    with torch.random.fork_rng(devices=[]):
        # torch's modules draw values when they are created, which a user's module may keep.
        torch.default_generator.manual_seed(seed)
        cls: type[Model] = load_object(config.import_path, "model.kind")
        model = cls.make(config, vocab_size, input_length, source_length)
    parameter_roles(model)  # raises errors of declarations before training starts
    model.initialise(torch.Generator().manual_seed(seed))
    return model
