"""Mistakes in parameters and gradients."""

import torch
from torch import nn

from tests.doctor_blind.parts import GPT, Bug

BUGS: list[Bug] = []
NO_GRADIENT = (
    r"no gradient",
    r"without gradient",
    r"gradient.*(zero|none|missing)",
    r"detach",
    r"frozen",
    r"not.*train",
)


def bug(name, cause, *words, **flags):
    def add(model):
        BUGS.append(Bug(name, model, cause, words, GPT, **flags))
        return model

    return add


@bug(
    "python list",
    "the blocks are in a Python list and not registered",
    r"regist",
    r"modulelist",
    r"python list",
    r"parameters\(\)",
)
class PythonList(GPT):
    def make_blocks(self, d_model, length):
        return list(super().make_blocks(d_model, length))


@bug(
    "shared block",
    "all layers are the same block",
    r"share",
    r"same (block|module|layer|weight|param)",
    r"twice",
)
class SharedBlock(GPT):
    def make_blocks(self, d_model, length):
        return nn.ModuleList([self.block(d_model, self.n_heads, length)] * self.n_layers)


@bug(
    "last block unused",
    "the last block is never called",
    r"unused",
    r"never (called|used)",
    r"not (called|used)",
    r"no gradient",
    r"no effect",
)
class LastUnused(GPT):
    def body(self, x):
        for block in self.blocks[:-1]:
            x = block(x)
        return x


@bug("embedding detached", "the embedding is detached", *NO_GRADIENT)
class DetachedEmbedding(GPT):
    def embed(self, tokens):
        return super().embed(tokens).detach()


@bug("blocks without grad", "the blocks run under no_grad", r"no_grad", *NO_GRADIENT)
class NoGrad(GPT):
    def body(self, x):
        with torch.no_grad():
            return super().body(x)


@bug(
    "tied by data",
    "the head is tied by .data: two parameters share memory",
    r"\.data",
    r"\btie",
    r"share.*(memory|storage|weight)",
    r"storage",
)
class TiedData(GPT):
    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16) -> None:
        super().__init__(vocab_size, input_length, d_model)
        self.head.weight.data = self.tok_emb.weight.data


@bug(
    "padding row",
    "padding_idx=0 though 0 is an ordinary token: its row has no gradient",
    r"padding",
    r"row",
    r"token 0",
)
class PaddingRow(GPT):
    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16) -> None:
        super().__init__(vocab_size, input_length, d_model)
        self.tok_emb = nn.Embedding(vocab_size, d_model, padding_idx=0)


@bug(
    "init large",
    "the initial weights are far too large",
    r"large",
    r"initial",
    r"scale",
    fresh=True,
)
class InitLarge(GPT):
    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16) -> None:
        super().__init__(vocab_size, input_length, d_model)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=10.0)


@bug("init zero", "all linear weights start at zero", r"zero", r"initial", r"symmetr", fresh=True)
class InitZero(GPT):
    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16) -> None:
        super().__init__(vocab_size, input_length, d_model)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.weight)


@bug(
    "layer made in forward",
    "the head is made anew in each call",
    r"regist",
    r"random",
    r"each call",
    r"determin",
    r"differ.*call",
)
class NewHead(GPT):
    def output(self, x):
        return nn.Linear(x.shape[-1], self.vocab_size)(self.ln_f(x))


@bug(
    "positions frozen",
    "the position table is no parameter in training",
    *NO_GRADIENT,
    r"requires_grad",
)
class FrozenPositions(GPT):
    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16) -> None:
        super().__init__(vocab_size, input_length, d_model)
        self.pos_emb.weight.requires_grad = False
