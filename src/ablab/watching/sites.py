"""The sites of a model, for statistics: shapes, masked entries, and which have gradients."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ablab.model.base import Model
from ablab.model.forward import Forward, NoiseCounter, Tap
from ablab.model.user import UserModel

# Sites where an exact zero can only come from rounding.
_DENSE = frozenset(
    ("embed", "pos_embed", "resid_pre", "resid_mid", "resid_post", "q", "k", "v", "z", "rot_q",
     "rot_k", "attn_scores", "pre", "pre_linear", "ln_final", "memory")
)  # fmt: skip
_DROPPED = ("attn_out", "mlp_out")  # dense without dropout
_ROW_SUM = 1e-3  # tolerance for the sum of a row of probabilities


@dataclass(frozen=True)
class Site:
    """A site of a model.

    Attributes:
        name: Its name.
        shape: Its tensor's shape without the batch axis.
        has_grad: Whether the gradient of the loss reaches it.
        is_distribution: Whether each row of its last axis is non-negative and sums to one.
        has_zeros: Whether exact zeros have other causes than rounding.
        visible: The number of entries in a sample's tensor that are not masked (-inf).
        is_hiding: Whether any entry is masked.
    """

    name: str
    shape: tuple[int, ...]
    has_grad: bool
    is_distribution: bool
    has_zeros: bool
    visible: int
    is_hiding: bool


def find_sites(model: Model, device: torch.device) -> dict[str, Site]:
    """The sites of a model that have a batch axis, by name, in the order of the forward pass.

    A tensor without a batch axis is skipped, such as one of positions in a user's module.

    Args:
        model: The model, in training mode.
        device: The model's device.
    """
    tokens = torch.zeros(2, model.input_length, dtype=torch.long, device=device)
    single: dict[str, Tensor] = {}
    seen: dict[str, Tensor] = {}
    reached: set[str] = set()

    def note(name: str, x: Tensor) -> Tensor:
        single.setdefault(name, x)
        return x

    def tap(name: str, x: Tensor) -> Tensor:
        if seen.setdefault(name, x) is x and x.requires_grad:
            x.register_hook(lambda _: reached.add(name))  # type: ignore[no-untyped-call]
        return x

    first = Forward(noise=NoiseCounter())
    with torch.no_grad():
        model(tokens[:1], first)
        model(tokens[:1], _tapped(note, first.visited))
    with torch.enable_grad():
        logits = model(tokens, _tapped(tap, first.visited))
        parameters = [p for p in model.parameters() if p.requires_grad]
        torch.autograd.grad(logits.sum(), parameters, allow_unused=True)
    drops = bool(first.noise.sizes) if isinstance(first.noise, NoiseCounter) else False
    return {
        name: _site(name, single[name], name in reached, model, drops)
        for name, x in seen.items()
        if x.is_floating_point() and x.ndim > 0 and (len(single[name]), len(x)) == (1, 2)
    }


def _tapped(function: Callable[[str, Tensor], Tensor], names: list[str]) -> Forward:
    taps: dict[str, Tap] = {name: partial(function, name) for name in names}
    return Forward(taps, noise=NoiseCounter())


def _site(name: str, x: Tensor, has_grad: bool, model: Model, drops: bool) -> Site:
    x = x.detach()
    shown = x > -torch.inf
    sums = x.float().sum(-1)
    last = name.rpartition(".")[2]
    dense = last in _DENSE or (last in _DROPPED and not drops)
    return Site(
        name,
        tuple(x.shape[1:]),
        has_grad,
        x.shape[-1] > 1 and bool((x >= 0).all()) and bool(((sums - 1).abs() < _ROW_SUM).all()),
        isinstance(model, UserModel) or not dense,
        int(shown.sum()),
        not bool(shown.all()),
    )
