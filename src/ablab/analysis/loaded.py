"""Models of one shape in one module, whose parameters are exchanged from one to the next.

Copying a module costs more than a pass over few samples, most of it for what all copies share.
"""

from collections.abc import Sequence

from torch import Tensor, nn

State = dict[str, Tensor]  # parameters and buffers by name


class LoadedModels(Sequence[nn.Module]):
    """A sequence of models, of which one is loaded at a time.

    The module that it gives is always the same one: it is the model of the place that was asked
    for last.

    Args:
        module: The module, in evaluation mode.
        states: The parameters and buffers of each model.
    """

    def __init__(self, module: nn.Module, states: Sequence[State]) -> None:
        self.module, self.states = module, list(states)
        self._tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        self._place: int | None = None

    def __len__(self) -> int:
        return len(self.states)

    # Slices share the module, so that only one of them could know which model it is.
    def __getitem__(self, place: int | slice) -> nn.Module:  # type: ignore[override]
        if isinstance(place, slice):
            raise TypeError("models are loaded one at a time: a slice has no module of its own")
        if place != self._place:
            for name, tensor in self._tensors.items():
                tensor.data = self.states[place][name]
            self._place = place
        return self.module


def state_of(module: nn.Module) -> State:
    """The parameters and buffers of a module, without copying them."""
    return {
        **{name: tensor.detach() for name, tensor in module.named_parameters()},
        **dict(module.named_buffers()),
    }
