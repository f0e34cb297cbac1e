"""Small makers of runs for tests."""

from typing import Any

from ablab.model.bigram_config import BigramConfig
from ablab.model.config import ModelConfig
from ablab.model.transformer_config import TransformerConfig
from ablab.tasks.addition_config import AdditionConfig
from ablab.tasks.config import TaskConfig
from ablab.tasks.text_config import TextConfig
from ablab.train.config import TrainConfig
from ablab.train.run import Run

ADDITION = AdditionConfig(n_digits=2, target="all")
TEXT = TextConfig(corpus="python-stdlib", seq_len=12)
TRANSFORMER = TransformerConfig(d_model=8, n_heads=2)
BIGRAM = BigramConfig()


def make_run(
    seed: int = 0,
    task: TaskConfig = ADDITION,
    model: ModelConfig = TRANSFORMER,
    log_every: int = 10,
    **train: Any,
) -> Run:
    """A small run; ``train`` are settings of training."""
    settings = {"steps": 100, "batch_size": 16, "evaluate": {"every": 50, "samples": 32}} | train
    return Run(f"run{seed}", task, model, TrainConfig(**settings), seed, log_every)
