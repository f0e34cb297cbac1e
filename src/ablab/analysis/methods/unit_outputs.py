"""What neurons, heads and logits give out at one position of a transformer. Axes: N, T, C, U.

A *unit* is one neuron, one head or one logit. Units have one column each, except heads as vectors,
which have a column for each entry: C columns of U units.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ablab.analysis.passes import Pass
from ablab.analysis.subject import DoesNotApplyError, Subject
from ablab.config import InputError, Problem
from ablab.model.attention import Attention
from ablab.model.block import Block
from ablab.model.transformer import Transformer
from ablab.tasks.config import IGNORED
from ablab.tasks.probe import Probe

_ENTRIES = 20_000_000  # of the widest site of a pass, such as 113² samples, 3 tokens, width 512
_MOST_LOGITS = 128
_MOST_SAMPLES = 8192  # of those that are only a part of the task's table


@dataclass(frozen=True)
class Unit:
    """A neuron, a head or a logit.

    Attributes:
        kind: ``neuron``; ``head``, the vector z of a head; ``head_norm``, its Euclidean norm;
            ``logit``, that of a token, or ``answer_logit``, that of each sample's right answer,
            both minus the mean over the vocabulary.
        block: The number of the block; None for logits.
        number: The number of the neuron or head, or the token; None for ``answer_logit``.
        width: The number of its columns.
    """

    kind: str
    block: int | None
    number: int | None
    width: int = 1


@dataclass(frozen=True)
class Outputs:
    """The outputs of units for samples.

    Attributes:
        units: The units, in the order of their columns.
        values: (N, C), in float64.
    """

    units: tuple[Unit, ...]
    values: NDArray[np.float64]


def sum_by_unit(units: Sequence[Unit], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over the columns of each unit, (…, C) to (…, U)."""
    widths = [unit.width for unit in units]
    found: NDArray[np.float64] = np.add.reduceat(columns, np.cumsum([0, *widths[:-1]]), axis=-1)
    return found


def transformer(subject: Subject) -> Transformer:
    """The model, if it is a transformer.

    Raises:
        DoesNotApplyError: It is another model.
    """
    if not isinstance(subject.model, Transformer):
        name = type(subject.model).__name__
        raise DoesNotApplyError(f"it needs a transformer of ablab, and the model is a {name}")
    return subject.model


def blocks(model: Transformer) -> list[Block]:
    """The blocks of a transformer."""
    return [block for block in model.blocks if isinstance(block, Block)]


def first_key(attention: Attention, query: int) -> int:
    """The first position that a query sees."""
    return 0 if attention.window is None else max(0, query - attention.window + 1)


def answer_position(subject: Subject, position: int | None) -> int:
    """The position at which a model is looked at.

    Args:
        subject: The model and its task.
        position: The position in the input; None for the one where the answer begins: the first
            predicted position of a task with a question, at which no part of the answer has been
            read, and the last one of other tasks.

    Raises:
        InputError: The task has no such position.
    """
    config = subject.task.config
    places = range(config.input_length)
    if position is None:
        return places[subject.task.predicted][0 if config.source_length is not None else -1]
    if position not in places:
        raise InputError(
            Problem(
                "the input has no such position",
                "position",
                given=position,
                expected=f"0 to {config.input_length - 1}",
            )
        )
    return position


def chosen_samples(probe: Probe, at: int, seed: int) -> NDArray[np.int64]:
    """The numbers of the samples that are looked at.

    They are those with a known target at the position if there are any, and at most 8,192, drawn at
    random, of a probe that does not have all samples of the task.

    Args:
        probe: The samples.
        at: The position.
        seed: The seed of what is drawn.
    """
    known = probe.targets[:, at] != IGNORED
    rows = np.flatnonzero(known) if known.any() else np.arange(len(known))
    if probe.whole or len(rows) <= _MOST_SAMPLES:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, _MOST_SAMPLES, replace=False))


def passes(
    subject: Subject, tokens: NDArray[np.int64], read: Sequence[str]
) -> Iterator[tuple[slice, Pass]]:
    """Passes over parts of the samples that are small enough for one pass, and these parts.

    Args:
        subject: A transformer and its task.
        tokens: The input, (N, T).
        read: Names of the sites to read.
    """
    model = transformer(subject)
    widths = [model.vocab_size, *(each.shape[0] for each in model.parameters() if each.ndim == 2)]
    count = max(1, _ENTRIES // (tokens.shape[1] * max(widths)))
    for first in range(0, len(tokens), count):
        rows = slice(first, first + count)
        yield rows, subject.forward(torch.as_tensor(tokens[rows]), read=read)


def read_outputs(
    subject: Subject,
    tokens: NDArray[np.int64],
    at: int,
    answers: Sequence[int],
    targets: NDArray[np.int64] | None = None,
) -> Outputs:
    """The outputs of all units at a position.

    Args:
        subject: A transformer and its task.
        tokens: The input, (N, T).
        at: The position.
        answers: The tokens whose logits are wanted.
        targets: The right answer of each sample, (N,), none of them ``IGNORED``; None if they are
            not known, and then there is no ``answer_logit``.
    """
    model = transformer(subject)
    numbered = list(enumerate(blocks(model)))
    mlps = [f"blocks.{number}.mlp.post" for number, block in numbered if block.has_mlp]
    heads = [f"blocks.{number}.attn.z" for number, block in numbered if block.has_attention]
    parts = []
    for rows, found in passes(subject, tokens, [*mlps, *heads]):
        logits = found.logits[:, at].double().numpy()
        logits = logits - logits.mean(-1, keepdims=True)
        columns = [found.sites[site][:, at].double().numpy() for site in mlps]
        for site in heads:
            z = found.sites[site][:, at].double().numpy()  # (N, H, K)
            columns += [z.reshape(len(z), -1), np.linalg.norm(z, axis=-1)]
        columns.append(logits[:, list(answers)])
        if targets is not None:
            columns.append(np.take_along_axis(logits, targets[rows, None], axis=-1))
        parts.append(np.concatenate(columns, axis=-1))
    return Outputs(_units(model, answers, targets is not None), np.concatenate(parts))


def answer_tokens(targets: NDArray[np.int64]) -> list[int]:
    """The tokens that are right answers, sorted; none if there are more than 128.

    Args:
        targets: The right answers; those that are ``IGNORED`` do not count.
    """
    found: list[int] = np.unique(targets[targets != IGNORED]).tolist()
    return found if len(found) <= _MOST_LOGITS else []


def _units(model: Transformer, answers: Sequence[int], has_targets: bool) -> tuple[Unit, ...]:
    """The units, in the order in which :func:`read_outputs` joins their columns."""
    found = []
    for number, block in enumerate(blocks(model)):
        if block.has_mlp:
            width = block.mlp.linear.out_features
            found += [Unit("neuron", number, neuron) for neuron in range(width)]
    for number, block in enumerate(blocks(model)):
        if block.has_attention:
            heads, width = range(block.attention.n_heads), block.attention.d_head
            found += [Unit("head", number, head, width) for head in heads]
            found += [Unit("head_norm", number, head) for head in heads]
    found += [Unit("logit", None, token) for token in answers]
    return (*found, *([Unit("answer_logit", None, None)] if has_targets else []))
