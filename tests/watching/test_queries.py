"""Text generated from queries while runs train: the same alone, in a stack, and from a snapshot."""

import html
import json

import pytest
import torch

import ablab
from ablab.config import InputError
from ablab.model.generate import Sampling
from ablab.store.samples import stored_samples
from ablab.train.stack import initial_model, make_task
from ablab.watching.config import GenerateConfig, QueryConfig
from ablab.watching.queries import answer_queries
from tests.cli.command import run_command
from tests.store.makers import train

QUERY = {"prompt": "to be", "tokens": 12, "temperature": 0.7, "top_p": 0.9, "top_k": 5, "seed": 3}


@pytest.fixture
def asked(tmp_path):
    (tmp_path / "text.txt").write_text("to be or not to be\n" * 40)
    return {
        "name": "queries",
        "task": {"kind": "text", "corpus": str(tmp_path / "text.txt"), "seq_len": 8},
        "model": {"kind": "transformer", "d_model": 8, "n_heads": 2, "position": "rope"},
        "train": {"steps": 6, "batch_size": 4, "lr": 0.05, "snapshots": {"every": 2}},
        "watch": {"generate": {"steps": 4, "queries": [QUERY, {"prompt": "or", "tokens": 5}]}},
        "seeds": 2,
    }


def test_every_run_answers_as_its_snapshot_does(asked, tmp_path):
    trained = train(asked, tmp_path / "lab")
    kept = stored_samples(trained.store, [run.run for run in trained.runs])
    assert sorted({step for _, step in kept}) == [0, 4, 6]
    assert len(kept) == 6
    for (run, step), sample in kept.items():
        stored = ablab.open(tmp_path / "lab").run(run)
        model, task = stored.model(step), stored.task()
        tokens = torch.from_numpy(task.tokens("to be"))
        drawn = model.generate(tokens[None], 12, Sampling(0.7, 5, 0.9, 3))[0]
        first, second = sample.about["queries"]
        assert first["text"] == "to be" + task.text(drawn.numpy())
        assert (first["top_k"], first["precision"]) == (5, "float32")
        assert len(second["text"]) == len("or") + 5
        assert sample.text == f"{first['text']}\n\n{second['text']}"
    run = trained.runs[0].run
    asking = ("generate", run, "--stored", "--store", str(tmp_path / "lab"))
    _, out, _ = run_command(*asking, "--json")
    assert [each["step"] for each in json.loads(out)] == [0, 4, 6]
    _, out, _ = run_command(*asking, "--step", "4")
    assert out == f"--- step 4\n{kept[run, 4].text}\n"
    code, _, err = run_command(*asking, "--step", "5")
    assert code == 2
    assert "one of the steps 0, 4, 6" in err


def test_queries_can_be_added_to_runs_that_have_ended(asked, tmp_path):
    queries = asked["watch"].pop("generate")["queries"]
    trained = train(asked, tmp_path / "lab")
    run = trained.runs[0].run
    assert "queries" not in stored_samples(trained.store, [run])[run, 6].about
    trained.store.close()
    for asking in (queries, queries[:1]):
        asked["watch"]["generate"] = {"queries": asking}
        result = train(asked, tmp_path / "lab")
        kept = stored_samples(ablab.open(tmp_path / "lab").store, [run])[run, 6]
        assert [each["prompt"] for each in kept.about["queries"]] == [
            each["prompt"] for each in asking
        ]
    assert len(result.runs) == 2


def test_generation_in_another_precision(asked):
    run = ablab.experiment(asked).runs[0]
    model, task = initial_model(run), make_task(run)
    seen = []
    model.unembedding.register_forward_hook(lambda m, inputs, out: seen.append(out.dtype))
    queries = (QueryConfig(**QUERY),)
    found = {
        precision: answer_queries(model.to(dtype), task, queries, precision)
        for precision, dtype in (("bfloat16", torch.float32), ("float64", torch.float64))
    }
    assert seen == [torch.bfloat16] * 12 + [torch.float64] * 12
    assert found["float64"][0]["precision"] == "float64"


def test_a_prompt_that_cannot_be_read_is_an_error_before_training(asked, tmp_path):
    asked["watch"]["generate"]["queries"] = {"prompt": "tü be"}
    with pytest.raises(InputError, match="cannot be tokenized: the corpus has no character 'ü'"):
        ablab.run(asked, store=tmp_path / "lab")
    assert not (tmp_path / "lab").exists()
    asked["task"] = {"kind": "addition", "n_digits": 1}
    asked["watch"]["generate"]["queries"] = {"prompt": "1+2=03"}
    with pytest.raises(InputError, match="already a complete sample"):
        ablab.run(asked, store=tmp_path / "lab")


def test_when_text_is_generated():
    config = GenerateConfig(steps=[3, 7], queries={"prompt": "a"})
    assert [config.next_stop(step) for step in (0, 3, 7)] == [3, 7, None]
    assert config.queries == (QueryConfig(prompt="a"),)
    with pytest.raises(ValueError, match="at least 1"):
        GenerateConfig(steps=0, queries={"prompt": "a"})


def test_the_entry_says_what_each_text_was_generated_from(asked, tmp_path):
    """Prompts and temperatures of queries; of a task that is no text, too."""
    (tmp_path / "asked.json").write_text(json.dumps(asked | {"seeds": 1}))
    where = ("--store", str(tmp_path / "lab"), "--quiet", "--compile", "off")
    assert run_command("run", str(tmp_path / "asked.json"), *where)[0] == 0
    generate = 'watch.generate={queries: [{prompt: "12+", tokens: 2, temperature: 0}]}'
    adding = ("addition", "name=adding", "train.steps=4", "seeds=1", "model.d_model=8", generate)
    code, _, err = run_command("run", *adding, *where)
    assert code == 0, err
    wanted = {
        "queries": 'Generated from the prompt "to be" at temperature 0.7, top_k 5, top_p 0.9; the '
        'prompt "or" at temperature 1, by the first seed of each variant.',
        "adding": 'Generated from the prompt "12+" at temperature 0, by the first seed of each '
        "variant.",
    }
    for name, sentence in wanted.items():
        (folder,) = (tmp_path / "lab" / "logbook").glob(f"*-{name}")
        assert sentence in (folder / "entry.md").read_text()
        page = html.unescape((folder / "index.html").read_text())
        assert sentence in page and "empty prompt" not in page


def test_a_run_that_a_stop_rule_ends_answers_at_its_last_step(asked, tmp_path):
    asked["train"] |= {"steps": 40, "stop": {"below": 100.0}}  # at the first step that is logged
    asked["watch"] |= {"every": 3}
    trained = train(asked, tmp_path / "lab")
    assert {run.status for run in trained.runs} == {"stopped"}
    (end,) = {run.step for run in trained.runs}
    kept = stored_samples(trained.store, [run.run for run in trained.runs])
    assert sorted({step for _, step in kept}) == [0, end]
    assert len(kept) == 4
