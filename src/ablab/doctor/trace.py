"""Records a pass: what every module received and returned, and the calls that decide attention.

A torch function mode does not see what ``nn.MultiheadAttention`` calls inside, because torch hands
``F.multi_head_attention_forward`` to the mode as one call. :mod:`ablab.doctor.composite` opens it.

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

from ablab.doctor.composite import OPENED, opened
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
    torch.baddbmm: "baddbmm",
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
    Tensor.detach: "detach",
    torch.detach: "detach",
    Tensor.data.__get__: "detach",  # type: ignore[attr-defined]
    **dict.fromkeys((torch.round, Tensor.round, torch.sign, Tensor.sign), "round"),
    **dict.fromkeys((torch.argmax, Tensor.argmax, F.one_hot), "round"),
}


@dataclass
class Call:
    """A recorded call of a function.

    Attributes:
        function: ``softmax``, ``sdpa``, ``dropout``, ``embedding``, ``matmul``, ``mul``, ``div``,
            ``detach`` or ``round`` (which has no gradient). A ``baddbmm`` is recorded as the
            ``matmul`` in it.
        where: The name of the module whose forward pass calls it; empty for the model itself.
        values: Its arguments in order; tensors are copies unless gradients are recorded.
        options: Its arguments by name.
        output: What it returned. In ``nn.MultiheadAttention`` an axis of heads is split off the
            first axis of (B * H, …), here and in ``values``.
        returned: The tensor itself, whose gradient is kept if gradients are recorded.
    """

    function: str
    where: str
    values: tuple[Any, ...]
    options: dict[str, Any]
    output: Any
    returned: Tensor | None = None

    @property
    def gradient(self) -> Tensor | None:
        """The gradient with the shape of the output; None if none was recorded."""
        if self.returned is None or self.returned.grad is None:
            return None
        return self.returned.grad.reshape(self.output.shape)

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
        without_graph: The modules that are called under ``torch.no_grad``, though gradients are
            recorded.
        logits: The logits, (B, T, V).
    """

    model: nn.Module
    tokens: Tensor
    calls: list[Call] = field(default_factory=list)
    modules: list[ModuleCall] = field(default_factory=list)
    without_graph: list[str] = field(default_factory=list)
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
        self.paused = False
        self.heads = 0  # of the multi-head attention whose forward pass runs

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in OPENED:
            return self._opened(func, args, kwargs)
        name = _RECORDED.get(func)
        if name is None or self.paused:
            return func(*args, **kwargs)
        values = tuple(self._held(each) for each in args)
        options = {key: self._held(each) for key, each in kwargs.items()}
        output = func(*args, **kwargs)
        if isinstance(output, Tensor) and not self.copies and output.requires_grad:
            output.retain_grad()
        held = self._held(output)
        if name == "baddbmm":
            name, values = "matmul", values[1:]
            held = values[0] @ values[1]
        where = self.stack[-1] if self.stack else ""
        own = output if isinstance(output, Tensor) and not self.copies else None
        self.trace.calls.append(Call(name, where, values, options, held, own))
        return output

    def _opened(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Runs a composite function such that the calls in it are seen."""
        before, self.heads = self.heads, kwargs.get("num_heads", args[4] if len(args) > 4 else 0)
        try:
            with self:
                return opened(func)(*args, **kwargs)
        finally:
            self.heads = before

    def _held(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        value = value.detach().clone() if self.copies else value
        if self.heads and value.ndim == 3 and len(value) % self.heads == 0:
            value = value.unflatten(0, (-1, self.heads))
        return value


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
    recorder = _Recorder(trace, stack, not gradients)

    def copied(values: Iterable[Any]) -> Tensor | None:
        recorder.paused = True
        first = _first_tensor(values)
        copy = None if first is None else first.detach().clone()
        recorder.paused = False
        return copy

    def enter(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            stack.append(name)
            inputs.append(copied([*given, *named.values()]))
            if gradients and not torch.is_grad_enabled():
                trace.without_graph.append(name)

        return hook

    def leave(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: Any, output: Any) -> None:
            stack.pop()
            trace.modules.append(ModuleCall(name, module, inputs.pop(), copied([output])))

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
            with recorder:
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
