"""Forward passes of many models of one shape, read and replaced at sites. Axes: N models, B, T, V.

A pass over few samples costs little more for many models than for one, if they are stacked with
``torch.vmap``; a pass over many samples is faster model by model. :class:`Passes` decides (decision
0034), keeps what it has computed for models that have not asked yet, and compares the first stacked
pass with one of a model alone.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call

from ablab.analysis.loaded import LoadedModels, state_of
from ablab.analysis.narrow_attention import NarrowKernels
from ablab.analysis.replacement import Replacement
from ablab.config import InputError, Problem, match_names
from ablab.model.base import Model
from ablab.model.forward import Forward, FusedKernels, Tap
from ablab.model.interventions import matching, sites
from ablab.model.site_names import plain_site
from ablab.train.kernels import StackedKernels

# Above either of these, a stack is slower than model by model (decision 0034).
_STACKED_ENTRIES = 2**15  # tokens times the largest width of a parameter
_STACKED_PRODUCTS = 2**21  # tokens times the entries of the largest matrix
_TOGETHER = 2**11  # tokens of passes with several sets of replacements, model by model
_BYTES = 256 * 2**20  # of results cached for later requests
_RTOL, _ATOL = 1e-3, 1e-4  # of the largest entry; stacked and single passes round differently
_BY_QUERY = (".attn_scores", ".pattern")  # sites (B, H, Q, S); others are (B, Q, …)


@dataclass(frozen=True)
class Pass:
    """One model's forward pass.

    Attributes:
        logits: (B, Q, V), where Q is the number of positions: all T, or those from the first one on
            that was asked for.
        sites: The tensors at the sites that were to be read, by name, in the order of the pass.
            A site that is replaced is read after the replacement.
    """

    logits: Float[Tensor, "B Q V"]
    sites: dict[str, Tensor] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """The size of its tensors in bytes."""
        return self.logits.nbytes + sum(each.nbytes for each in self.sites.values())

    def split(self, number: int) -> "list[Pass]":
        """Passes of equally many samples each."""
        if number == 1:
            return [self]
        logits = self.logits.chunk(number)
        sites = {name: x.chunk(number) for name, x in self.sites.items()}
        return [Pass(own, {n: x[i] for n, x in sites.items()}) for i, own in enumerate(logits)]


@dataclass(frozen=True)
class _Asked:
    """What is asked of a pass: sites to read, replacements, the first position of the logits.

    The samples are repeated for each set of replacements; a clean pass has one set, an empty one.
    """

    tokens: Tensor
    sites: tuple[str, ...]
    changes: tuple[tuple[Replacement, ...], ...]
    first: int
    digest: str

    @property
    def entries(self) -> int:
        """The number of tokens of the pass."""
        return self.tokens.numel() * len(self.changes)

    @property
    def repeated(self) -> Tensor:
        """The tokens of the pass."""
        return self.tokens.repeat(len(self.changes), 1) if len(self.changes) > 1 else self.tokens

    @property
    def key(self) -> tuple[Any, ...]:
        """What determines the result, apart from the sites that are read."""
        return self.digest, self.changes, self.first


class _CachedPass:
    """The results of a pass of one model, or of a stacked one, until all models are done with it.

    Args:
        asked: What was asked.
        found: The pass of one model; tensors of a stacked one have the axis N in front.
        place: The place of the one model; None for a stacked pass.
        models: The number of models.
    """

    def __init__(self, asked: _Asked, found: Pass, place: int | None, models: int) -> None:
        self.key, self.sites, self.nbytes = asked.key, found.sites.keys(), found.nbytes
        self.places = set(range(models)) if place is None else {place}
        self._found, self._is_stacked = found, place is None

    def at(self, place: int, sites: Sequence[str]) -> Pass:
        """The pass of one model, with some of the sites."""
        found = {name: self._found.sites[name] for name in sites}
        if not self._is_stacked:
            return Pass(self._found.logits, found)
        return Pass(self._found.logits[place], {name: x[place] for name, x in found.items()})


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
        matrices = [each for each in first.parameters() if each.ndim > 1]
        width = max((each.shape[-1] for each in matrices), default=1)
        entries = max((each.numel() for each in matrices), default=1)
        self._most_tokens = min(_STACKED_ENTRIES // width, _STACKED_PRODUCTS // entries)
        self._cache: list[_CachedPass] = []  # the latest one last
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
        first: int = 0,
    ) -> Pass:
        """The pass of one model; see :meth:`forward_each`."""
        return next(self.forward_each(place, tokens, [replace], read, first))

    def forward_each(
        self,
        place: int,
        tokens: Int[Tensor, "B T"],
        replacements: Sequence[Sequence[Replacement]],
        read: Sequence[str] = (),
        first: int = 0,
    ) -> Iterator[Pass]:
        """Passes of one model over the same samples, each with its replacements.

        They are computed as they are asked for, as many together as are faster together.

        Args:
            place: Its place among the models.
            tokens: Token ids.
            replacements: The replacements of each pass, in any order; several may be at one site.
            read: Names or patterns of sites to read.
            first: The first position whose logits are needed.

        Raises:
            InputError: A name matches no site, or a replacement does not fit its site.
        """
        sites = self._matching(tokens, tuple(read)) if read else ()
        sets = [self._resolved(tokens, each) for each in replacements]
        skips = first > 0 and self._template.trims
        if skips and any(self._by_position(change) for own in sets for change in own):
            skips = False
        digest = _digest(tokens)
        size = len(sets)
        if not self._stacks or tokens.numel() * size > self._most_tokens:
            size = max(1, _TOGETHER // max(1, tokens.numel()))
        for start in range(0, len(sets), size):
            own = tuple(sets[start : start + size])
            asked = _Asked(tokens, sites, own, first if skips else 0, digest)
            found = self._lookup(place, asked) or self._computed(place, asked)
            for each in found.split(len(own)):
                yield each if skips or not first else self._trimmed(each, first)

    def _resolved(self, tokens: Tensor, changes: Sequence[Replacement]) -> tuple[Replacement, ...]:
        """Replacements at sites that are named by patterns, as one for each site."""
        return tuple(
            each if each.site == site else dataclasses.replace(each, site=site)
            for each in changes
            for site in self._matching(tokens, (each.site,))
        )

    def _by_position(self, change: Replacement) -> bool:
        """Whether a replacement names positions at a site that has only some of them."""
        axis = _position_axis(change.site)
        return self._template.trims_site(change.site) and any(at == axis for at, _ in change.at)

    def _trimmed(self, found: Pass, first: int) -> Pass:
        """A pass over all positions, as one from a first position on would give it."""
        trims = self._template.trims_site if self._template.trims else lambda site: False
        sites = {
            name: x.narrow(_position_axis(name), first, x.shape[_position_axis(name)] - first)
            if trims(name)
            else x
            for name, x in found.sites.items()
        }
        return Pass(found.logits[:, first:], sites)

    def _computed(self, place: int, asked: _Asked) -> Pass:
        if self._stacks and asked.entries <= self._most_tokens:
            try:
                cached = self._together(place, asked)
            except (RuntimeError, IndexError):  # e.g. an operation of a user's that vmap cannot map
                self._stacks = False
            else:
                self._add(cached)
                return cached.at(place, asked.sites)
        return self._alone_cached(place, asked)

    def forget(self, place: int) -> None:
        """Drops what is cached for a model, which will not ask again."""
        for each in self._cache:
            each.places.discard(place)
        self._cache = [each for each in self._cache if each.places]

    def site_names(self, tokens: Int[Tensor, "B T"]) -> list[str]:
        """The names of the sites, in the order of a pass."""
        shape = tuple(tokens.shape[1:])
        if shape not in self._names:
            self._names[shape] = sites(self._template, tokens)
        return self._names[shape]

    def _matching(self, tokens: Tensor, patterns: tuple[str, ...]) -> tuple[str, ...]:
        """The sites that match any of the patterns, optional ones included."""
        key = (tuple(tokens.shape[1:]), patterns)
        if key not in self._matched:
            names = self.site_names(tokens)
            plain = [plain_site(each) for each in patterns]
            if all(any(fnmatchcase(name, each) for name in names) for each in plain):
                found = match_names(plain, names, "")  # without a pass to list the sites again
            else:
                found = matching(self._template, tokens, patterns)
            self._matched[key] = tuple(found)
        return self._matched[key]

    def _lookup(self, place: int, asked: _Asked) -> Pass | None:
        for each in reversed(self._cache):
            if place in each.places and each.key == asked.key and each.sites >= set(asked.sites):
                return each.at(place, asked.sites)
        return None

    def _add(self, cached: _CachedPass) -> None:
        self._cache.append(cached)
        total = sum(each.nbytes for each in self._cache)
        while total > _BYTES and len(self._cache) > 1:
            total -= self._cache.pop(0).nbytes

    def _alone_cached(self, place: int, asked: _Asked) -> Pass:
        if any(asked.changes):
            return self._alone(place, asked)
        # Analyses of a model read different sites of the same pass: the sites add up.
        before = [e for e in self._cache if place in e.places and e.key == asked.key]
        every = tuple(dict.fromkeys([*(s for each in before for s in each.sites), *asked.sites]))
        found = self._alone(place, dataclasses.replace(asked, sites=every))
        for each in before:
            each.places.discard(place)
        self._cache = [each for each in self._cache if each.places]
        if found.nbytes <= _BYTES:
            self._add(_CachedPass(asked, found, place, len(self._models)))
        return Pass(found.logits, {name: found.sites[name] for name in asked.sites})

    @torch.no_grad()
    def _alone(self, place: int, asked: _Asked) -> Pass:
        seen: dict[str, Tensor] = {}
        taps = _taps(seen, asked)
        kernels = NarrowKernels(FusedKernels(), stacked=False)
        forward = Forward(taps, kernels=kernels, first=asked.first)
        try:
            logits = self._models[place](asked.repeated, forward)
        except IndexError as error:
            raise _does_not_fit(error) from error
        return Pass(logits, {name: seen[name] for name in asked.sites})

    @torch.no_grad()
    def _together(self, place: int, asked: _Asked) -> _CachedPass:
        if not self._states:
            self._states = _stacked(self._models)
        kernels, tokens = NarrowKernels(StackedKernels(), stacked=True), asked.repeated

        def one(state: dict[str, Tensor]) -> tuple[Tensor, ...]:
            seen: dict[str, Tensor] = {}
            taps = _taps(seen, asked)
            forward = Forward(taps, kernels=kernels, first=asked.first)
            logits = functional_call(self._template, state, (tokens, forward))
            return (logits, *(seen[name] for name in asked.sites))

        logits, *read = torch.vmap(one)(self._states)
        found = Pass(logits, dict(zip(asked.sites, read, strict=True)))
        cached = _CachedPass(asked, found, None, len(self._models))
        if not self._compared:
            self._compared = True
            if not _agree(cached.at(place, asked.sites), self._alone(place, asked)):
                raise RuntimeError("a stacked pass differs from one alone")
        return cached


def _position_axis(site: str) -> int:
    return 2 if site.endswith(_BY_QUERY) else 1


def _taps(seen: dict[str, Tensor], asked: _Asked) -> dict[str, Tap]:
    """Functions that replace and read tensors, by site."""
    changed: dict[str, list[tuple[int, Replacement]]] = {}
    for number, own in enumerate(asked.changes):
        for each in own:
            changed.setdefault(each.site, []).append((number, each))

    def tap(name: str) -> Tap:
        def at(x: Tensor) -> Tensor:
            if name in changed:
                x = _replaced(x, changed[name], len(asked.changes))
            if name in asked.sites and name not in seen:
                seen[name] = x
            return x

        return at

    return {name: tap(name) for name in dict.fromkeys([*changed, *asked.sites])}


def _replaced(x: Tensor, changes: Sequence[tuple[int, Replacement]], sets: int) -> Tensor:
    """A tensor of the samples of all sets, each with its replacements."""
    parts = list(x.chunk(sets))
    for number, each in changes:
        parts[number] = each.apply(parts[number])
    return parts[0] if sets == 1 else torch.cat(parts)


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
