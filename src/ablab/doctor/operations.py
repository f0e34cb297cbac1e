"""Finds the operation of torch in which a leak of later tokens begins.

Two passes are recorded that differ in the last token. An operation is blamed if its output changes
at earlier positions, and what it gets does not. A reduction over positions has no such axis left;
it is blamed for what is computed from it.

Axes: B batch, T sequence.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ablab.doctor.influence import another, usual_tokens
from ablab.doctor.patient import Patient

_CAUSES = {
    "flip": "A flip reverses the order of positions, so each one gets what comes later.",
    "roll": "A roll moves positions around the end: use padding and a slice to shift them.",
    "sort": (
        "Positions are sorted or ranked against later ones (sort, topk: experts that choose their "
        "tokens), so a choice at one position depends on later tokens. Choose at each position."
    ),
    "fft": (
        "A Fourier transform mixes all positions. A convolution by FFT is circular, and wraps the "
        "end of the sample to its start, unless both are padded to twice the length (n=2 * T)."
    ),
    "shift": (
        "A slice moves positions: position p gets what belongs to p + 1. Pad and cut such that "
        "each position gets earlier ones only."
    ),
    "conv": (
        "The convolution covers later positions: pad (kernel_size - 1) * dilation positions on the "
        "left only, and none on the right."
    ),
    "pool": "A pooling window covers later positions. Pad it on the left only.",
    "norm": "The norm takes its mean and variance over the positions, which later tokens change.",
    "reduction": (
        "A mean over the positions (or a sum, a maximum or another statistic over the sequence "
        "axis) includes later tokens. Use a running one (cumsum), or leave it out."
    ),
    "product": (
        "A linear layer or matrix product runs over the sequence axis (as in an MLP-Mixer), so it "
        "mixes all positions. Use a lower triangular matrix."
    ),
    "view": (
        "A view or reshape changes the order of positions: axes are swapped by view or reshape in "
        "place of transpose."
    ),
}
_KINDS = {
    "flip": ("flip", "fliplr", "flipud"),
    "roll": ("roll",),
    "sort": ("sort", "argsort", "topk", "msort", "kthvalue"),
    "fft": ("fft_fft", "fft_rfft", "fft_fft2", "fft_rfft2", "fft_fftn"),
    "conv": ("conv1d", "conv2d", "conv_transpose1d", "unfold"),
    "pool": ("avg_pool1d", "max_pool1d", "avg_pool2d", "max_pool2d", "interpolate"),
    "norm": ("layer_norm", "group_norm", "instance_norm", "batch_norm", "rms_norm"),
    "reduction": (
        "mean", "sum", "amax", "amin", "max", "min", "logsumexp", "std", "var", "var_mean", "norm",
        "median", "prod", "std_mean", "nanmean", "softmax", "vector_norm",
        "linalg_vector_norm", "linalg_norm",
    ),
    "product": ("linear",),  # products of other tensors may be those of attention
    "view": ("view", "reshape"),
    "shift": ("__getitem__",),
}  # fmt: skip
_CAUSE_OF = {name: kind for kind, names in _KINDS.items() for name in names}


@dataclass
class _Operation:
    name: str
    inputs: list[Tensor]
    copies: list[Tensor]
    outputs: list[Tensor]
    results: list[Tensor]


class _Operations(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[_Operation] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        inputs = _tensors([*args, *(kwargs or {}).values()])
        copies = [each.detach().clone() for each in inputs]
        output = func(*args, **(kwargs or {}))
        outputs = _tensors([output])
        if outputs:
            results = [each.detach().clone() for each in outputs]
            name = getattr(func, "__name__", "")
            self.seen.append(_Operation(name, inputs, copies, outputs, results))
        return output


def leaking_operation(patient: Patient, training: bool) -> tuple[str, str] | None:
    """The operation that brings later tokens to earlier positions, and its usual mistake.

    Returns:
        Its name and the cause in sentences, which is empty for operations that are not known;
        None if no operation can be blamed.
    """
    length = patient.run.task.input_length
    tokens, _ = patient.batch(3 if length != 3 else 4)
    changed = tokens.clone()
    changed[0, -1] = another(int(tokens[0, -1]), usual_tokens(patient))
    model = patient.shaken().train(training)
    one, other = _operations(model, tokens), _operations(model, changed)
    found = _first(one, other, length, patient.tolerance)
    if found is None:
        return None
    return found, _CAUSES.get(_CAUSE_OF.get(found, ""), "")


def _operations(model: torch.nn.Module, tokens: Tensor) -> list[_Operation]:
    recorder = _Operations()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        with recorder:
            model(tokens.clone())
    return recorder.seen


def _first(
    one: list[_Operation], other: list[_Operation], length: int, tolerance: float
) -> str | None:
    makers: dict[int, str] = {}  # the reduction that a tensor without positions comes from
    for before, after in zip(one, other, strict=False):
        if before.name != after.name or len(before.inputs) != len(after.inputs):
            return None
        inputs = list(zip(before.inputs, before.copies, after.copies, strict=True))
        early = any(_changed(a, b, length, tolerance) for _, a, b in inputs)
        if early:
            return None  # a leak that began in an operation that was not seen
        source = next((makers[id(each)] for each, _, _ in inputs if id(each) in makers), None)
        results = list(zip(before.outputs, before.results, after.results, strict=False))
        for each, a, b in results:
            if _changed(a, b, length, tolerance):
                return source or before.name
            if length in a.shape or not _differs(a, b, tolerance):
                continue
            sliced = before.name == "__getitem__" and length - 1 in a.shape
            known = before.name in _CAUSE_OF and before.name != "__getitem__"
            own = before.name if known or sliced else None
            if source or own:
                makers[id(each)] = source or str(own)
    return None


def _changed(one: Tensor, other: Tensor, length: int, tolerance: float) -> bool:
    """Whether positions before the last one differ; of weights (…, T, T) queries are compared."""
    if one.shape != other.shape:
        return False
    axes = [axis for axis, size in enumerate(one.shape) if size == length]
    if not axes:
        return False
    axis = axes[0]
    return _differs(one.narrow(axis, 0, length - 1), other.narrow(axis, 0, length - 1), tolerance)


def _differs(one: Tensor, other: Tensor, tolerance: float) -> bool:
    if one.shape != other.shape or not one.numel():
        return False
    if not one.is_floating_point():
        return not torch.equal(one, other)
    one, other = one.nan_to_num(posinf=0, neginf=0), other.nan_to_num(posinf=0, neginf=0)
    least = tolerance * max(1e-3, float(one.abs().max()))
    return bool((one - other).abs().max() > least)


def _tensors(values: list[Any]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += _tensors(list(value))
    return found
