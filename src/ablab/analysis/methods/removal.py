"""Losses of a model without some of its parts. Axes: N samples, T, Q, H, S, D, M.

Q is the number of positions at a site: all T, or those from the first predicted one on, where the
model skips earlier ones (:attr:`ablab.model.base.Model.trims`).

A :class:`ablab.analysis.replacement.Replacement` can say neither the weighted mean nor the values
of the pass without replacements, which a path needs, so these are taps.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ablab.analysis.methods.pairing import partners, target_classes
from ablab.analysis.methods.removable_parts import POSITIONS_SITE, Part
from ablab.analysis.methods.samples import Samples
from ablab.analysis.replacement import How
from ablab.model.base import Model
from ablab.model.forward import Forward, FusedKernels, Kernels, PlainKernels, Tap

_BRANCHES = {"skip_attention": ("resid_pre", "attn_out"), "skip_mlp": ("resid_mid", "mlp_out")}
_ROUNDING = 1e-6
_SHORT = 32  # positions, up to which plain attention is faster than a fused kernel
_WHOLE = {"attention": "attn_out", "mlp": "mlp_out"}


class Removal:
    """Replaces parts of a model and measures the losses.

    Args:
        model: The model, in evaluation mode.
        samples: The samples.
        how: By what a part is replaced: by zeros; by its weighted mean over the samples; or by its
            values for other samples, drawn with probabilities that are the weights.
        seed: The seed of what is drawn.

    Attributes:
        losses: The losses of the whole model, (N,), in float64.
        rounding: A bound of the differences of losses that rounding makes: 1e-6 of the largest
            logit.
    """

    def __init__(self, model: Model, samples: Samples, how: How, seed: int) -> None:
        self._model, self._samples, self._how = model, samples, how
        self._weights = torch.from_numpy(samples.weights)
        rng = np.random.default_rng(seed)
        count = len(samples.weights)
        self._order = torch.from_numpy(rng.choice(count, count, p=samples.weights))
        self._partners = partners(target_classes(samples), samples.weights, rng)
        is_short = samples.tokens.shape[1] <= _SHORT
        self._kernels: Kernels = PlainKernels() if is_short else FusedKernels()
        self._clean: dict[str, Tensor] = {}
        logits = self._logits({})
        self.losses = samples.losses(logits).numpy()
        self.rounding = _ROUNDING * float(logits.abs().max())

    @property
    def has_partner(self) -> NDArray[np.bool_]:
        """Whether a sample has another one with the same targets, (N,)."""
        return self._partners >= 0

    def read(self, *sites: str) -> list[Tensor]:
        """The tensors at sites in the pass without replacements."""
        missing = [site for site in sites if site not in self._clean]
        if missing:

            def tap(site: str) -> Tap:
                def keep(x: Tensor) -> Tensor:
                    self._clean[site] = x
                    return x

                return keep

            self._losses({site: tap(site) for site in missing})
        return [self._clean[site] for site in sites]

    def losses_without(self, part: Part) -> NDArray[np.float64]:
        """The losses with a part replaced, (N,)."""
        return self._losses(self._taps(part, self.new_values))

    def losses_with_partners(self, part: Part) -> NDArray[np.float64]:
        """The losses with a part replaced by its values for another sample with the same targets.

        A sample without such a partner keeps its own.
        """
        own = np.arange(len(self._partners))
        order = torch.from_numpy(np.where(self.has_partner, self._partners, own))
        return self._losses(self._taps(part, lambda x: x[order]))

    def new_values(self, x: Float[Tensor, "N *rest"]) -> Tensor:
        """What a tensor is replaced by."""
        if self._how == "zero":
            return torch.zeros_like(x)
        if self._how == "resample":
            return x[self._order]
        mean: Tensor = torch.tensordot(self._weights, x.double(), dims=1)
        return mean.to(x.dtype).expand_as(x)

    def _losses(self, taps: Mapping[str, Tap]) -> NDArray[np.float64]:
        return self._samples.losses(self._logits(taps)).numpy()

    @torch.no_grad()
    def _logits(self, taps: Mapping[str, Tap]) -> Float[Tensor, "N Q V"]:
        """The logits from the first predicted position on."""
        first = self._samples.first
        if self._model.trims:
            forward = Forward(taps, kernels=self._kernels, first=first)
            trimmed: Tensor = self._model(self._samples.tokens, forward)
            return trimmed
        logits: Tensor = self._model(self._samples.tokens, Forward(taps, kernels=self._kernels))
        return logits[:, first:]

    def _taps(self, part: Part, new: Tap) -> dict[str, Tap]:
        if part.kind in _WHOLE:
            return {part.site(_WHOLE[part.kind]): new}
        if part.kind in _BRANCHES:
            path, branch = (part.site(name) for name in _BRANCHES[part.kind])
            (unchanged,) = self.read(branch)
            return {path: new, branch: lambda _: unchanged}
        if part.kind == "positions":
            return {POSITIONS_SITE: self._other_positions}
        if part.kind == "edge":
            return self._edge_taps(part, new)
        site, index = self._place(part)

        def replaced(x: Tensor) -> Tensor:
            changed = x.clone()
            changed[index] = new(x[index])
            return changed

        return {site: replaced}

    def _place(self, part: Part) -> tuple[str, tuple[int | slice, ...]]:
        """The site of a head or a neuron, and its entries there."""
        every = slice(None)
        if part.kind == "head":
            assert part.head is not None, "a head has a number"
            return part.site("attn.z"), (every, every, part.head)
        assert part.neuron is not None, "a neuron has a number"
        return part.site("mlp.post"), (every, every, part.neuron)

    def _edge_taps(self, part: Part, new: Tap) -> dict[str, Tap]:
        """Replaces what goes along an edge, the weight times the value, in the sum of each head."""
        assert part.destination is not None and part.source is not None, "an edge has two ends"
        pattern, v = self.read(part.site("attn.pattern"), part.site("attn.v"))
        site = part.site("attn.z")
        row = part.destination - (self._samples.first if self._trimmed(site) else 0)
        values = v[:, part.source]  # (N, G, K)
        values = values.repeat_interleave(pattern.shape[1] // values.shape[1], dim=1)
        message = pattern[:, :, row, part.source, None] * values  # (N, H, K)

        def replaced(z: Tensor) -> Tensor:
            changed = z.clone()
            changed[:, row] += new(message) - message
            return changed

        return {site: replaced}

    def _trimmed(self, site: str) -> bool:
        return self._model.trims and self._model.trims_site(site)

    def _other_positions(self, x: Float[Tensor, "N T D"]) -> Tensor:
        """Positional embeddings are the same for all samples, so positions are exchanged."""
        if self._how == "zero":
            return torch.zeros_like(x)
        if self._how == "resample":
            return x.roll(1, dims=1)
        return x.mean(1, keepdim=True).expand_as(x)
