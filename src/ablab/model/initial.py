"""Draws the initial parameters of a model, on the CPU and from one generator."""

import torch
from torch import Tensor, nn

from ablab.model.initial_config import InitialConfig
from ablab.model.parts import Constant
from ablab.model.roles import Role, claim, declared_roles, parameter_roles


def draw_parameters(
    model: nn.Module, config: InitialConfig, parts: int, generator: torch.Generator
) -> None:
    """Draws parameters in place, in ``named_parameters`` order.

    These are the parameters of linear layers and embeddings, of parts with ``ablab_drawn``, and
    those whose role the model itself declares. Other components initialize their own parameters.

    Args:
        model: The model.
        config: How matrices are drawn. Biases start at zero, scales of norms at one.
        parts: The number of parts that write to the residual stream. With ``init_depth_scaling``,
            the standard deviation of their last matrices is divided by its square root.
        generator: The random number generator, on the CPU.
    """
    std = config.init_std
    assert std is not None, "the configuration fills init_std"
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
            small = config.init_depth_scaling and roles[name] is Role.RESIDUAL_OUTPUT
            _draw(parameter, std / parts**0.5 if small else std, config, generator)


def _draw(parameter: Tensor, std: float, config: InitialConfig, generator: torch.Generator) -> None:
    """Draws a matrix with a standard deviation."""
    if config.init_distribution == "uniform":
        nn.init.uniform_(parameter, -(3**0.5) * std, 3**0.5 * std, generator=generator)
    elif config.init_truncation is None:
        nn.init.normal_(parameter, std=std, generator=generator)
    elif std > 0:
        limit = config.init_truncation * std
        nn.init.trunc_normal_(parameter, std=std, a=-limit, b=limit, generator=generator)
    else:
        nn.init.zeros_(parameter)
