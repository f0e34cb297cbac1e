"""Attention with activations other than softmax, on FlexAttention's fused kernels.

FlexAttention (Dong et al., 2024) computes softmax over modified scores. With scores log(f(s) + c),
it weights values by (f(s) + c) / Z and returns log Z as its log-sum-exp. Multiplying the result by
Z and subtracting c times the sum of the visible values gives Σ f(s) v. This requires f ≥ -c. The
required parts of torch take a second to import, so they are imported on use. Axes: B, H, K; Q, S.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, no_type_check

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ablab.model.torch_internals import recompile_limit


@dataclass(frozen=True)
class Flex:
    """How an activation runs on FlexAttention.

    Attributes:
        logarithm: log(f(s) + offset) of a score.
        offset: c, added to every weight in the kernel and subtracted afterwards. The cancellation
            loses precision, so c is as small as f allows.
    """

    logarithm: Callable[[Tensor], Tensor]
    offset: float


FORMS = {
    "sigmoid": Flex(F.logsigmoid, 0.0),
    "tanh": Flex(lambda score: torch.log(score.tanh() + (1 + 1e-3)), 1 + 1e-3),
    "relu": Flex(lambda score: torch.log(score.relu() + 1e-3), 1e-3),
}
NAMES = ("softmax1", *FORMS)
_NARROWEST = 16  # numbers of a head


def is_exact(name: str, dtype: torch.dtype, d_head: int) -> bool:
    """Whether an activation has a kernel that is as accurate as plain products in a dtype.

    The offset of tanh is as large as its weights. In an emulation with n = 1024 values of mean one,
    rounded to bfloat16 before the subtraction, the error was 38% of the result. Scores are at most
    of single precision, and torch 2.13 has no kernel for heads of fewer than 16 numbers.
    """
    if dtype == torch.float64 or d_head < _NARROWEST:
        return False
    halved = dtype in (torch.bfloat16, torch.float16)
    return name in NAMES and not (name in FORMS and FORMS[name].offset > 0.1 and halved)


@dataclass(frozen=True)
class Terms:
    """The terms added to the scores, and the mask.

    Attributes:
        bias: A constant added to every score.
        slopes: The ALiBi slope of each head; empty without ALiBi.
        causal: Whether a query only sees keys up to its own position.
        window: The maximum number of keys visible to a query, including its own; None for all.
    """

    bias: float = 0.0
    slopes: tuple[float, ...] = ()
    causal: bool = True
    window: int | None = None


def attend(
    name: str,
    q: Float[Tensor, "B H Q K"],
    k: Float[Tensor, "B H S K"],
    v: Float[Tensor, "B H S K"],
    terms: Terms,
) -> Float[Tensor, "B H Q K"]:
    """Attention with an activation of ``NAMES``; scores are scaled by 1 / sqrt(K)."""
    form = FORMS.get(name)
    score_mod = _score_mod(name, terms, q.device)
    mask = _block_mask(terms.causal, terms.window, q.shape[-2], k.shape[-2], q.device)
    kernel: Any = compiled_kernel()
    if q.device.type == "cpu":  # only for tests: this kernel returns no sum and has no backward
        z = kernel(q, k, v, score_mod=score_mod, block_mask=mask)
        logarithm = _logarithm(name, q, k, terms)
    else:
        z, logarithm = kernel(q, k, v, score_mod=score_mod, block_mask=mask, return_lse=True)
        logarithm = logarithm[..., None]  # (B, H, Q, 1), in float32
    if form is None:  # softmax1 is softmax times Z / (1 + Z)
        total: Tensor = z.float() * logarithm.sigmoid()
        return total.to(q.dtype)
    total = z.float() * logarithm.exp()
    if form.offset:
        total = total - form.offset * _visible_sum(v.float(), terms)
    return total.to(q.dtype)


@lru_cache(maxsize=1)
def compiled_kernel() -> Callable[..., Any]:
    """Compiled FlexAttention, for any number of shapes and terms; uncompiled, it is not fused."""
    from torch.nn.attention.flex_attention import flex_attention

    kernel: Any = torch.compile(flex_attention, dynamic=False)

    def call(*tensors: Tensor, **settings: Any) -> Any:
        # After torch's default limit of eight, it would silently continue without compiling.
        with recompile_limit(256):
            return kernel(*tensors, **settings)

    return call


@cache  # without a limit: a CUDA graph may read its tensors later
def _score_mod(name: str, terms: Terms, device: torch.device) -> Callable[..., Tensor] | None:
    """A function that adds terms and applies the logarithm; cached, because each is compiled."""
    slopes = torch.tensor(terms.slopes, device=device) if terms.slopes else None
    form = FORMS.get(name)
    if form is None and slopes is None and terms.bias == 0.0:
        return None

    @no_type_check  # a checking wrapper would hide the signature that FlexAttention reads
    def modify(score: Tensor, b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        # In float32, like scores on CUDA. In bfloat16, the compiled CPU kernel computes a wrong
        # logarithm of the sigmoid (torch 2.13, errors of 260%).
        score = score.float() + terms.bias
        if slopes is not None:
            score = score - slopes[h] * (query - key).abs()
        return score if form is None else form.logarithm(score)

    modified: Callable[..., Tensor] = modify
    return modified


@cache
def _block_mask(
    causal: bool, window: int | None, queries: int, keys: int, device: torch.device
) -> Any:
    """FlexAttention's block mask, which skips blocks without visible keys; None if not causal."""
    from torch.nn.attention.flex_attention import create_block_mask

    if not causal:
        return None

    @no_type_check
    def visible(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        seen = key <= query
        return seen if window is None else seen & (key > query - window)

    return create_block_mask(visible, None, None, queries, keys, device=str(device))


def _logarithm(name: str, q: Tensor, k: Tensor, terms: Terms) -> Float[Tensor, "B H Q 1"]:
    """The log-sum-exp of the kernel, computed by plain products."""
    scores: Tensor = (q.float() @ k.float().mT) * q.shape[-1] ** -0.5
    query, key = torch.arange(q.shape[-2])[:, None], torch.arange(k.shape[-2])
    scores = scores + terms.bias
    if terms.slopes:
        scores = scores - torch.tensor(terms.slopes)[:, None, None] * (query - key).abs()
    if name in FORMS:
        scores = FORMS[name].logarithm(scores)
    if terms.causal:
        hidden = (key > query) | (key <= query - (terms.window or k.shape[-2]))
        scores = scores.masked_fill(hidden, -torch.inf)
    return scores.logsumexp(-1, keepdim=True)


def _visible_sum(v: Float[Tensor, "B H S K"], terms: Terms) -> Float[Tensor, "B H Q K"]:
    """The sum of the values visible to each query."""
    if not terms.causal:
        return v.sum(-2, keepdim=True)
    sums = v.cumsum(-2)
    if terms.window is None or terms.window >= v.shape[-2]:
        return sums
    gone = F.pad(sums, (0, 0, terms.window, 0))[..., : v.shape[-2], :]
    return sums - gone
