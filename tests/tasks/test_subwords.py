import doctest
import json
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ablab.config import InputError
from ablab.tasks import subwords
from ablab.tasks.addition_config import AdditionConfig
from ablab.tasks.subwords import Subwords, bpe_of_corpus, content_digest
from ablab.tasks.text import PADDING, Text
from ablab.tasks.text_config import TextConfig, tokenizer_json

TEXT = Path(doctest.__file__).read_text()[:20_000]


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A corpus of 20,000 characters, and a cache of its own."""
    monkeypatch.setenv("ABLAB_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT)
    return str(path)


@pytest.fixture
def config(corpus):
    return TextConfig(corpus=corpus, tokenizer="bpe", bpe_size=300, seq_len=8)


@cache
def trained():
    """A tokenizer of 300 subwords."""
    return Subwords(subwords._train(TEXT, 300))


def save(tmp_path, tokenizer, name="tokenizer.json"):
    """A tokenizer's file."""
    path = tmp_path / name
    path.write_text(tokenizer if isinstance(tokenizer, str) else tokenizer.to_str())
    return str(path)


def test_windows_are_cut_from_what_the_library_encodes(config):
    task = Text(config)
    library = tokenizers.Tokenizer.from_str(tokenizer_json(config))
    train = [k + 1 for k in library.encode(TEXT[:18_000]).ids]
    held_out = [k + 1 for k in library.encode(TEXT[18_000:]).ids]
    assert config.vocab_size == 301
    assert config.train_size == task.windows == len(train) - 8
    for batch, tokens in ((task.draw(0, 1, 4, 10), train), (task.held_out(40), held_out)):
        there = {tuple(tokens[i : i + 9]) for i in range(len(tokens) - 8)}
        windows = np.concatenate([batch.tokens, batch.targets[..., -1:]], axis=-1)
        assert {tuple(row) for row in windows.reshape(40, 9).tolist()} <= there
        assert (batch.tokens[..., 1:] == batch.targets[..., :-1]).all()


def test_an_epoch_visits_every_window_once(config):
    task = Text(config)
    size = config.train_size
    drawn = task.draw(3, 1, 1, size).tokens[0]
    train = task._train
    expected = [tuple(train[i : i + 8].tolist()) for i in range(size)]
    assert Counter(map(tuple, drawn.tolist())) == Counter(expected)


def test_merges_join_the_most_frequent_pair_again_and_again(config):
    pattern = r" ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+"
    words = [list(word) for word in re.findall(pattern, TEXT[:18_000])]
    expected = []
    for _ in range(10):
        counts = Counter(pair for word in words for pair in pairwise(word))
        best = counts.most_common(1)[0][0]
        expected.append("|".join(best))
        for word in words:
            i = 0
            while i < len(word) - 1:
                if (word[i], word[i + 1]) == best:
                    word[i : i + 2] = ["".join(best)]
                i += 1
    merges = json.loads(tokenizer_json(config))["model"]["merges"][:10]
    found = ["|".join(merge).replace("Ġ", " ").replace("Ċ", "\n") for merge in merges]
    assert found == expected


def test_a_tokenizer_is_trained_on_the_training_share_alone(config, tmp_path):
    digest = content_digest(tokenizer_json(config))
    for name, text, same in (
        ("end.txt", TEXT[:18_000] + "Z" * 2000, True),
        ("start.txt", "the " * 1000 + TEXT[4000:], False),
    ):
        (tmp_path / name).write_text(text)
        other = config.model_copy(update={"corpus": str(tmp_path / name)})
        assert (content_digest(tokenizer_json(other)) == digest) is same


def test_another_process_trains_the_same_tokenizer(config):
    code = (
        "from ablab.tasks.subwords import bpe_of_corpus, content_digest; import sys;"
        "print(content_digest(bpe_of_corpus(sys.argv[1], 18_000, 300)));"
        "assert 'torch' not in sys.modules"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, config.corpus], check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == content_digest(tokenizer_json(config))


def test_a_trained_tokenizer_is_kept_in_the_cache(config, tmp_path, monkeypatch):
    content = tokenizer_json(config)
    (kept,) = (tmp_path / "cache" / "tokenizers").iterdir()
    assert kept.read_text() == content
    arguments = (config.corpus, config.train_characters, 300)
    with monkeypatch.context() as patch:
        patch.delattr(subwords, "_train")
        assert bpe_of_corpus.__wrapped__(*arguments) == content
    kept.write_text(content[:100])
    assert bpe_of_corpus.__wrapped__(*arguments) == content
    assert kept.read_text() == content
    monkeypatch.setenv("ABLAB_CACHE", "/dev/null")  # no folder can be made there
    assert bpe_of_corpus.__wrapped__(*arguments) == content


