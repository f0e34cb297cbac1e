"""The parts of a text: one to train on, and those that are held out. Does not import torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ablab.tasks.corpora import corpus_characters, read_corpus
from ablab.tasks.subwords import load_subwords

TRAIN = "train"
HELD_OUT = "held_out"  # the only part beside the training part, if no splits are named


@dataclass(frozen=True)
class Part:
    """Consecutive characters of a corpus.

    Attributes:
        corpus: The name of the corpus.
        start: The first character.
        stop: The first character after it; None for the end of the corpus.
    """

    corpus: str
    start: int = 0
    stop: int | None = None


def parts_of(corpus: str, splits: Mapping[str, float | str]) -> dict[str, Part]:
    """The parts of a text by name, of which ``train`` is the first.

    Args:
        corpus: The corpus that is trained on, as far as no share of it is held out.
        splits: Held-out parts by name: a share of the corpus, or the name of another corpus. The
            shares are cut from its end, in their order: the last one ends with the corpus.
    """
    length = len(read_corpus(corpus))
    shares = {name: share for name, share in splits.items() if not isinstance(share, str)}
    left, found = sum(shares.values()), {TRAIN: Part(corpus)}
    start = round(length * (1 - left))
    if shares:
        found[TRAIN] = Part(corpus, 0, start)
    for number, (name, value) in enumerate(splits.items()):
        if isinstance(value, str):
            found[name] = Part(value)
            continue
        left -= value
        last = not any(other in shares for other in list(splits)[number + 1 :])
        stop = None if last else round(length * (1 - left))
        found[name] = Part(corpus, start, stop)
        start = length if stop is None else stop
    return found


def joint_characters(corpora: tuple[str, ...]) -> str:
    """The distinct characters of some corpora, in order."""
    if len(corpora) == 1:
        return corpus_characters(corpora[0])
    return "".join(sorted(set().union(*map(corpus_characters, corpora))))


@lru_cache(maxsize=16)
def encoded_part(part: Part, content: str | None, characters: str) -> NDArray[np.int32]:
    """A part as tokens; it is encoded by itself.

    Args:
        part: The part.
        content: The subword tokenizer as JSON; None for one token per character.
        characters: The characters that have a token; character k is token k + 1.

    Raises:
        ValueError: The tokenizer cannot encode the text.
    """
    if content is None:
        numbers = _numbered(part.corpus, characters)[part.start : part.stop]
    else:
        text = read_corpus(part.corpus)[part.start : part.stop]
        numbers = load_subwords(content).tokens(text).astype(np.int32)
    numbers.setflags(write=False)  # the cached array is shared
    return numbers


@lru_cache(maxsize=8)
def _numbered(corpus: str, characters: str) -> NDArray[np.int32]:
    """A corpus as tokens, one per character."""
    points = np.frombuffer(read_corpus(corpus).encode("utf-32-le"), dtype="<u4")
    distinct = list(map(ord, characters))
    table = np.zeros(1 + max(distinct, default=0), dtype=np.int32)
    table[distinct] = np.arange(1, 1 + len(distinct))
    numbers: NDArray[np.int32] = table[points]
    return numbers
