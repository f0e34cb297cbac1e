"""Small compiled programs for what is done with single tensors."""

from collections.abc import Callable, Sequence
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
        self._programs: dict[Any, tuple[Program, list[str]] | None] = {}

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
        known = self._programs[own]
        if known is None:
            return function(x)
        program, names = known
        return dict(zip(names, program([x]), strict=True))


def _compiled(function: Function, x: Tensor) -> tuple[Program, list[str]] | None:
    names: list[str] = []

    def listed(x: Tensor) -> Sequence[Tensor]:
        found = function(x)
        names[:] = found
        return list(found.values())

    try:
        return compile_program(listed, [x])[0], names
    except CompileError:
        return None
