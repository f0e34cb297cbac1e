"""Mistakes in linear attention, state-space, convolutional and recurrent models."""

import torch
from torch import nn

from tests.doctor_blind.parts import Bug
from tests.doctor_blind_third.recurrent_parts import (
    LinearAttention,
    LinearAttentionModel,
    LongConvolution,
    LongConvolutionModel,
    SelectiveModel,
    SelectiveScan,
    Temporal,
    TemporalModel,
    TokenShift,
    TokenShiftModel,
    TwoGRUs,
)

FUTURE = (r"causal", r"future", r"later (token|position)")
BUGS: list[Bug] = []


def bug(name, cause, sibling, *words):
    """Registers a model whose layers are of the decorated class."""

    def add(layer):
        made = type(f"{layer.__name__}Model", (sibling,), {"layer": layer, "__module__": __name__})
        globals()[made.__name__] = made
        BUGS.append(Bug(name, made, cause, words, sibling))
        return layer

    return add


@bug(
    "normalised by all keys",
    "linear attention is divided by the sum over all keys, which includes later ones",
    LinearAttentionModel,
    *FUTURE,
    r"normali[sz]",
    r"sum over",
    r"whole (sequence|sample)",
    r"cumulative|cumsum",
)
class WholeSum(LinearAttention):
    def total(self, k):
        return k.sum(1, keepdim=True).expand_as(k)


@bug(
    "circular convolution",
    "the FFT is not padded to twice the length, so the end of the sample wraps to its start",
    LongConvolutionModel,
    *FUTURE,
    r"circular",
    r"wrap",
    r"fft",
    r"padd",
)
class Circular(LongConvolution):
    def size(self, length):
        return length


@bug(
    "growing state",
    "the rate of the state has the wrong sign, so the state grows with each step",
    SelectiveModel,
    r"grow",
    r"\bsign\b",
    r"explod",
    r"unstable",
    r"diverg",
    r"decay",
    r"larger? (with|at|the)",
)
class Growing(SelectiveScan):
    def rate(self):
        return self.log_rate.exp()


@bug(
    "state detached",
    "the state is detached at each step, so no gradient flows through time",
    SelectiveModel,
    r"detach",
    r"through time",
    r"gradient.*(earlier|past|previous|time|zero|missing|differ)",
    r"(no|without) gradient",
)
class DetachedState(SelectiveScan):
    def carried(self, state):
        return state.detach()


@bug(
    "cut at the wrong end",
    "the extra outputs of a convolution padded on both sides are cut at the start, not the end",
    TemporalModel,
    *FUTURE,
    r"padd",
    r"\bconv",
    r"wrong (end|side)",
    r"shift",
)
class CutsStart(Temporal):
    def cut(self, y):
        return y[..., self.extra :]


@bug(
    "group norm over time",
    "nn.GroupNorm on (B, C, T) also normalises over time, which includes later positions",
    TemporalModel,
    *FUTURE,
    r"norm.*(sequence|time|position|axis|dim)",
    r"(sequence|time|axis|positions).*norm",
    r"group.?norm",
)
class GroupNormed(Temporal):
    def make_norm(self, width):
        return nn.GroupNorm(1, width)

    def normed(self, y):
        return self.norm(y)


@bug(
    "rolled shift",
    "torch.roll moves the last token in front of the first one",
    TokenShiftModel,
    *FUTURE,
    r"\broll",
    r"wrap",
    r"last (token|position)",
    r"circular",
)
class Rolled(TokenShift):
    def shifted(self, x):
        return torch.roll(x, 1, dims=1)


class FinalStateFirst(TwoGRUs):
    """The final state of the first GRU has read the whole sample."""

    def second_start(self, state, tokens):
        return state


BUGS.append(
    Bug(
        "second GRU starts at the end",
        FinalStateFirst,
        "the second GRU starts from the final state of the first, which has read the whole sample",
        (*FUTURE, r"final state", r"initial state", r"last (state|position)", r"whole sample"),
        TwoGRUs,
    )
)
