"""Taps: read tensors at sites during forward and backward. Axes: W runs of one call, B, T, P.

``watching/`` passes a :class:`TapReducer` that defines what is read. A tap never changes the
tensors of the pass. However, if attention's scores or pattern are tapped, attention does not use a
fused kernel, because fused kernels do not expose them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Tapped = dict[str, Tensor]
MEAN = "mean:"  # prefix of results that are averaged over the parts of a batch


class TapReducer(ABC):
    """Reduces the tensors at sites as soon as a pass computes them.

    Its results are tensors by name with the leading axis W. If a batch is split into parts, results
    whose name begins with ``mean:`` are averaged over the parts; all others are concatenated along
    their second axis.

    Attributes:
        key: Identifies the reduction; equal keys share compiled programs.
        lasting: Whether the key identifies it in other processes, too.
        sites: The sites whose tensors or gradients are read.
        gradient_sites: The sites whose gradients are read.
    """

    key: str
    lasting: bool = False
    sites: frozenset[str]
    gradient_sites: frozenset[str]

    @abstractmethod
    def forward(self, site: str, x: Tensor, targets: Tensor) -> Tapped:
        """Reduces the tensor at a site.

        Args:
            site: The site.
            x: Its tensor, (W, B, …).
            targets: The targets of the batch, (W, B, P).
        """

    @abstractmethod
    def backward(self, site: str, grad: Tensor, targets: Tensor) -> Tapped:
        """Reduces the gradient of the loss at a site, (W, B, …)."""


class PassTaps:
    """The taps of one forward and backward pass over one part of a batch, for some runs.

    Args:
        tap_reducer: The reducer.
        targets: (W, B, P).
        share: The part as a fraction of the batch; gradients at sites are multiplied by it.

    Attributes:
        tapped: The results so far.
    """

    def __init__(self, tap_reducer: TapReducer, targets: Tensor, share: float) -> None:
        self._tap_reducer, self._targets, self._share = tap_reducer, targets, share
        self._kind = targets.device.type
        self.tapped: Tapped = {}
        self._seen: set[str] = set()

    def functions(self, vmapped: bool) -> dict[str, Callable[[Tensor], Tensor]]:
        """A function for each tapped site, for one run or for use under ``torch.vmap``."""
        return {site: self._tap(site, vmapped) for site in sorted(self._tap_reducer.sites)}

    def see(self, site: str, x: Tensor, view: Callable[[Tensor], Tensor]) -> None:
        """Reads the tensor at a site, and its gradient when the backward pass computes it.

        Args:
            site: The site.
            x: The tensor of the pass.
            view: Converts the tensor and its gradient to (W, B, …).
        """
        if site in self._seen:  # the model uses this module again
            return
        self._seen.add(site)
        tap_reducer, share = self._tap_reducer, self._share
        with torch.no_grad():  # a user's statistic may use parameters
            self._read(tap_reducer.forward, site, view(x.detach()))
        if site not in tap_reducer.gradient_sites or not x.requires_grad:
            return

        def read_gradient(grad: Tensor) -> None:
            own = view(grad.detach())
            self._read(tap_reducer.backward, site, own if share == 1 else own * share)

        x.register_hook(read_gradient)  # type: ignore[no-untyped-call]

    def _read(self, reduce: Callable[[str, Tensor, Tensor], Tapped], site: str, x: Tensor) -> None:
        """Reduces a detached tensor; not in bfloat16 if autocast is enabled."""
        if torch.is_autocast_enabled(self._kind):
            with torch.autocast(self._kind, enabled=False):
                found = reduce(site, x, self._targets)
        else:
            found = reduce(site, x, self._targets)
        self.tapped.update(found)

    def _tap(self, site: str, vmapped: bool) -> Callable[[Tensor], Tensor]:
        def alone(x: Tensor) -> Tensor:
            self.see(site, x, lambda tensor: tensor.unsqueeze(0))
            return x

        runs = self._targets.shape[0]

        def see(x: Tensor, has_runs: bool) -> None:
            # A tensor that depends on no run's parameters is the same for all runs.
            self.see(site, x, lambda each: each if has_runs else each.expand(runs, *each.shape))

        def stacked(x: Tensor) -> Tensor:
            result: Tensor = _Seen.apply(x, see)  # type: ignore[no-untyped-call]
            return result

        return stacked if vmapped else alone


class _Seen(torch.autograd.Function):
    """Passes the tensor of all runs, as it is outside of vmap, to a function; returns it as is."""

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
        assert in_dims[0] is not None, "torch calls forward for a tensor without the run axis"
        x = x.movedim(in_dims[0], 0)
        see(x, True)
        return x, 0


def join_parts(parts: Sequence[tuple[Tapped, float]]) -> Tapped:
    """Joins the results for the parts of one batch, each given with its fraction of the batch."""
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
    """Concatenates the results for several groups of runs along the run axis."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: torch.cat([tapped[name] for tapped in parts]) for name in parts[0]}
