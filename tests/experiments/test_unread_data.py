"""Creating an experiment reads no corpus and trains no tokenizer; what needs them resolves it."""

import math
from unittest import mock

import pytest

import ablab
from ablab.config import InputError
from ablab.tasks import corpora, subwords, text, text_config
from tests.cli.command import run_command

TEXT = "to be or not to be, that is the question\n" * 20
WORDS = {
    "name": "words",
    "task": {"kind": "text", "seq_len": 8},
    "model": {"d_model": 8, "n_heads": 1},
    "train": {"steps": 4, "batch_size": 16},
}


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text(TEXT)
    return str(path)


def about(corpus, *overrides, **parts):
    task = WORDS["task"] | {"corpus": corpus} | parts.pop("task", {})
    return ablab.experiment(WORDS | {"task": task} | parts, *overrides)


@pytest.fixture
def unread():
    """Reading a text, training or loading a tokenizer and looking for a file are errors."""

    def refuse(*arguments, **named):
        raise AssertionError(f"{arguments} was read")

    names = ("read_corpus", "corpus_digest", "corpus_characters", "find_corpus", "fetch_corpus",
             "bpe_of_corpus", "read_tokenizer", "load_subwords", "encoded_part", "is_file",
             "check_tokenizer_name")  # fmt: skip
    with mock.patch.multiple(corpora, read_corpus=refuse, find_corpus=refuse, fetch_corpus=refuse):
        for module in (subwords, text, text_config):
            there = {name: refuse for name in names if name in vars(module)}
            mock.patch.multiple(module, **there).start()
        yield
    mock.patch.stopall()


@pytest.mark.parametrize(
    ("parts", "overrides"),
    [
        ({}, ()),
        ({"task": {"corpus": "tinyshakespeare"}}, ()),
        ({"task": {"corpus": "http://127.0.0.1:9/text.txt"}}, ()),
        ({"task": {"tokenizer": "bpe", "bpe_size": 300}}, ("task.bpe_size=300,400",)),
        ({"task": {"tokenizer": "/nowhere/tokenizer.json"}}, ()),
        ({"train": {"epochs": 2, "batch_size": "full"}}, ("model.d_model=8,16",)),
        ({"task": {"eval_lengths": [16]}, "model": {"position": "rope"}}, ()),
    ],
)
def test_creating_an_experiment_reads_nothing(unread, parts, overrides):
    asked = about("/nowhere/words.txt", *overrides, **parts)
    assert not any(variant.is_resolved for variant in asked.variants)
    again = ablab.experiment(asked.definition)
    assert again == asked
    assert f"{len(asked.variants)} run" in str(asked)


def test_what_needs_the_text_reads_it(corpus):
    asked = about(corpus, "model.d_model=8,16", train={"epochs": 2, "batch_size": 16})
    windows = round(0.9 * len(TEXT)) - 8
    assert [run.train.steps for run in asked.runs] == [math.ceil(2 * windows / 16)] * 2
    assert asked.variants[0].is_resolved
    assert asked.resolve() is asked
    again = ablab.experiment(asked.definition)
    assert again.digest == asked.digest
    assert again == asked
    assert about(corpus).variants[0].model().vocab_size == len(set(TEXT)) + 1


def test_a_full_batch_is_as_large_as_the_text(corpus):
    (run,) = about(corpus, train={"epochs": 3, "batch_size": "full"}).runs
    assert (run.train.steps, run.train.batch_size) == (3, round(0.9 * len(TEXT)) - 8)


def test_a_schedule_is_checked_against_the_steps_that_the_text_gives(corpus):
    """Not against the default number of steps, which is not what the experiment trains."""
    default = ablab.experiment(WORDS | {"task": "addition", "train": {}}).runs[0].train.steps
    schedule = {"kind": "cosine", "warmup": default + 1}
    settings = {"epochs": 100, "batch_size": 16, "schedule": schedule}
    assert about(corpus, train=settings).runs[0].train.steps > default + 1
    short = about(corpus, train=settings | {"epochs": 1})
    with pytest.raises(InputError, match="must end before"):
        short.resolve()


def test_other_settings_are_checked_at_once(unread):
    with pytest.raises(InputError) as caught:
        about("/nowhere", "train.lrr=1", train={"epochs": -1, "lr": "high"}, model={"d_model": 0})
    assert {problem.key for problem in caught.value.problems} == {
        "train.epochs", "train.lr", "train.lrr", "model.d_model",
    }  # fmt: skip
    with pytest.raises(InputError, match="bpe_size can only be used"):
        about("/nowhere", task={"bpe_size": 300})
    with pytest.raises(InputError, match="learned positions end at 8 tokens"):
        about("/nowhere", task={"eval_lengths": [16]}, model={"position": "learned"})


@pytest.mark.parametrize(
    ("settings", "key", "message"),
    [
        ("corpus: gone.txt", "task.corpus", "no file called 'gone.txt'"),
        ("corpus: words.txt, tokenizer: bpee", "task.tokenizer", "no tokenizer and no file"),
        ("corpus: words.txt, seq_len: 5000", "task", "seq_len 5000 is longer than"),
    ],
)
@pytest.mark.parametrize("command", ["run", "plan", "doctor", "expect"])
def test_missing_data_are_said_before_anything_is_written(
    corpus, tmp_path, monkeypatch, command, settings, key, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "asked.yaml").write_text(
        f"name: asked\ntask: {{kind: text, {settings}}}\nexpect: [{{measure: final(x), below: 1}}]"
    )
    store = [] if command == "doctor" else ["--store", "lab"]
    code, out, err = run_command(command, "asked.yaml", *store)
    assert (code, out) == (2, "")
    assert message in err
    assert "asked.yaml, line 2" in err
    assert not (tmp_path / "lab").exists()
    with pytest.raises(InputError) as caught:
        ablab.experiment(tmp_path / "asked.yaml").resolve()
    assert [problem.key for problem in caught.value.problems] == [key]


def test_cells_that_differ_in_where_the_same_text_is_are_the_same_run(corpus, tmp_path):
    (tmp_path / "copy.txt").write_text(TEXT)
    asked = about(corpus, f"task.corpus={corpus},{tmp_path / 'copy.txt'}")
    with pytest.raises(InputError, match="two cells of the grid are the same run"):
        asked.resolve()


def test_an_error_names_its_cell(corpus):
    asked = about(corpus, "task.seq_len=8,900")
    with pytest.raises(
        InputError, match=r"seq_len 900 is longer.*\(in the cell task.seq_len=900\)"
    ):
        asked.resolve()
