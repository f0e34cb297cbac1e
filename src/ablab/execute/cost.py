"""Counts the cost of one training step of a run: arithmetic, memory and kernel launches."""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import torch

from ablab.model.torch_internals import arithmetic, seen_operations
from ablab.train.method import STACK, Method
from ablab.train.mixing import batch_mixing
from ablab.train.run import Run
from ablab.train.stack import Stack
from ablab.watching.config import WatchConfig

_SAMPLES = 8  # a batch of this size is enough to count a step
_STACKED_SAMPLES = 2  # … and of this size to see whether runs can be stacked
_METHOD = Method("solo", attention="plain")  # under which a step is counted
_WATCH = WatchConfig()  # what is watched by default
# Multiplications, from which torch calls a library for the products of a batch on a CPU
# (aten/src/ATen/native/LinearAlgebra.cpp).
_SMALL_PRODUCT = 400
_COSTS: dict[str, "StepCost | str"] = {}


@dataclass(frozen=True)
class StepCost:
    """The counts of one training step of one run.

    Attributes:
        key: Identifies the shapes and operations of the step; equal keys have equal costs.
        flops: Floating-point operations in products with parameters.
        attention_flops: Floating-point operations in products of two activations, as in attention.
        activation_bytes: Activation memory: bytes held from the forward pass for the backward pass.
        state_bytes: Bytes of parameters, gradient, optimizer state and their copies.
        kernel_launches: Torch operations that compute something.
        tokens: Tokens per sample.
        samples: Samples per batch.
        mixes_samples: Whether the samples of a batch may affect each other. If so, it is never
            split.
        stateful: Whether two passes over the same batch differ. If so, no method agrees with
            another, and each run trains alone, eagerly.
        unstackable: Why runs cannot be computed in one call, in one line; None if they can.
        is_random: Whether the step draws from torch's generator, as ``F.dropout`` does. A compiled
            program would draw other numbers, so that nothing could show that it agrees.
        watched: Whether other statistics are computed than by default, which no count has.
        small_flops: Of ``attention_flops``, those in matrices of less than 400 multiplications, for
            which torch calls no library on a CPU.
        larger_products: The number of larger matrices in products of activations.
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
    stateful: bool = False
    unstackable: str | None = None
    is_random: bool = False
    watched: bool = False
    small_flops: float = 0.0
    larger_products: float = 0.0

    def bytes(self, runs: int, method: Method) -> int:
        """Bytes needed to train some runs: their state, and the activations of one call."""
        at_once = min(runs, method.rows or runs)
        share = (method.samples or self.samples) / self.samples
        # Activations that the backward pass needs, and about as much again for temporaries.
        return self.state_bytes * runs + int(2 * self.activation_bytes * at_once * share)


def cost_key(run: Run) -> str:
    """A digest of the settings that determine the shapes and operations of a run's step."""
    train = run.train
    parts = [
        run.task.identity(), run.model.identity(), train.batch_size, train.optimizer,
        train.precision, train.loss.identity(), train.clip_norm is not None,
        train.recover is not None,
    ]  # fmt: skip
    parts += _watched(run)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _watched(run: Run) -> list[Any]:
    """The statistics and the steps at which they are computed; empty if both are the defaults."""
    watch = run.watch
    if not isinstance(watch, WatchConfig):
        return []
    watched = [watch.statistics, watch.every]
    return watched if watched != [_WATCH.statistics, _WATCH.every] else []


def count_cost(run: Run) -> StepCost | str:
    """Counts one step on the CPU; returns the error in one line if the step raises."""
    key = cost_key(run)
    if key not in _COSTS:
        _COSTS[key] = _count(run, key)
    return _COSTS[key]


def _count(run: Run, key: str) -> StepCost | str:
    samples = min(_SAMPLES, run.train.batch_size)
    # A single step: the batches of later steps would share its storage and be counted too.
    train = run.train.model_copy(update={"batch_size": samples, "steps": 1})
    few = Run(run.id, run.task, run.model, train, run.seed, sources=run.sources)
    saved: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    counter = _Counter()
    try:
        stack = Stack([few], [None], torch.device("cpu"), _METHOD)
        with (
            torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
            seen_operations(counter.see),
        ):
            stack.advance(1)
        mixing = batch_mixing(run)
        unstackable = None if mixing.stateful else _why_not_stacked(few)
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    scale = run.train.batch_size / samples
    own = stack.theta.nbytes + sum(each.nbytes for each in stack.optimizer_state.values())
    copies = 0 if run.train.recover is None else 2 * own  # recovery's best and latest states
    copies += 2 * own  # the flight recorder's
    return StepCost(
        key=key,
        flops=(counter.flops - counter.attention_flops) * scale,
        attention_flops=counter.attention_flops * scale,
        activation_bytes=int(max(0, sum(saved.values()) - stack.theta.nbytes) * scale),
        state_bytes=2 * stack.theta.nbytes + own + copies,
        kernel_launches=counter.kernel_launches,
        tokens=run.task.input_length,
        samples=run.train.batch_size,
        mixes_samples=samples > 1 and mixing.possible,
        stateful=mixing.stateful,
        unstackable=unstackable,
        is_random=counter.is_random,
        watched=bool(_watched(run)),
        small_flops=counter.small_flops * scale,
        larger_products=counter.larger_products * scale,
    )


def _why_not_stacked(run: Run) -> str | None:
    """Why runs like this cannot be computed in one call, found by one step of two of them.

    Only users' components are tried: ablab's own are tested under ``torch.vmap``. There is no rule
    for torch's recurrent layers, for branches on values or for random numbers of torch's generator.
    """
    if not run.sources or not run.train.optimizer_config.stackable:
        return None
    samples = min(_STACKED_SAMPLES, run.train.batch_size)
    train = run.train.model_copy(update={"batch_size": samples})
    pair = [replace(run, train=train, seed=run.seed + offset) for offset in (0, 1)]
    try:
        Stack(pair, None, torch.device("cpu"), STACK).advance(1)
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


@dataclass
class _Counter:
    """Counts torch operations; FLOPs by torch's own formulas.

    Attributes:
        kernel_launches: Operations that compute something.
        flops: Multiplications and additions in matrix products.
        attention_flops: Those in batched products, whose factors are activations.
        small_flops: Those of these in small matrices (``_SMALL_PRODUCT``).
        larger_products: The number of larger matrices.
        is_random: Whether an operation drew from torch's generator.
    """

    kernel_launches: int = 0
    flops: float = 0.0
    attention_flops: float = 0.0
    small_flops: float = 0.0
    larger_products: float = 0.0
    is_random: bool = False

    def see(self, operation: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Counts an operation."""
        self.kernel_launches += not operation.is_view
        self.is_random |= torch.Tag.nondeterministic_seeded in operation.tags
        formula = arithmetic(operation)
        if formula is not None:
            count = float(formula(*args, **kwargs, out_val=result))
            self.flops += count
            if operation.overloadpacket is torch.ops.aten.bmm:
                self.attention_flops += count
                matrices = result.shape[0]
                if count < 2 * _SMALL_PRODUCT * matrices:
                    self.small_flops += count
                else:
                    self.larger_products += matrices
