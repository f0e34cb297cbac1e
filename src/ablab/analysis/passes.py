"""Forward passes of many models of one shape, read and replaced at sites. Axes: N models, B, T, V.

A pass over few samples costs little more for many models than for one, if they are stacked with
``torch.vmap``; a pass over many samples is faster model by model. :class:`Passes` decides (decision
0034), keeps what it has computed for models that have not asked yet, and compares the first stacked
pass with one of a model alone.
"""

import dataclasses
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call

from ablab.analysis.loaded import LoadedModels, state_of
from ablab.analysis.replacement import Replacement
from ablab.config import InputError, Problem, match_names
from ablab.model.base import Model
from ablab.model.forward import Forward, FusedKernels, Kernels, Tap
from ablab.model.interventions import matching, sites
from ablab.model.site_names import plain_site
from ablab.train.kernels import StackedKernels

_STACKED = 2**15  # entries of one model's residual stream, B T D, above which a stack is slower
_BYTES = 256 * 2**20  # of results kept for later requests
_RTOL, _ATOL = 1e-3, 1e-4  # of the largest entry; stacked and single passes round differently


@dataclass(frozen=True)
class Pass:
    """One model's forward pass.

    Attributes:
        logits: (B, T, V).
        sites: The tensors at the sites that were to be read, by name, in the order of the pass.
            A site that is replaced is read after the replacement.
    """

    logits: Float[Tensor, "B T V"]
    sites: dict[str, Tensor] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """The size of its tensors in bytes."""
        return self.logits.nbytes + sum(each.nbytes for each in self.sites.values())


