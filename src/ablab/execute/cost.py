"""What one training step of a run costs, counted: arithmetic, memory, launches."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ablab.train.method import Method
from ablab.train.run import Run
from ablab.train.stack import Stack, initial_model

_SAMPLES = 8  # that are enough to count a step
_COUNTED = Method("solo", attention="plain")
_KNOWN: dict[str, "StepCost | str"] = {}


@dataclass(frozen=True)
class StepCost:
    """The counts of one training step of one run.

    Attributes:
        key: Stands for the shapes and operations of a step, whatever else the run asks for.
        flops: Floating-point operations in products with parameters.
        attention_flops: Those in products of two activations, as in attention.
        activation_bytes: Activation memory: bytes held from the forward pass for the backward pass.
        state_bytes: Bytes of parameters, gradient, one copy, and optimizer state.
        kernel_launches: Torch operations that compute something.
        tokens: Tokens of a sample.
        samples: Samples of a batch.
        mixes_samples: Whether the samples of a batch affect each other: then it is never split.
    """

    key: str
    flops: float
    attention_flops: float
    activation_bytes: int
    state_bytes: int
    kernel_launches: int
    tokens: int
    samples: int
    mixes_samples: bool = False

    def bytes(self, runs: int, method: Method) -> int:
        """Memory that training some runs takes: their state, and what a call keeps in passing."""
        at_once = min(runs, method.rows or runs)
        share = (method.samples or self.samples) / self.samples
        # What is kept for the gradient, and about as much again for what comes and goes.
        return self.state_bytes * runs + int(2 * self.activation_bytes * at_once * share)


def cost_key(run: Run) -> str:
    """A digest of what decides the shapes and operations of a run's step."""
    train = run.train
    parts = [
        run.task.identity(), run.model.identity(), train.batch_size, train.optimizer,
        train.precision, train.loss.identity(), train.clip_norm is not None,
        train.recover is not None,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def count_cost(run: Run) -> StepCost | str:
    """Counts one step; where the run's step raises, the error in a line."""
    key = cost_key(run)
    if key not in _KNOWN:
        _KNOWN[key] = _count(run, key)
    return _KNOWN[key]


def _count(run: Run, key: str) -> StepCost | str:
    samples = min(_SAMPLES, run.train.batch_size)
    # Of a single step, since draws of later ones would lie in the same storage as its own.
    train = run.train.model_copy(update={"batch_size": samples, "steps": 1})
    few = Run(run.id, run.task, run.model, train, run.seed)
    saved: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    counter = _Counter()
    try:
        stack = Stack([few], [None], torch.device("cpu"), _COUNTED)
        with (
            torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
            counter,
        ):
            stack.advance(1)
        mixes = samples > 1 and _mixes(few, stack)
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    scale = run.train.batch_size / samples
    own = stack.theta.nbytes + sum(each.nbytes for each in stack.optimizer_state.values())
    best = 0 if run.train.recover is None else 2 * own  # to go back to
    best += 2 * own  # that the flight recorder holds
    return StepCost(
        key=key,
        flops=(counter.flops - counter.attention_flops) * scale,
        attention_flops=counter.attention_flops * scale,
        activation_bytes=int(max(0, sum(saved.values()) - stack.theta.nbytes) * scale),
        state_bytes=2 * stack.theta.nbytes + own + best,
        kernel_launches=counter.kernel_launches,
        tokens=run.task.input_length,
        samples=run.train.batch_size,
        mixes_samples=mixes,
    )


@torch.no_grad()
def _mixes(run: Run, stack: Stack) -> bool:
    """Whether half of a batch has other logits by itself than as part of the whole."""
    tokens = stack.draw(1).at(0).tokens[0]
    half = len(tokens) // 2
    for precision, tolerance in ((torch.float64, 1e-7), (torch.float32, 1e-3)):
        model = initial_model(run).to(precision).eval()
        for parameter in model.parameters():  # what starts at zero hides what stands before it
            parameter.add_(torch.sin(torch.arange(parameter.numel())).view_as(parameter), alpha=0.1)
        try:
            together, alone = model(tokens)[:half], model(tokens[:half])
        except RuntimeError:  # a user's model may run in single precision alone
            continue
        if alone.dtype != precision:
            continue
        scale = float(alone.abs().max())
        return not torch.allclose(together, alone, rtol=tolerance, atol=tolerance * scale)
    return True


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what torch is called for in this thread, by torch's own table of arithmetic.

    Its ``FlopCounterMode`` hooks every module of the process, also those of other threads.

    Attributes:
        kernel_launches: Operations that compute something.
        flops: Multiplications and additions in products.
        attention_flops: Those in batched products, which are of activations.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kernel_launches = 0
        self.flops = self.attention_flops = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.kernel_launches += not func.is_view
        arithmetic = flop_registry.get(func.overloadpacket)
        if arithmetic is not None:
            count = float(arithmetic(*args, **(kwargs or {}), out_val=result))
            self.flops += count
            self.attention_flops += count if func.overloadpacket is torch.ops.aten.bmm else 0.0
        return result
