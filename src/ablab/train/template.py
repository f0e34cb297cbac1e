"""One model as the template of all runs of a stack, which differ in their parameters only."""

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ablab.model.base import Model
from ablab.model.unregistered import loose_tensors
from ablab.train.run import Run

MakeModel = Callable[[Run], Model]


class UnregisteredError(ValueError):
    """A tensor that differs between runs is neither a parameter nor a buffer."""


def check_template(model: Model, runs: Sequence[Run], make_model: MakeModel) -> None:
    """Checks that flat parameters and one template can represent the models of all runs.

    Args:
        model: The model of the first run.
        runs: The runs.
        make_model: Makes the initial model of a run.

    Raises:
        UnregisteredError: A tensor that is not registered differs between runs.
        ValueError: A parameter is frozen, or a buffer differs between runs.
    """
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    if frozen:
        raise ValueError(f"parameter {frozen[0]} is frozen; ablab trains all parameters")
    buffers, plain = dict(model.named_buffers()), _plain_tensors(model, runs[0])
    for run in runs[1:] if buffers or plain else []:
        other = make_model(run)
        for name, buffer in other.named_buffers():
            if not torch.equal(buffer, buffers[name].cpu()):
                raise ValueError(f"buffer {name} differs between runs; make it a parameter")
        for name, tensor in _plain_tensors(other, run).items():
            if name in plain and _content(tensor) != _content(plain[name]):
                raise UnregisteredError(
                    f"tensor {name}, which is not registered, differs between runs; make it a "
                    "parameter"
                )


def program_key(run: Run, model: Model) -> str:
    """Identifies the loss of a model as a function of parameters, buffers and batch.

    A compiled program contains the values of tensors that are not registered.
    """
    plain = _plain_tensors(model, run)
    if not plain:
        return run.program_key
    digest = hashlib.sha256()
    for name, tensor in plain.items():
        digest.update(name.encode() + _content(tensor))
    return f"{run.program_key} {digest.hexdigest()}"


def _content(tensor: Tensor) -> bytes:
    """The type, the shape and the numbers of a tensor."""
    own = tensor.detach().cpu()
    numbers = torch.view_as_real(own.resolve_conj()) if own.is_complex() else own
    content: bytes = numbers.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return f" {own.dtype} {tuple(own.shape)} ".encode() + content


def _plain_tensors(model: Model, run: Run) -> dict[str, Tensor]:
    """The dense tensors of a user's model that are neither parameters nor buffers, by name."""
    if run.program_is_shipped:
        return {}
    found = {}
    for each in loose_tensors(model):
        if isinstance(each.value, Tensor):
            found[each.name] = each.value
        else:
            tensors = [*each.value.named_parameters(), *each.value.named_buffers()]
            found |= {f"{each.name}.{name}": tensor for name, tensor in tensors}
    return {name: each for name, each in found.items() if each.layout == torch.strided}
