"""Initial values of a model's parameters, drawn on the CPU from one generator."""

import torch
from torch import nn

from ablab.model.parts import Constant


def draw_parameters(model: nn.Module, std: float, parts: int, generator: torch.Generator) -> None:
    """Batches the parameters anew, in place and in the order of their names.

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
        if isinstance(module, nn.Linear | nn.Embedding) or type(module).__module__[:6] == "ablab."
        for parameter in module.parameters(recurse=False)
    }
    for name, parameter in model.named_parameters():
        if id(parameter) not in drawn:
            continue  # of a component by import path, which drew its own
        if id(parameter) in constants:
            nn.init.constant_(parameter, constants[id(parameter)])
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 1:
            nn.init.ones_(parameter)
        else:
            small = name.endswith("projection.weight")
            scale = std / parts**0.5 if small else std
            nn.init.normal_(parameter, std=scale, generator=generator)
