"""The sites of a model as statistics see them: shapes, what is hidden, where gradients come."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ablab.model.base import Model
from ablab.model.forward import Forward, NoiseCounter, Tap
from ablab.model.user import UserModel

# Where an exact zero could only be an accident of rounding.
_DENSE = frozenset(
    ("embed", "pos_embed", "resid_pre", "resid_mid", "resid_post", "q", "k", "v", "z", "rot_q",
     "rot_k", "attn_scores", "pre", "pre_linear", "ln_final", "memory")
)  # fmt: skip
_DROPPED = ("attn_out", "mlp_out")  # dense without dropout
_ROW_SUM = 1e-3  # how far from one the sums of rows of probabilities may be


@dataclass(frozen=True)
class Site:
    """A site.

    Attributes:
        name: Its name.
        shape: Its tensor's shape without the batch axis.
        has_grad: Whether the loss's gradient reaches it.
        is_distribution: Whether every row of its last axis sums to one, with none below zero.
        has_zeros: Whether exact zeros come about by other means than rounding.
        visible: Entries of a sample's tensor that are not hidden, by -inf.
        is_hiding: Whether any is.
    """

    name: str
    shape: tuple[int, ...]
    has_grad: bool
    is_distribution: bool
    has_zeros: bool
    visible: int
    is_hiding: bool


def find_sites(model: Model, device: torch.device) -> dict[str, Site]:
    """The sites that hold numbers which depend on the model, by name, as one sample passes them.

    Args:
        model: The model, in training.
        device: Where it is.
    """
    tokens = torch.zeros(1, model.input_length, dtype=torch.long, device=device)
    first = Forward(noise=NoiseCounter())
    with torch.no_grad():
        model(tokens, first)
    seen: dict[str, Tensor] = {}
    reached: set[str] = set()

    def tap(name: str, x: Tensor) -> Tensor:
        seen[name] = x
        if x.requires_grad:
            x.register_hook(lambda _: reached.add(name))  # type: ignore[no-untyped-call]
        return x

    taps = {name: _named(tap, name) for name in first.visited}
    with torch.enable_grad():
        logits = model(tokens, Forward(taps, noise=NoiseCounter()))
        parameters = [p for p in model.parameters() if p.requires_grad]
        torch.autograd.grad(logits.sum(), parameters, allow_unused=True)
    return {
        name: _site(name, x.detach(), name in reached, model)
        for name, x in seen.items()
        if x.is_floating_point() and x.ndim > 0
    }


def _named(function: Callable[[str, Tensor], Tensor], name: str) -> Tap:
    return lambda x: function(name, x)


def _site(name: str, x: Tensor, has_grad: bool, model: Model) -> Site:
    shown = x > -torch.inf
    sums = x.sum(-1)
    last = name.rpartition(".")[2]
    dense = last in _DENSE or (last in _DROPPED and not _drops(model))
    return Site(
        name,
        tuple(x.shape[1:]),
        has_grad,
        x.shape[-1] > 1 and bool((x >= 0).all()) and bool(((sums - 1).abs() < _ROW_SUM).all()),
        isinstance(model, UserModel) or not dense,
        int(shown.sum()),
        not bool(shown.all()),
    )


def _drops(model: Model) -> bool:
    """Whether the model draws dropout."""
    counter = NoiseCounter()
    device = next(model.parameters()).device
    tokens = torch.zeros(1, model.input_length, dtype=torch.long, device=device)
    with torch.no_grad():
        model(tokens, Forward(noise=counter))
    return bool(counter.sizes)
