"""The tensors of a run that can be watched, known before it is trained."""

from dataclasses import dataclass

import torch

from ablab.train.optimizers import make_optimizer
from ablab.train.parameter_layout import ParameterLayout
from ablab.train.run import Run
from ablab.train.stack import initial_model
from ablab.watching.sites import Site, find_sites


@dataclass(frozen=True)
class Watchable:
    """The tensors of a run that can be watched.

    Attributes:
        sites: The model's sites, by name.
        layout: The model's parameters.
        state_names: The names of the optimizer's state tensors.
        item: The size of a parameter's entry, in bytes.
    """

    sites: dict[str, Site]
    layout: ParameterLayout
    state_names: tuple[str, ...]
    item: int


def watchable(run: Run) -> Watchable:
    """The tensors of a run that can be watched.

    The model is created on the CPU; a user's model may raise any exception.
    """
    model = initial_model(run)
    layout = ParameterLayout.of(model)
    return Watchable(
        find_sites(model, torch.device("cpu")),
        layout,
        make_optimizer(run.train, layout).state_names,
        next(model.parameters()).element_size(),
    )
