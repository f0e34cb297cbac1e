"""Records a pass: what every module received and returned, and the calls that decide attention.

Axes: B batch, T sequence, H heads, K head, D model, V vocabulary.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ablab.doctor.patient import Patient

# The functions that are recorded, under the name that the checks use.
_RECORDED: dict[Any, str] = {
    F.softmax: "softmax",
    torch.softmax: "softmax",
    Tensor.softmax: "softmax",
    F.scaled_dot_product_attention: "sdpa",
    F.dropout: "dropout",
    F.embedding: "embedding",
    torch.matmul: "matmul",
    torch.bmm: "matmul",
    torch.einsum: "matmul",
    Tensor.matmul: "matmul",
    Tensor.bmm: "matmul",
    Tensor.__matmul__: "matmul",
    torch.mul: "mul",
    Tensor.mul: "mul",
    Tensor.__mul__: "mul",
    Tensor.__rmul__: "mul",
    torch.div: "div",
    Tensor.div: "div",
    Tensor.__truediv__: "div",
}


@dataclass
class Call:
    """A recorded call of a function.

    Attributes:
        function: ``softmax``, ``sdpa``, ``dropout``, ``embedding``, ``matmul``, ``mul`` or ``div``.
        where: The name of the module whose forward pass calls it; empty for the model itself.
        values: Its arguments in order; tensors are copies unless gradients are recorded.
        options: Its arguments by name.
        output: What it returned.
    """

    function: str
    where: str
    values: tuple[Any, ...]
    options: dict[str, Any]
    output: Any

    def argument(self, number: int, name: str, default: Any = None) -> Any:
        """An argument by its place or name."""
        if number < len(self.values):
            return self.values[number]
        return self.options.get(name, default)


@dataclass
class ModuleCall:
    """The first tensor that a module received, and the first one that it returned."""

    name: str
    module: nn.Module
    input: Tensor | None
    output: Tensor | None


@dataclass
class Trace:
    """A recorded pass.

    Attributes:
        model: The model, which holds the gradients if there are any.
        tokens: Its tokens, (B, T).
        calls: The calls of functions, in order.
        modules: The calls of modules, in the order in which they return.
        logits: The logits, (B, T, V).
    """

    model: nn.Module
    tokens: Tensor
    calls: list[Call] = field(default_factory=list)
    modules: list[ModuleCall] = field(default_factory=list)
    logits: Tensor = field(default_factory=lambda: torch.empty(0))

    def of(self, *functions: str, inside: str | None = None) -> list[Call]:
        """The calls of some functions, of a module and those in it if ``inside`` names one."""
        return [
            each
            for each in self.calls
            if each.function in functions and (inside is None or is_inside(each.where, inside))
        ]


def is_inside(name: str, outer: str) -> bool:
    """Whether a module's name is ``outer`` or one inside it."""
    return not outer or name == outer or name.startswith(f"{outer}.")


class _Recorder(TorchFunctionMode):
    def __init__(self, trace: Trace, stack: list[str], copies: bool) -> None:
        super().__init__()
        self.trace, self.stack, self.copies = trace, stack, copies

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = _RECORDED.get(func)
        if name is None:
            return func(*args, **kwargs)
        values = tuple(self._held(each) for each in args)
        options = {key: self._held(each) for key, each in kwargs.items()}
        output = func(*args, **kwargs)
        if isinstance(output, Tensor) and not self.copies and output.requires_grad:
            output.retain_grad()
        where = self.stack[-1] if self.stack else ""
        self.trace.calls.append(Call(name, where, values, options, self._held(output)))
        return output

    def _held(self, value: Any) -> Any:
        return value.detach().clone() if self.copies and isinstance(value, Tensor) else value


def record(
    model: nn.Module, tokens: Int[Tensor, "B T"], seed: int = 0, gradients: bool = False
) -> Trace:
    """Records a pass over a copy of ``tokens``.

    Args:
        model: The model; hooks are removed afterwards.
        tokens: The tokens.
        seed: The seed of torch's generator during the pass.
        gradients: Whether the tensors are part of the graph (and keep gradients), not copies.
    """
    trace = Trace(model, tokens)
    stack: list[str] = []
    inputs: list[Tensor | None] = []

    def enter(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            stack.append(name)
            first = _first_tensor([*given, *named.values()])
            inputs.append(None if first is None else first.detach().clone())

        return hook

    def leave(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: Any, output: Any) -> None:
            stack.pop()
            found = _first_tensor([output])
            copied = None if found is None else found.detach().clone()
            trace.modules.append(ModuleCall(name, module, inputs.pop(), copied))

        return hook

    handles: list[Any] = []
    for name, module in model.named_modules():
        short = "" if name == "module" else name.removeprefix("module.")
        if module is not model:
            handles.append(module.register_forward_pre_hook(enter(short), with_kwargs=True))
            handles.append(module.register_forward_hook(leave(short)))
    try:
        with torch.set_grad_enabled(gradients), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            with _Recorder(trace, stack, not gradients):
                trace.logits = model(tokens.clone())
    finally:
        for handle in handles:
            handle.remove()
    return trace


@lru_cache(maxsize=16)
def trace_of(patient: Patient, training: bool = False) -> Trace:
    """The recorded pass over a batch of three (or four) samples, with perturbed parameters."""
    length = patient.run.task.input_length
    tokens, _ = patient.batch(3 if length != 3 else 4)
    return record(patient.shaken().train(training), tokens)


def _first_tensor(values: Iterable[Any]) -> Tensor | None:
    for value in values:
        if isinstance(value, Tensor):
            return value
        if isinstance(value, tuple | list):
            found = _first_tensor(value)
            if found is not None:
                return found
    return None
