"""Initial values of a model's parameters, drawn on the CPU from one generator."""

import torch
from torch import nn

from ablab.model.parts import Constant
from ablab.model.roles import Role, claim, declared_roles, parameter_roles


def draw_parameters(model: nn.Module, std: float, parts: int, generator: torch.Generator) -> None:
    """Draws the parameters anew, in place and in the order of their names.

    These are the parameters of linear layers and embeddings, of parts with ``ablab_drawn``, and
    those whose role the model itself declares. Other components initialize their own parameters.

    Args:
        model: The model.
        std: Standard deviation of matrices; biases start at zero, scales of norms at one.
        parts: How many parts write into the residual path; their last matrices start smaller by
            its root (Radford et al., 2019).
        generator: Where they are drawn from.
    """
    constants = {
        id(module.weight): module.initial
        for module in model.modules()
        if isinstance(module, Constant)
    }
    drawn = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.Linear | nn.Embedding)
        or claim(type(module), "ablab_drawn", "__init__")
        for parameter in module.parameters(recurse=False)
    }
    drawn |= {id(model.get_parameter(name)) for name in declared_roles(model)}
    roles = parameter_roles(model)
    for name, parameter in model.named_parameters():
        if id(parameter) not in drawn:
            continue
        if id(parameter) in constants:
            nn.init.constant_(parameter, constants[id(parameter)])
        elif roles[name] is Role.BIAS:
            nn.init.zeros_(parameter)
        elif parameter.ndim == 1:
            nn.init.ones_(parameter)
        else:
            small = roles[name] is Role.RESIDUAL_OUTPUT
            scale = std / parts**0.5 if small else std
            nn.init.normal_(parameter, std=scale, generator=generator)
