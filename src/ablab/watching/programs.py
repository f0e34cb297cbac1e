"""Small compiled programs for what is done with single tensors."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ablab.train.compiling import CompileError, Program, compile_program

Function = Callable[[Tensor], dict[str, Tensor]]


class Programs:
    """Compiled programs of functions of one tensor, one for each shape; eager where one cannot be.

    Compiled, several reductions of a tensor read it once.
    """

    def __init__(self) -> None:
        self._programs: dict[Any, Program | None] = {}

    def run(self, key: Any, function: Function, x: Tensor) -> dict[str, Tensor]:
        """What a function makes of a tensor.

        Args:
            key: Stands for the function.
            function: A function of a tensor alone, made of tensor operations.
            x: The tensor.
        """
        own = (key, x.shape, x.stride(), x.dtype, x.device, torch.get_num_threads())
        if own not in self._programs:
            self._programs[own] = _compiled(function, x)
        program = self._programs[own]
        return function(x) if program is None else program([x])


def _compiled(function: Function, x: Tensor) -> Program | None:
    try:
        return compile_program(function, [x])
    except CompileError:
        return None
