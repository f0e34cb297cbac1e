"""Fused attention beside plain products: errors and times, for each activation.

``python benchmarks/fused.py`` prints a table. Softmax takes torch's fused kernel on any device. The
others take FlexAttention: on CUDA forward and backward; on a CPU, where its compiled kernel has
neither a backward pass nor the sum that undoes its softmax, the kernel's forward pass alone is
timed and the sum is taken by plain products. Errors are the largest differences to the same
formulas in float64, over the largest entry.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ablab.model import flex
from ablab.model.flex import Terms
from ablab.model.positions.alibi import slopes

HEADS = 4
CASES = {
    "causal": Terms(),
    "window 37": Terms(window=37),
    "ALiBi": Terms(slopes=tuple(slopes(HEADS))),
    "full": Terms(causal=False),
}


def plain(name: str, q: Tensor, k: Tensor, v: Tensor, terms: Terms) -> Tensor:
    """The formulas by plain products, in the precision of the inputs."""
    scores = (q @ k.mT) * q.shape[-1] ** -0.5 + terms.bias
    query = torch.arange(q.shape[-2], device=q.device)[:, None]
    key = torch.arange(k.shape[-2], device=q.device)
    if terms.slopes:
        slope = torch.tensor(terms.slopes, device=q.device)[:, None, None]
        scores = scores - (slope * (query - key).abs()).to(scores.dtype)
    hidden = torch.zeros_like(key > query)
    if terms.causal:
        hidden = (key > query) | (key <= query - (terms.window or k.shape[-2]))
    if name in ("softmax", "softmax1"):
        scores = scores.masked_fill(hidden, -torch.inf)
        if name == "softmax":
            return scores.softmax(-1).to(v.dtype) @ v
        scores = F.pad(scores, (0, 1))  # a score of zero that belongs to no key
        return scores.softmax(-1)[..., :-1].to(v.dtype) @ v
    weights = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}[name](scores)
    return weights.masked_fill(hidden, 0.0).to(v.dtype) @ v


def fused(name: str, q: Tensor, k: Tensor, v: Tensor, terms: Terms) -> Tensor:
    """The same by a fused kernel."""
    if name != "softmax":
        return flex.attend(name, q, k, v, terms)
    if terms == CASES["full"] or terms == CASES["causal"]:
        return F.scaled_dot_product_attention(q, k, v, is_causal=terms.causal)
    query = torch.arange(q.shape[-2], device=q.device)[:, None]
    key = torch.arange(k.shape[-2], device=q.device)
    mask = torch.zeros(len(terms.slopes) or 1, len(query), len(key), device=q.device)
    if terms.slopes:
        mask = -torch.tensor(terms.slopes, device=q.device)[:, None, None] * (query - key).abs()
    hidden = (key > query) | (key <= query - (terms.window or len(key)))
    mask = mask.masked_fill(hidden, -torch.inf).to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, mask)


def seconds(function: Callable[..., object], arguments: Sequence[object], rounds: int) -> float:
    """The median time of a call, after one that does not count."""
    cuda = torch.cuda.is_available()
    function(*arguments)
    times = []
    for _ in range(rounds):
        if cuda:
            torch.cuda.synchronize()
        began = time.perf_counter()
        function(*arguments)
        if cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--d-head", type=int, default=64)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--activations", nargs="*", default=["softmax", *flex.NAMES])
    asked = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator().manual_seed(0)
    shape = (asked.batch, HEADS, asked.length, asked.d_head)
    exact = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3)]
    print(f"{device}, {torch.get_num_threads()} threads, (B, H, T, K) = {shape}")
    print(f"{'activation':10} {'mask':10} {'type':9} {'error fused':>12} {'plain':>9} "
          f"{'fused ms':>9} {'plain ms':>9} {'plain / fused':>13}")  # fmt: skip
    for name in asked.activations:
        for title, terms in CASES.items():
            wanted = plain(name, *exact, terms)
            for dtype in (torch.float32, torch.bfloat16):
                q, k, v = (x.to(device, dtype) for x in exact)
                with torch.no_grad():
                    errors = [
                        float((way(name, q, k, v, terms).cpu().double() - wanted).abs().max())
                        / float(wanted.abs().max())
                        for way in (fused, plain)
                    ]
                    kernel = _kernel_alone if device == "cpu" else fused
                    times = [
                        seconds(way, (name, q, k, v, terms), asked.rounds)
                        for way in (kernel, plain)
                    ]
                print(f"{name:10} {title:10} {str(dtype)[6:]:9} {errors[0]:12.1e} {errors[1]:9.1e} "
                      f"{times[0] * 1e3:9.2f} {times[1] * 1e3:9.2f} {times[1] / times[0]:13.2f}",
                      flush=True)  # fmt: skip
            if device == "cuda":
                _backward(name, title, exact, terms, asked.rounds)


def _kernel_alone(name: str, q: Tensor, k: Tensor, v: Tensor, terms: Terms) -> Tensor:
    """The fused kernel without what a CPU's lacks."""
    if name == "softmax":
        return fused(name, q, k, v, terms)
    mask = flex._block_mask(terms.causal, terms.window, q.shape[-2], k.shape[-2], q.device)
    score_mod = flex._score_mod(name, terms, q.device)
    result: Tensor = flex.compiled_kernel()(q, k, v, score_mod=score_mod, block_mask=mask)
    return result


def _backward(name: str, title: str, exact: list[Tensor], terms: Terms, rounds: int) -> None:
    """Times of forward and backward, and the gradients' errors, in half precision."""
    inputs = [x.detach().requires_grad_() for x in exact]
    wanted = torch.autograd.grad(plain(name, *inputs, terms).square().sum(), inputs)
    half = [x.to("cuda", torch.bfloat16).detach().requires_grad_() for x in exact]

    def step(way: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(way(name, *half, terms).float().square().sum(), half)

    errors = [
        max(
            float((mine.cpu().double() - right).abs().max() / right.abs().max())
            for mine, right in zip(step(way), wanted, strict=True)
        )
        for way in (fused, plain)
    ]
    times = [seconds(step, (way,), rounds) for way in (fused, plain)]
    print(f"{name:10} {title:10} {'gradient':9} {errors[0]:12.1e} {errors[1]:9.1e} "
          f"{times[0] * 1e3:9.2f} {times[1] * 1e3:9.2f} {times[1] / times[0]:13.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
