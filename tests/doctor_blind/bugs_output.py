"""Mistakes in the output, the input and state that is kept between calls."""

# ruff: noqa: E501 (tables of words and names)

import torch
from torch.nn import functional as F

from tests.doctor_blind.parts import GPT, Bug, CharLSTM

BUGS: list[Bug] = []


def bug(name, cause, *words, sibling=GPT, **flags):
    def add(model):
        BUGS.append(Bug(name, model, cause, words, sibling, **flags))
        return model

    return add


@bug("relu on logits", "a ReLU on the output", r"relu", r"negative", r"activation", r"sign")
class ReluOut(GPT):
    def output(self, x):
        return F.relu(super().output(x))


@bug("softmax on logits", "a softmax on the output", r"softmax", r"probabilit", r"sum to")
class SoftmaxOut(GPT):
    def output(self, x):
        return super().output(x).softmax(-1)


@bug(
    "log softmax on logits",
    "a log-softmax on the output",
    r"log.?softmax",
    r"log.?prob",
    r"normali[sz]ed",
)
class LogSoftmaxOut(GPT):
    def output(self, x):
        return super().output(x).log_softmax(-1)


@bug(
    "sigmoid on logits",
    "a sigmoid on the output",
    r"sigmoid",
    r"between 0 and 1",
    r"activation",
    r"bounded",
)
class SigmoidOut(GPT):
    def output(self, x):
        return super().output(x).sigmoid()


@bug("tiny logits", "the logits are far too small", r"small", r"tiny", r"scale")
class Tiny(GPT):
    def output(self, x):
        return super().output(x) / 10000


@bug("huge logits", "the logits are far too large", r"large", r"huge", r"scale")
class Huge(GPT):
    def output(self, x):
        return super().output(x) * 100


@bug("logits late", "the logits are shifted by one position: they do not see their own token",
     r"shift", r"previous", r"own (token|input|logits)", r"off by one", r"one position")  # fmt: skip
class Late(GPT):
    def output(self, x):
        return F.pad(super().output(x), (0, 0, 1, 0))[:, :-1]


@bug("logits early", "the logits are shifted by one position: they come from the next token",
     r"shift", r"next (token|position)", r"off by one", r"one position", r"roll")  # fmt: skip
class Early(GPT):
    def output(self, x):
        return super().output(x).roll(-1, dims=1)


@bug("logits transposed", "the output is reshaped with vocabulary and time swapped",
     r"transpos", r"reshape", r"view", r"swap", r"axes")  # fmt: skip
class Scrambled(GPT):
    def output(self, x):
        logits = super().output(x)
        return logits.transpose(1, 2).reshape(logits.shape)


@bug("last logits for all", "the last position's logits are used at all positions",
     r"last (position|token)", r"same (logits|output)", r"all positions")  # fmt: skip
class LastForAll(GPT):
    def output(self, x):
        return super().output(x[:, -1:].expand_as(x))


@bug("vocabulary clamped", "tokens beyond 9 are clamped to 9",
     r"clamp", r"same (embedding|row|token|logits)", r"vocab", r"row", r"cannot.*distinguish")  # fmt: skip
class Clamped(GPT):
    def embed(self, tokens):
        return super().embed(tokens.clamp(max=9))


@bug(
    "one logit too few", "the head has one output too few", r"vocab", r"shape", r"size", shape=False
)
class TooFew(GPT):
    def output(self, x):
        return super().output(x)[..., :-1]


@bug("tokens overwritten", "the first token is overwritten in place", r"in.?place", r"input.*(chang|modif|writ)",
     r"(chang|modif|writ|overwr).*input", r"overwr")  # fmt: skip
class Overwrites(GPT):
    def embed(self, tokens):
        tokens[:, 0] = 0
        return super().embed(tokens)


@bug(
    "tokens ignored",
    "the model ignores its tokens",
    r"ignor",
    r"do(es)? not (depend|matter)",
    r"constant",
    r"no effect",
)
class Ignores(GPT):
    def embed(self, tokens):
        return super().embed(torch.zeros_like(tokens))


@bug(
    "noise in evaluation",
    "noise is added in evaluation too",
    r"noise",
    r"random",
    r"determin",
    r"stochastic",
    r"differ.*call",
)
class Noisy(GPT):
    def embed(self, tokens):
        x = super().embed(tokens)
        return x + 0.1 * torch.randn_like(x)


@bug("state kept", "the hidden state is kept between calls", r"state", r"cache", r"between calls", r"second call",
     r"call.*(before|previous|differ)", sibling=CharLSTM)  # fmt: skip
class KeepsState(CharLSTM):
    state = None

    def forward(self, tokens):
        if self.state is not None and self.state[0].shape[1] != len(tokens):
            self.state = None
        out, state = self.lstm(self.embedding(tokens), self.state)
        self.state = tuple(part.detach() for part in state)
        return self.fc(out)
