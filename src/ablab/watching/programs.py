"""Small compiled functions of single tensors."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ablab.train.compiling import CompileError, Program, compile_program, load_program

Function = Callable[[Tensor], dict[str, Tensor]]


class Programs:
    """Compiles functions of one tensor, once per layout; runs them eagerly if that fails.

    A compiled function reads the tensor once for several reductions.
    """

    def __init__(self) -> None:
        self._programs: dict[Any, Program | None] = {}

    def run(
        self, key: Any, function: Function, x: Tensor, define: Callable[[], str | None]
    ) -> dict[str, Tensor]:
        """Applies a function to a tensor.

        Args:
            key: Identifies the function.
            function: A function of one tensor that consists of tensor operations only.
            x: The tensor.
            define: Gives what determines the function in any process; None if it is a user's.
                Called once for each layout.
        """
        own = (key, x.shape, x.stride(), x.dtype, x.device, torch.get_num_threads())
        if own not in self._programs:
            self._programs[own] = _compiled(function, x, define())
        program = self._programs[own]
        return function(x) if program is None else program([x])


def _compiled(function: Function, x: Tensor, definition: str | None) -> Program | None:
    try:
        return load_program(definition, [x]) or compile_program(function, [x], definition)
    except CompileError:
        return None
