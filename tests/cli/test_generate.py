"""``ablab generate`` as a user calls it: continuations, lists of answers, and bad input."""

import json

import pytest

from tests.cli.command import run_command

TRAIN = "{steps: 4, batch_size: 8, evaluate: {every: 4, samples: 16}}"
EXPERIMENTS = {
    "sums": "task: {kind: addition, n_digits: 1, target: all}\nmodel: {d_model: 8, n_heads: 1}",
    "words": "task: {kind: text, corpus: words.txt, seq_len: 8}\nmodel: {d_model: 8, n_heads: 1}",
    "answers": "task: {kind: copy, n_symbols: 4, length: 4}\n"
    "model: {kind: thinker, d_model: 8, n_heads: 1}",
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A store with a run of each experiment: the store's folder and the runs' ids by name."""
    folder = tmp_path_factory.mktemp("generate")
    (folder / "words.txt").write_text("the cat sat on the mat\n" * 40)
    store = str(folder / "lab")
    for name, text in EXPERIMENTS.items():
        text = text.replace("words.txt", str(folder / "words.txt"))
        # Figures of statistics would take most of the time, and nothing here looks at them.
        plain = f"{text}\ntrain: {TRAIN}\nwatch: {{statistics: []}}\n"
        (folder / f"{name}.yaml").write_text(plain)
        code, _, err = run_command("run", str(folder / f"{name}.yaml"), "--store", store)
        assert code == 0, err
    runs = json.loads(run_command("runs", "--store", store, "--json")[1])
    return store, {run["experiments"][0]: run["run"] for run in runs}


def generate(lab, name, *arguments):
    store, runs = lab
    return run_command("generate", runs[name], "--store", store, *arguments)


def texts(lab, name, *arguments):
    code, out, err = generate(lab, name, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)["texts"]


def test_a_text_goes_on_from_a_prompt_or_from_nothing(lab):
    code, out, _ = generate(lab, "words", "--prompt", "the c", "--tokens", "30")
    assert code == 0
    assert out.startswith("the c")
    assert 5 < len(out) <= 5 + 30 + 1, "padding, which an untrained model draws, is not shown"
    (one,) = texts(lab, "words", "--prompt", "the c", "--tokens", "30")
    assert out == one + "\n", "what is streamed is what JSON has"
    assert texts(lab, "words", "--tokens", "5")[0].startswith("\n")


def test_samples_follow_the_seed_and_not_the_cache(lab):
    asked = ("--prompt", "the", "--tokens", "20", "--samples", "3")
    found = texts(lab, "words", *asked)
    assert len(set(found)) == 3
    assert texts(lab, "words", *asked, "--no-cache") == found
    assert texts(lab, "words", *asked, "--seed", "1") != found
    greedy = texts(lab, "words", *asked, "--greedy")
    assert len(set(greedy)) == 1
    assert texts(lab, "words", *asked, "--top-k", "1") == greedy


@pytest.mark.parametrize(
    ("name", "prompt", "length"), [("sums", "3+4=", 2), ("answers", "0123>", 4)]
)
def test_a_sample_ends_with_its_answer(lab, name, prompt, length):
    (text,) = texts(lab, name, "--prompt", prompt)
    assert text.startswith(prompt)
    assert len(text) == len(prompt) + length


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_held_out_samples_are_listed_the_worst_first(lab, name):
    code, out, err = generate(lab, name, "--dataset", "held-out", "--json")
    assert code == 0, err
    found = json.loads(out)
    accuracies = [answer["accuracy"] for answer in found["answers"]]
    assert accuracies == sorted(accuracies)
    assert found["right"] == sum(accuracy == 1 for accuracy in accuracies)
    for answer in found["answers"]:
        same = answer["prediction"] == answer["target"]
        assert same == (answer["accuracy"] == 1)
    if name == "answers":
        assert all(a["target"] == a["prompt"].removesuffix(">") for a in found["answers"])
    table = generate(lab, name, "--dataset", "held-out", "--limit", "2")[1]
    assert "held-out samples correct; showing the worst 2" in table


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("words", ["--prompt", "the§"], "the corpus has no character '§'"),
        ("words", ["--temperature", "nan"], "temperature nan"),
        ("words", ["--top-p", "2"], "top_p 2.0"),
        ("words", ["--seed", "-1"], "seed -1"),
        ("words", ["--tokens", "0"], "--tokens 0 is below 1"),
        ("words", ["--context", "9"], "positions for 8 tokens only"),
        ("words", ["--dataset", "held-out", "--prompt", "the"], "give only one of them"),
        ("words", ["--dataset", "held-out", "--limit", "-1"], "--limit -1"),
        ("words", ["--step", "3"], "no snapshot of step 3"),
        ("sums", [], "a prompt is needed"),
        ("answers", ["--prompt", "0123>0123"], "the prompt is already a complete sample"),
    ],
)
def test_bad_input_is_said(lab, name, arguments, expected):
    code, out, err = generate(lab, name, *arguments)
    assert code == 2
    assert expected in err
    assert out == ""
