"""Taps: reading tensors at sites during forward and backward. Axes: W runs of one call, B, T, P.

This room does not know what is read: ``watching/`` passes a :class:`TapReducer` down. A tap never
changes the tensors of the pass. Tapping attention's scores or pattern does change how attention is
computed, because fused kernels expose neither.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

Tapped = dict[str, Tensor]
MEAN = "mean:"  # begins the names of what is averaged over the parts of a batch


class TapReducer(ABC):
    """Says what is read of a pass, and boils it down at once.

    What it returns, by name, are tensors with the leading axis W. Those of a batch that is taken in
    parts are joined along their second axis; those whose name begins with ``mean:`` are averaged.

    Attributes:
        key: Stands for all that it does: of equal keys, compiled programs are shared.
        sites: The sites whose tensors are read, or whose gradients are.
        gradient_sites: Those whose gradients are.
    """

    key: str
    sites: frozenset[str]
    gradient_sites: frozenset[str]

    @abstractmethod
    def forward(self, site: str, x: Tensor, targets: Tensor) -> Tapped:
        """What is kept of the tensor at a site.

        Args:
            site: The site.
            x: Its tensor, (W, B, …).
            targets: What should be predicted, (W, B, P).
        """

    @abstractmethod
    def backward(self, site: str, grad: Tensor, targets: Tensor) -> Tapped:
        """What is kept of the loss's gradient at a site, (W, B, …)."""


class PassTaps:
    """The taps of one forward and backward pass over one part of a batch, for some runs.

    Args:
        tap_reducer: What is read.
        targets: (W, B, P).
        share: The part's share of the batch, by which the gradient of its own loss is multiplied.

    Attributes:
        tapped: What was kept so far.
    """

    def __init__(self, tap_reducer: TapReducer, targets: Tensor, share: float) -> None:
        self._tap_reducer, self._targets, self._share = tap_reducer, targets, share
        self.tapped: Tapped = {}
        self._seen: set[str] = set()

    def functions(self, vmapped: bool) -> dict[str, Callable[[Tensor], Tensor]]:
        """Functions for the sites of a forward pass, of one run or under ``torch.vmap``."""
        return {site: self._tap(site, vmapped) for site in sorted(self._tap_reducer.sites)}

    def see(self, site: str, x: Tensor, view: Callable[[Tensor], Tensor]) -> None:
        """Takes the tensor at a site, and its gradient when that is known.

        Args:
            site: The site.
            x: The tensor that flows on, to which the gradient comes.
            view: Makes (W, B, …) of it, and of its gradient.
        """
        if site in self._seen:  # a part of a model that is used again
            return
        self._seen.add(site)
        tap_reducer, targets, share = self._tap_reducer, self._targets, self._share
        with torch.no_grad(), _plain(x):
            self.tapped |= tap_reducer.forward(site, view(x.detach()), targets)
        if site not in tap_reducer.gradient_sites or not x.requires_grad:
            return

        def take(grad: Tensor) -> None:
            with torch.no_grad(), _plain(grad):
                own = view(grad.detach())
                self.tapped |= tap_reducer.backward(
                    site, own if share == 1 else own * share, targets
                )

        x.register_hook(take)  # type: ignore[no-untyped-call]

    def _tap(self, site: str, vmapped: bool) -> Callable[[Tensor], Tensor]:
        def alone(x: Tensor) -> Tensor:
            self.see(site, x, lambda tensor: tensor.unsqueeze(0))
            return x

        runs = self._targets.shape[0]

        def see(x: Tensor, has_runs: bool) -> None:
            # What no run's parameters reach is the same for all of them.
            self.see(site, x, lambda each: each if has_runs else each.expand(runs, *each.shape))

        def stacked(x: Tensor) -> Tensor:
            result: Tensor = _Seen.apply(x, see)  # type: ignore[no-untyped-call]
            return result

        return stacked if vmapped else alone


def _plain(x: Tensor) -> AbstractContextManager[None]:
    """No autocast: what is read in bfloat16 is not worked out in it."""
    kind = x.device.type
    if not torch.is_autocast_enabled(kind):
        return nullcontext()
    off: AbstractContextManager[None] = torch.autocast(kind, enabled=False)
    return off


class _Seen(torch.autograd.Function):
    """Hands over the tensor of all runs from under vmap; nothing is done to it."""

    @staticmethod
    def forward(x: Tensor, see: Callable[[Tensor, bool], None]) -> Tensor:
        see(x, False)
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0], None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], x: Tensor, see: Any) -> tuple[Tensor, int]:
        assert in_dims[0] is not None, "a tensor without the run axis comes to forward"
        x = x.movedim(in_dims[0], 0)
        see(x, True)
        return x, 0


def join_parts(parts: Sequence[tuple[Tapped, float]]) -> Tapped:
    """What was kept of the parts of one batch, each with its share, as of the whole."""
    if len(parts) == 1:
        return dict(parts[0][0])
    joined: Tapped = {}
    for name in parts[0][0]:
        if name.startswith(MEAN):
            joined[name] = torch.stack([tapped[name] * share for tapped, share in parts]).sum(0)
        else:
            joined[name] = torch.cat([tapped[name] for tapped, _ in parts], dim=1)
    return joined


def join_runs(parts: Sequence[Mapping[str, Tensor]]) -> Tapped:
    """What was kept of some runs and of others, along the run axis."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: torch.cat([tapped[name] for tapped in parts]) for name in parts[0]}
