"""The seconds of a step and of compiling, from counts alone, on a reference core.

The core multiplies 512 × 512 matrices in 2.6 ms. Another one is slower or faster, and what was
measured on it corrects these figures (:mod:`ablab.execute.speeds`). Which layout a step is compiled
in depends on these figures only, so that a shape is always trained alike.
"""

from typing import NamedTuple

from ablab.execute.cost import StepCost
from ablab.train.method import Method

REFERENCE_SECONDS = 2.6e-3  # of a product of 512 × 512 matrices


class _Seconds(NamedTuple):
    """Seconds of a step.

    Attributes:
        launch: Per kernel launch.
        byte: Per byte of activation memory.
        operation: Per operation in products with parameters.
        product_operation: Per operation in products of activations.
        small_operation: Per operation in small matrices of these, beside that.
        product: Per larger matrix of these, beside that.
    """

    launch: float
    byte: float
    operation: float
    product_operation: float
    small_operation: float = 0.0
    product: float = 0.0


# Eager: docs/decisions/0006. Compiled: fitted to 68 shapes of 4 to 128 wide and 3 to 32 tokens, in
# two processes on two cores (docs/decisions/0048).
_EAGER = _Seconds(2.5e-5, 5e-10, 1.25e-11, 1e-10)
_FUSED = _Seconds(4e-6, 1.7e-10, 1.25e-11, 5e-11)  # not fitted: attention of longer sequences
_USUAL = _Seconds(6.2e-6, 7.6e-10, 5.0e-12, 5e-11, 5e-10, 2.9e-7)
_INNERMOST = _Seconds(4.6e-6, 6.6e-10, 8.8e-12, 1.9e-10)
_THREADS_GAIN = 0.55  # the speedup from each further thread, except for launches
_COMPILE_FIRST = 2.0
_COMPILE_PER_LAUNCH = {"usual": 0.03, "innermost": 0.07}
# The batch is the last axis only where it is the longer one and fills the vector lanes.
_INNERMOST_TOKENS, INNERMOST_SAMPLES = 32, 32


def family(method: Method) -> str:
    """Methods of one family have steps of like speed: ``eager``, ``usual`` or ``innermost``."""
    return method.layout if method.compiled else "eager"


def step_seconds(cost: StepCost, method: Method, threads: int) -> float:
    """Seconds per step of one run: a sum over launches, bytes and arithmetic."""
    is_fused = method.attention == "fused"
    usual = _FUSED if is_fused else _USUAL
    each = {"eager": _EAGER, "usual": usual, "innermost": _INNERMOST}[family(method)]
    parts = cost.samples / (method.samples or cost.samples)
    launches = cost.kernel_launches * parts
    if method.vmapped and not method.compiled:
        launches /= 4  # the runs of a stack share launches, though those of vmap cost more
    work = (
        cost.activation_bytes * each.byte
        + cost.flops * each.operation
        + cost.attention_flops * each.product_operation
    )
    if not is_fused:
        work += cost.small_flops * each.small_operation + cost.larger_products * each.product
    gain = 1 + _THREADS_GAIN * (threads - 1)
    return launches * each.launch + work / gain


def compile_seconds(cost: StepCost, method: Method) -> float:
    """Seconds to trace and compile a step."""
    return _COMPILE_FIRST + _COMPILE_PER_LAUNCH[method.layout] * cost.kernel_launches


def innermost_is_possible(cost: StepCost) -> bool:
    """Whether a step may be compiled with the batch as the last axis.

    It is faster for short sequences of narrow models or small heads, whose products are small
    matrices, one for each sample and head, and slower where attention has more to multiply.
    """
    fills_lanes = cost.samples >= INNERMOST_SAMPLES and cost.tokens <= _INNERMOST_TOKENS
    return fills_lanes and not cost.mixes_samples