def test_a_tokenizer_enters_the_identity_by_content(config, tmp_path):
    identity = config.identity()
    path = save(tmp_path, json.dumps(json.loads(tokenizer_json(config)), indent=1))
    by_file = TextConfig(corpus=config.corpus, tokenizer=path, seq_len=8)
    assert by_file.identity() == identity
    larger = TextConfig(corpus=config.corpus, tokenizer="bpe", bpe_size=301, seq_len=8)
    assert larger.identity() != identity
    char = TextConfig(corpus=config.corpus, seq_len=8, eval_lengths=(16,))
    assert char.identity() == {
        "kind": "text",
        "tokenizer": "char",
        "seq_len": 8,
        "held_out": 0.1,
        "corpus_sha256": identity["corpus_sha256"],
    }
    assert tokenizer_json(char) is None
    assert tokenizer_json(AdditionConfig()) is None


@given(text=st.text())
def test_bytes_make_every_text_and_its_tokens_each_others_inverse(text):
    codec = trained()
    tokens = codec.tokens(text)
    assert PADDING not in tokens
    assert codec.text(np.concatenate([[PADDING], tokens, [PADDING]])) == text


def test_a_file_that_cuts_and_fills_texts_does_neither_here(corpus, tmp_path):
    tokenizer = tokenizers.Tokenizer.from_str(subwords._train(TEXT, 300))
    tokenizer.enable_truncation(max_length=5)
    tokenizer.enable_padding(length=50)
    codec = Subwords(tokenizer.to_str())
    assert codec.text(codec.tokens(TEXT)) == TEXT


def test_a_tokenizer_of_another_sort_is_read_from_its_file(corpus, tmp_path):
    vocabulary = {word: k for k, word in enumerate(sorted(set(re.findall(r"\w+|[^\w\s]+", TEXT))))}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    config = TextConfig(corpus=corpus, tokenizer=save(tmp_path, tokenizer), seq_len=4)
    assert config.vocab_size == len(vocabulary) + 1
    task = Text(config)
    assert task.tokens("import os").tolist() == [vocabulary["import"] + 1, vocabulary["os"] + 1]
    with pytest.raises(ValueError, match="cannot encode 'xyzzy'"):
        task.tokens("xyzzy")


def test_evaluation_at_further_lengths(config):
    task = Text(config.model_copy(update={"eval_lengths": (2, 32)}))
    sets = task.evaluation_sets(40)
    assert list(sets) == ["", "length_2", "length_32"]
    assert (sets[""].tokens == task.held_out(40).tokens).all()
    assert {name: batch.tokens.shape for name, batch in sets.items()} == {
        "": (40, 8),
        "length_2": (160, 2),
        "length_32": (10, 32),
    }
    held_out = task._held_out.tolist()
    for batch in sets.values():
        assert batch.tokens[0].tolist() == held_out[: batch.tokens.shape[1]]
        assert batch.targets[-1].tolist() == held_out[-batch.tokens.shape[1] :]
    assert Text(config).evaluation_sets(5).keys() == {""}


def test_without_the_library_the_error_says_what_to_install(corpus, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    config = TextConfig(corpus=corpus, tokenizer="bpe", bpe_size=500)
    for use in (config.check_data, lambda: Text(config), lambda: config.vocab_size):
        with pytest.raises(InputError) as caught:
            use()
    (problem,) = caught.value.problems
    assert "not installed" in problem.message
    assert 'pip install "ablab[bpe]"' in problem.expected
    assert TextConfig(corpus=corpus).vocab_size > 50


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokenizer": "bpe"}, "needs bpe_size"),
        ({"bpe_size": 300}, "can only be used with tokenizer bpe, not with char"),
        ({"tokenizer": "bpe", "bpe_size": 200}, "greater than or equal to 256"),
        ({"eval_lengths": [8, 8]}, "repeats a length"),
        ({"eval_lengths": [0]}, "greater than or equal to 1"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        TextConfig(**{"corpus": "is not read"} | settings)


def test_settings_that_do_not_fit_the_text_are_refused(corpus, tmp_path):
    for settings, message in (
        ({"tokenizer": "bpe", "bpe_size": 100_000}, r"the text yields only \d+ subwords"),
        ({"tokenizer": "bpe", "bpe_size": 300, "seq_len": 9000}, r"has [\d,]+ tokens"),
        ({"eval_lengths": [8, 2000]}, "eval_lengths has 2000, but only 2,000 characters"),
        ({"tokenizer": "bpee"}, "(?s)no tokenizer and no file called 'bpee'.*did you mean bpe"),
        ({"tokenizer": save(tmp_path, "{}")}, "is not a file of the tokenizers library"),
        ({"tokenizer": corpus}, "is not a file of the tokenizers library"),
    ):
        config = TextConfig(**{"corpus": corpus} | settings)
        with pytest.raises(ValueError, match=message):
            config.check_data()
        with pytest.raises(ValueError, match=message):
            Text(config)
    with pytest.raises(InputError, match="has no tokens"):
        Subwords(tokenizers.Tokenizer(tokenizers.models.BPE()).to_str())
