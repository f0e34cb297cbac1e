"""Subword tokenizers: trained on a corpus or loaded from a file, identified by their digest.

Does not import torch; imports ``tokenizers``, an extra, only if a subword tokenizer is used.
"""

import contextlib
import hashlib
import importlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablab.config import InputError, Problem, doing, is_file, nearest
from ablab.config.cache import TOKENIZERS, cache_folder
from ablab.config.files import WriteError, write_text_atomically
from ablab.tasks.corpora import read_corpus
from ablab.tasks.provided import provided

KEY = "task.tokenizer"
NAMES = ("char", "bpe")
_TRAINING = 1  # increase if training on the same text and size gives a different tokenizer


class Subwords:
    """A tokenizer of the ``tokenizers`` library; its token k is token k + 1 here, 0 is padding.

    Args:
        content: The tokenizer as JSON of the library.
        called: How errors refer to the tokenizer.

    Raises:
        InputError: The JSON is not a tokenizer, or the library is not installed.
    """

    def __init__(self, content: str, called: str = "the tokenizer") -> None:
        try:
            self._tokenizer = _library().Tokenizer.from_str(content)
        except InputError:
            raise
        except Exception as error:  # the library raises Exception itself
            raise InputError(
                Problem(f"{KEY}: {called} is not a file of the tokenizers library ({error})", KEY)
            ) from error
        # A file can enable truncation or padding of every text.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        if not vocabulary:
            raise InputError(Problem(f"{KEY}: {called} has no tokens", KEY))
        self.vocab_size: int = max(vocabulary.values()) + 2

    def tokens(self, text: str) -> NDArray[np.int64]:
        """Converts text to tokens.

        Raises:
            ValueError: The tokenizer cannot encode the text.
        """
        try:
            found = self._tokenizer.encode(text, add_special_tokens=False).ids
        except Exception as error:  # the library raises Exception itself
            raise ValueError(f"the tokenizer cannot encode {text[:40]!r} ({error})") from error
        return np.array(found, dtype=np.int64) + 1

    def text(self, tokens: NDArray[np.int64]) -> str:
        """Converts tokens to text, without padding."""
        found = [int(token) - 1 for token in tokens if token > 0]
        text: str = self._tokenizer.decode(found, skip_special_tokens=False)
        return text


@lru_cache(maxsize=8)
def load_subwords(content: str, called: str = "the tokenizer") -> Subwords:
    """Loads a tokenizer from JSON; the result is cached."""
    return Subwords(content, called)


@lru_cache(maxsize=16)
def content_digest(content: str) -> str:
    """SHA-256 of the JSON of a tokenizer, independent of its formatting (hexadecimal)."""
    plain = json.dumps(json.loads(content), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(plain.encode("utf-8")).hexdigest()


def check_tokenizer_name(name: str) -> None:
    """Checks that a name is a known tokenizer or a file.

    Raises:
        InputError: It is neither.
    """
    known = name in NAMES or provided(name) is not None
    if not known and not is_file(Path(name).expanduser()):
        raise InputError(
            Problem(
                f"{KEY}: no tokenizer and no file called {name!r}",
                KEY,
                given=name,
                expected="char, bpe, or the path of a JSON file of the tokenizers library",
                suggestion=nearest(name, NAMES),
            )
        )


@lru_cache(maxsize=8)
def read_tokenizer(name: str) -> str:
    """The content of a tokenizer file.

    Raises:
        InputError: The file cannot be read, or is not a tokenizer.
    """
    path = Path(name).expanduser()
    try:
        content = provided(name) or path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            Problem(f"{KEY}: cannot read {path} ({error})", KEY, given=name)
        ) from error
    load_subwords(content, str(path))
    return content


@lru_cache(maxsize=8)
def bpe_of_corpus(corpus: str, train_characters: int, size: int) -> str:
    """A byte-level BPE tokenizer, trained on the training part of a corpus, as JSON.

    Byte-pair encoding (Sennrich, Haddow and Birch, "Neural machine translation of rare words with
    subword units", 2016) over bytes, with GPT-2's splitting into words (Radford et al., 2019).
    Training is deterministic; the result is stored in the user's cache under the digest of its
    training text.

    Args:
        corpus: The name of the corpus.
        train_characters: The number of characters, from the beginning, to train on.
        size: The maximum number of tokens, including the 256 bytes.
    """
    text = read_corpus(corpus)[:train_characters]
    source = hashlib.sha256(text.encode("utf-8")).hexdigest()
    cached = cache_folder() / TOKENIZERS / f"bpe-{size}-{source[:32]}-{_TRAINING}.json"
    with contextlib.suppress(OSError, InputError, UnicodeDecodeError):
        content = cached.read_text(encoding="utf-8")
        load_subwords(content)
        return content
    content = _train(text, size)
    with contextlib.suppress(WriteError):  # without a cache, it is trained again next time
        write_text_atomically(cached, content)
    return content


def _train(text: str, size: int) -> str:
    library = _library()
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=size,
        show_progress=False,
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
    )
    with doing("training the tokenizer"):
        tokenizer.train_from_iterator([text], trainer)
    content: str = tokenizer.to_str()
    return content


def _library() -> Any:
    try:
        return importlib.import_module("tokenizers")
    except ImportError as error:
        raise InputError(
            Problem(
                f"{KEY}: subwords require the tokenizers library, which is not installed",
                KEY,
                expected='char, or pip install "ablab[bpe]"',
            )
        ) from error
