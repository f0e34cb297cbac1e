"""A head that matters among heads that do not, and a path around an MLP that matters or does not.

The task is the previous token. One block with three heads:

- head 0, *zero*: it attends to the first position and its values are not zero, but its output
  weights are, so no ablation of it has an effect;
- head 1, *constant*: it attends to all earlier copies of the token (and to the token itself), but
  all values are equal, so its output is the same vector for all inputs. It adds g to the logit of
  token 0, from which a constant subtracts g. Replacing it by its mean has no effect; replacing it
  by zero lowers that logit by g;
- head 2, *matters*: the previous-token head of :mod:`tests.analysis.planted.token_heads`, whose
  copy of the token leads to the logits γ [v = token at t - 1].

The MLP has one ReLU neuron for each token, which reads the copy of that token, and two more: one
reads the output of the constant head, the other is constant. There are two models:

- with a *skip path that matters*, the unembedding reads the copy and the output of the constant
  head in the residual stream, and the MLP writes to directions that nothing reads. Replacing the
  MLP's output by anything has no effect;
- with a *skip path that does not matter*, the unembedding reads only what the MLP writes: the copy
  in other directions, and the output of the constant head minus the constant. Replacing the
  residual stream before the MLP, in the sum with the MLP's output, has no effect.

With a norm, a path is not replaced by zero but by its mean: zero would also remove the ballast (see
:mod:`tests.analysis.planted.stream`).
"""

import math
from dataclasses import dataclass

import numpy as np

from ablab.model.transformer import Transformer
from tests.analysis.planted.stream import (
    Stream,
    add_harmless_biases,
    blank_model,
    make_stream,
    write_embedding,
    write_head,
    write_reader,
    write_writer,
)
from tests.analysis.planted.tasks import PreviousConfig

SHARPNESS = 40.0
LOGIT = 8.0  # γ
CONSTANT = 5.0  # g


@dataclass(frozen=True)
class IdleParts:
    """A model with parts that matter and parts that do not, and its planted facts.

    Attributes:
        model: The model.
        task: The task that it solves.
        stream: The residual stream.
        zero_head: The number of the head whose output is zero.
        constant_head: The number of the head whose output is constant.
        important_head: The number of the head that matters.
        skip_matters: Whether the path around the MLP matters.
        mlp_matters: Whether the MLP matters.
        loss: The loss at each predicted position: log(1 + (V - 1) exp(-γ)).
        loss_without: The loss at each predicted position if the output of the important head is
            replaced by zero, or that of an MLP that matters: log V.
        loss_without_constant: The losses at positions where the target is token 0 and at all
            others, if the output of the constant head is replaced by zero:
            log(1 + (V - 1) e^(g - γ)) and log(1 + (V - 2) e^(-γ) + e^(-g - γ)).
    """

    model: Transformer
    task: PreviousConfig
    stream: Stream
    zero_head: int
    constant_head: int
    important_head: int
    skip_matters: bool
    mlp_matters: bool
    loss: float
    loss_without: float
    loss_without_constant: tuple[float, float]


def idle_parts(skip_matters, *, scale=1.0, norm="none", bias=False, seed=0):
    """One of the two models.

    Args:
        skip_matters: Whether the path around the MLP matters; otherwise, the MLP does.
        scale: The scale of the residual stream and of the neurons; logits do not depend on it.
        norm: The norm, accounted for.
        bias: Whether there are biases.
        seed: The seed of the basis of the residual stream.
    """
    task = PreviousConfig(n_symbols=6, length=8)
    vocab, length = task.vocab_size, task.length
    counts = {"token": vocab, "previous": vocab, "copy": vocab, "position": length}
    names = tuple(f"{name} {i}" for name, count in counts.items() for i in range(count))
    stream = make_stream((*names, "constant", "constant copy"), norm, scale, bias, seed)
    model = blank_model(
        stream,
        task,
        seed,
        n_heads=3,
        d_head=max(vocab, length),
        d_mlp=vocab + 2,
        mlp={"activation": "relu"},
    )
    write_embedding(stream, model, stream.table("token", vocab), stream.table("position", length))
    _write_heads(stream, model.blocks[0], vocab, length)
    _write_mlp(stream, model.blocks[0], vocab)
    read = ("previous", "constant") if skip_matters else ("copy", "constant copy")
    logits, constants = LOGIT * stream.table(read[0], vocab), np.zeros(vocab)
    logits[0] += CONSTANT * stream[read[1]]
    constants[0] = -CONSTANT if skip_matters else 0.0
    write_reader(stream, model.unembedding, model.norm, logits, constants)
    add_harmless_biases(model, seed)
    return IdleParts(
        model=model,
        task=task,
        stream=stream,
        zero_head=0,
        constant_head=1,
        important_head=2,
        skip_matters=skip_matters,
        mlp_matters=not skip_matters,
        loss=math.log1p((vocab - 1) * math.exp(-LOGIT)),
        loss_without=math.log(vocab),
        loss_without_constant=(
            math.log1p((vocab - 1) * math.exp(CONSTANT - LOGIT)),
            math.log1p((vocab - 2) * math.exp(-LOGIT) + math.exp(-CONSTANT - LOGIT)),
        ),
    )


def _write_heads(stream, block, vocab, length):
    """The three heads; the values of the constant head are the sum of a one-hot position, 1."""
    tokens, positions = stream.table("token", vocab), stream.table("position", length)
    every = positions.sum(0, keepdims=True)
    write_head(
        stream,
        block,
        0,
        query=SHARPNESS * every,
        key=positions[:1],
        value=tokens,
        output=0 * tokens,
    )
    write_head(
        stream, block, 1, query=SHARPNESS * tokens, key=tokens, value=every,
        output=stream["constant"][None],
    )  # fmt: skip
    write_head(
        stream, block, 2, query=SHARPNESS * positions[1:], key=positions[:-1], value=tokens,
        output=stream.table("previous", vocab),
    )  # fmt: skip


def _write_mlp(stream, block, vocab):
    """The neurons that copy the token, that of the constant head, and the constant one."""
    constant = stream["constant"]
    inputs = np.concatenate([stream.table("previous", vocab), [constant, 0 * constant]])
    constants = np.eye(vocab + 2)[-1]
    difference = [stream["constant copy"], -stream["constant copy"]]
    outputs = np.concatenate([stream.table("copy", vocab), difference])
    write_reader(
        stream, block.mlp.linear, block.norm2, stream.scale * inputs, stream.scale * constants
    )
    write_writer(stream, block.mlp.projection, outputs)
