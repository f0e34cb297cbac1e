"""What there is to watch in a run, known before it is trained."""

from dataclasses import dataclass

import torch

from ablab.train.optimizers import make_optimizer
from ablab.train.parameter_layout import ParameterLayout
from ablab.train.run import Run
from ablab.train.stack import initial_model
from ablab.watching.sites import Site, find_sites


@dataclass(frozen=True)
class Watchable:
    """What there is to watch.

    Attributes:
        sites: The model's sites by name.
        layout: Its parameters.
        optimizer_state: The optimizer's state tensors.
        item: Bytes of a number.
    """

    sites: dict[str, Site]
    layout: ParameterLayout
    state_names: tuple[str, ...]
    item: int


def watchable(run: Run) -> Watchable:
    """What there is to watch in a run; its model is made on the CPU, and may raise anything."""
    model = initial_model(run)
    layout = ParameterLayout.of(model)
    return Watchable(
        find_sites(model, torch.device("cpu")),
        layout,
        make_optimizer(run.train, layout).state_names,
        next(model.parameters()).element_size(),
    )