class Passes:
    """Forward passes of models that differ in the values of parameters and buffers alone.

    Args:
        models: The models, in evaluation mode.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self._models = models
        first = models[0]
        assert isinstance(first, Model), "only ablab's models have sites"
        self._template = first
        self._cache: OrderedDict[tuple[Any, ...], dict[int, Pass]] = OrderedDict()
        self._stacks = len(self._models) > 1
        self._compared = False
        self._states: dict[str, Tensor] = {}
        self._names: dict[tuple[int, ...], list[str]] = {}
        self._matched: dict[tuple[tuple[int, ...], tuple[str, ...]], tuple[str, ...]] = {}

    def forward(
        self,
        place: int,
        tokens: Int[Tensor, "B T"],
        read: Sequence[str] = (),
        replace: Sequence[Replacement] = (),
    ) -> Pass:
        """The pass of one model.

        Args:
            place: Its place among the models.
            tokens: Token ids.
            read: Names or patterns of sites to read.
            replace: Replacements, in any order; several may be at one site.

        Raises:
            InputError: A name matches no site, or a replacement does not fit its site.
        """
        wanted = self._matching(tokens, tuple(read)) if read else ()
        changes = tuple(
            dataclasses.replace(each, site=site)
            for each in replace
            for site in self._matching(tokens, (each.site,))
        )
        key = (_digest(tokens), changes)
        cached = self._find(key, place, wanted)
        if cached is not None:
            return Pass(cached.logits, {name: cached.sites[name] for name in wanted})
        if self._pays(tokens):
            try:
                found = self._together(place, tokens, wanted, changes)
            except (RuntimeError, IndexError):  # e.g. an operation of a user's that vmap cannot map
                self._stacks = False
            else:
                self._keep((*key, wanted), dict(enumerate(found)))
                return found[place]
        return self._alone_cached(place, tokens, wanted, changes, key)

    def forget(self, place: int) -> None:
        """Drops what is kept for a model, which will not ask again."""
        for key in list(self._cache):
            self._cache[key].pop(place, None)
            if not self._cache[key]:
                del self._cache[key]

    def site_names(self, tokens: Int[Tensor, "B T"]) -> list[str]:
        """The names of the sites, in the order of a pass."""
        shape = tuple(tokens.shape[1:])
        if shape not in self._names:
            self._names[shape] = sites(self._template, tokens)
        return self._names[shape]

    def _matching(self, tokens: Tensor, patterns: tuple[str, ...]) -> tuple[str, ...]:
        """The sites that match any of the patterns, optional ones included."""
        names = self.site_names(tokens)
        plain = [plain_site(each) for each in patterns]
        if all(any(fnmatchcase(name, each) for name in names) for each in plain):
            return tuple(match_names(plain, names, ""))  # without a pass to list the sites again
        key = (tuple(tokens.shape[1:]), patterns)
        if key not in self._matched:
            self._matched[key] = tuple(matching(self._template, tokens, patterns))
        return self._matched[key]

    def _pays(self, tokens: Tensor) -> bool:
        width = max((p.shape[-1] for p in self._template.parameters() if p.ndim > 1), default=1)
        return self._stacks and tokens.numel() * width <= _STACKED

    def _find(self, key: tuple[Any, ...], place: int, wanted: tuple[str, ...]) -> Pass | None:
        for (*own, _), cached in self._cache.items():
            if tuple(own) == key and place in cached and set(wanted) <= cached[place].sites.keys():
                return cached[place]
        return None

    def _keep(self, key: tuple[Any, ...], found: dict[int, Pass]) -> None:
        self._cache[key] = found
        total = sum(each.nbytes for cached in self._cache.values() for each in cached.values())
        while total > _BYTES and len(self._cache) > 1:
            _, gone = self._cache.popitem(last=False)
            total -= sum(each.nbytes for each in gone.values())

    def _alone_cached(
        self,
        place: int,
        tokens: Tensor,
        wanted: tuple[str, ...],
        changes: tuple[Replacement, ...],
        key: tuple[Any, ...],
    ) -> Pass:
        if changes:
            return self._alone(place, tokens, wanted, changes)
        # Analyses of a model read different sites of the same pass: the sites add up.
        before = [
            (full, cached[place].sites)
            for full, cached in self._cache.items()
            if full[:-1] == key and place in cached
        ]
        every = tuple(dict.fromkeys([*(s for _, own in before for s in own), *wanted]))
        found = self._alone(place, tokens, every, changes)
        for full, _ in before:
            self._cache[full].pop(place)
            if not self._cache[full]:
                del self._cache[full]
        if found.nbytes <= _BYTES:
            self._keep((*key, (*every, place)), {place: found})
        return Pass(found.logits, {name: found.sites[name] for name in wanted})

    @torch.no_grad()
    def _alone(
        self,
        place: int,
        tokens: Tensor,
        wanted: tuple[str, ...],
        changes: tuple[Replacement, ...],
    ) -> Pass:
        seen: dict[str, Tensor] = {}
        forward = Forward(_taps(seen, wanted, changes), kernels=FusedKernels())
        try:
            logits = self._models[place](tokens, forward)
        except IndexError as error:
            raise _does_not_fit(error) from error
        return Pass(logits, {name: seen[name] for name in wanted})

    @torch.no_grad()
    def _together(
        self,
        place: int,
        tokens: Tensor,
        wanted: tuple[str, ...],
        changes: tuple[Replacement, ...],
    ) -> list[Pass]:
        if not self._states:
            self._states = _stacked(self._models)
        kernels: Kernels = StackedKernels()

        def one(state: dict[str, Tensor]) -> tuple[Tensor, ...]:
            seen: dict[str, Tensor] = {}
            forward = Forward(_taps(seen, wanted, changes), kernels=kernels)
            logits = functional_call(self._template, state, (tokens, forward))
            return (logits, *(seen[name] for name in wanted))

        logits, *read = torch.vmap(one)(self._states)
        found = [
            Pass(logits[n], {name: each[n] for name, each in zip(wanted, read, strict=True)})
            for n in range(len(self._models))
        ]
        if not self._compared:
            self._compared = True
            if not _agree(found[place], self._alone(place, tokens, wanted, changes)):
                raise RuntimeError("a stacked pass differs from one alone")
        return found


def _taps(
    seen: dict[str, Tensor], wanted: Sequence[str], changes: Sequence[Replacement]
) -> dict[str, Tap]:
    """Functions that replace and read tensors, by site."""
    changed: dict[str, list[Replacement]] = {}
    for each in changes:
        changed.setdefault(each.site, []).append(each)

    def tap(name: str) -> Tap:
        def at(x: Tensor) -> Tensor:
            for each in changed.get(name, ()):
                x = each.apply(x)
            if name in wanted and name not in seen:
                seen[name] = x
            return x

        return at

    return {name: tap(name) for name in dict.fromkeys([*changed, *wanted])}


def _stacked(models: Sequence[nn.Module]) -> dict[str, Tensor]:
    """The parameters and buffers of models, (N, …) each."""
    states = (
        models.states if isinstance(models, LoadedModels) else [state_of(each) for each in models]
    )
    return {name: torch.stack([each[name].detach() for each in states]) for name in states[0]}


def _agree(one: Pass, other: Pass) -> bool:
    pairs = [(one.logits, other.logits), *((x, other.sites[n]) for n, x in one.sites.items())]
    for x, y in pairs:
        finite = torch.isfinite(y)
        largest = float(y[finite].abs().max()) if bool(finite.any()) else 0.0
        if x.shape != y.shape or not torch.allclose(
            x, y, rtol=_RTOL, atol=_ATOL * max(largest, 1e-30), equal_nan=True
        ):
            return False
    return True


def _digest(tokens: Tensor) -> str:
    content = tokens.contiguous().numpy().tobytes()
    return f"{tuple(tokens.shape)} {hashlib.sha1(content, usedforsecurity=False).hexdigest()}"


def _does_not_fit(error: IndexError) -> InputError:
    return InputError(Problem(f"a replacement does not fit its site: {error}"))
