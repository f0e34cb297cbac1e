"""Input that was made to break it: one clear error, exit code 2, no traceback, nothing written."""

import hashlib
import os
import signal

import pytest

from tests.cli.command import run_command
from tests.store.makers import train

ASKED = {
    "name": "small",
    "task": {"kind": "addition", "n_digits": 1},
    "model": {"d_model": 4, "n_heads": 1},
    "train": {"steps": 4, "batch_size": 8, "evaluate": {"every": 4, "samples": 16}},
    "watch": {"every": 2},
    "grid": {"train.lr": [0.001, 0.002]},
}
DIGITS = "9" * 5000
FILES = {
    "good.yaml": "task: {kind: addition}\ntrain: {steps: 5}\n",
    "merge.yaml": "x: &a {<<: *a}\n",
    "brackets.yaml": "task: " + "[" * 2000 + "]" * 2000 + "\n",
    "mappings.yaml": "task: " + "{a: " * 60 + "1" + "}" * 60 + "\n",
    "large.yaml": "question: " + "x" * 10_000_001,
}

# Arguments of `ablab run`, and what the message says.
RUN = [
    (["merge.yaml"], "not valid YAML"),
    (["zero.yaml"], "zero.yaml is not a file"),
    (["pipe.yaml"], "pipe.yaml is not a file"),
    (["folder.yaml"], "folder.yaml is not a file"),
    (["brackets.yaml"], "nested too deeply"),
    (["mappings.yaml"], "nested more than"),
    (["large.yaml"], "large.yaml is too large"),
    (["good.yaml", "--store", "x" * 10_000], "the path of the store is not valid (File name too"),
    (["good.yaml", "--store", ""], "the path of the store is empty"),
    (["good.yaml", "--store", "good.yaml/lab"], "cannot create the store"),
    (["good.yaml", "model.x=" + "[" * 2000 + "]" * 2000], "nested too deeply"),
    (["good.yaml", "model.x=" + "[" * 60 + "]" * 60], "nested more than"),
    (["good.yaml", "model" + ".a" * 5000 + "=1"], "a key has too many dots"),
    (["good.yaml", "model" + "." * 5000 + "=1"], "cannot parse the override"),
    (["good.yaml", "model.d_model=true"], "a number, not true or false"),
    (["good.yaml", "model.d_model=8,true"], "a number, not true or false"),
    (["good.yaml", "train.lr=false"], "a number, not true or false"),
    (["good.yaml", "train.betas=[true,0.9]"], "a number, not true or false"),
    (["good.yaml", "train.evaluate={every: true}"], "a number, not true or false"),
    (["good.yaml", "watch.captures={what: logits, steps: [true]}"], "a number, not true or false"),
    (["good.yaml", "task.target=true"], "expected last"),
    (["good.yaml", f"train.lr={DIGITS}"], "cannot parse the override"),
    (["good.yaml", "question=\udcff"], "an argument is not UTF-8 text"),
    (["good.yaml\0"], "an argument contains a null character"),
    (["good.yaml", "--workers", DIGITS], "is not a valid integer"),
]

# Other commands, on a store with a trained experiment; RUN is the id of a run.
STORED = [
    (["runs", "--store", "x" * 10_000], "the path of the store is not valid"),
    (["runs", "--experiment", "\udcff"], "an argument is not UTF-8 text"),
    (["read", "small", "--column", "step"], "step says which row"),
    (["read", "small", "--column", "run"], "run says which row"),
    (["read", "small", "--column", "experiment"], "experiment says which row"),
    (["effects", "small", "--measure", "final(run)"], "run says which row"),
    (["effects", "small", "--measure", "step"], "step says which row"),
    (["effects", "small", "--measure", "seed at 2"], "seed says which row"),
    (["effects", "small", "--measure", "leaves(log(1e400))"], "a number is too large"),
    (["effects", "small", "--measure", f"train_loss at {DIGITS}"], "the measure is too long"),
    (["effects", "small", "--measure", f"at(train_loss, {'9' * 400})"], "a number is too large"),
    (["effects", "small", "--measure", "train_loss at 1e400"], "is not a step"),
    (["effects", "small", "--measure", "at(train_loss, 1e300)"], "1e+300 is not a step"),
    (["effects", "small", "--measure", "(" * 1900], "cannot be parsed"),
    (["expect", "small", "final(run) is below 1"], "run says which row"),
    (["expect", "small", "train_loss at 1e400 is below 1"], "is not a step"),
    (["expect", "small", "train_loss is below 3", "--claim", "\udcff"], "is not UTF-8 text"),
    (["replay", "RUN", "--steps", "²:³"], "--steps is not a range"),
    (["replay", "RUN", "--steps", "1:²"], "--steps is not a range"),
    (["replay", "RUN", "--steps", "١:٢"], "--steps is not a range"),
    (["replay", "RUN", "--steps", f"1:{DIGITS}"], "--steps is not a range"),
    (["replay", "RUN", "--samples", str(10**12)], "--samples is too large"),
    (["replay", "RUN", "--every", str(10**20)], "--every is too large"),
    (["export", "small", "--to", "csv", "--out", "."], "cannot write . (a folder)"),
    (["export", "small", "--to", "csv", "--out", "folder.yaml"], "folder.yaml (a folder)"),
    (["export", "small", "--to", "csv", "--out", ""], "--out is empty"),
    (["export", "small", "--to", "csv", "--out", "good.yaml/x.csv"], "cannot write good.yaml/x"),
    (["export", "small", "--to", "csv", "--out", "pipe.yaml"], "pipe.yaml (not a file)"),
    (["export", "small", "--to", "parquet", "--out", "zero.yaml"], "zero.yaml (not a file)"),
    (["export", "small", "--to", "csv", "--out", "x" * 10_000], "cannot write xxx"),
    (["export", "small", "--to", "tensorboard", "--out", "good.yaml"], "to the folder good.yaml"),
    (["figure", "RUN", "step"], "step says which row"),
    (["figure", "RUN", "run"], "run says which row"),
    (["figure", "RUN", "train_loss", "--out", "x.png"], "cannot be written in this format"),
    (["figure", "RUN", "train_loss", "--out", "."], "cannot write . (a folder)"),
    (["figure", "RUN", "train_loss", "--out", "good.yaml/x.svg"], "cannot write good.yaml/x"),
    (["generate", "RUN", "--samples", str(10**9), "--prompt", "1+1="], "--samples is too large"),
    (["generate", "RUN", "--tokens", str(10**12), "--prompt", "1+1="], "--tokens is too large"),
    (["note", "small", "\udcff"], "an argument is not UTF-8 text"),
    (["show", "x" * 10_000], "the store lab has no run"),
    (["serve", "--host", "☃" * 100], "cannot listen on ☃"),
    (["serve", "--host", "a..b"], "cannot listen on a..b"),
    (["serve", "--host", ""], "the host is empty"),
    (["serve", "--token", "☃"], "the token is not valid"),
    (["serve", "--token", "a\nb"], "the token is not valid"),
    (["serve", "--token", "a;b"], "the token is not valid"),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A folder with a trained store and files; the id of a run."""
    folder = tmp_path_factory.mktemp("breaking")
    trained = train(ASKED, folder / "lab")
    for name, content in FILES.items():
        (folder / name).write_text(content)
    (folder / "zero.yaml").symlink_to("/dev/zero")
    (folder / "folder.yaml").mkdir()
    os.mkfifo(folder / "pipe.yaml")
    run = trained.runs[0].run
    trained.store.close()
    return folder, run


@pytest.fixture
def inside(lab, monkeypatch):
    """The same, as the working directory; ends a command that hangs."""
    folder, run = lab
    monkeypatch.chdir(folder)
    monkeypatch.delenv("ABLAB_STORE", raising=False)

    def hang(*_):
        raise KeyboardInterrupt("it hangs")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(60)
    yield folder, run
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def content(folder):
    """All files, with digests of regular ones; without those that reading a store may touch."""
    return {
        path.relative_to(folder): path.is_symlink()
        or path.is_fifo()
        or (path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.rglob("*"))
        if not path.name.endswith(("-shm", "-wal"))
    }


def check(folder, arguments, message):
    before = content(folder)
    code, out, err = run_command(*arguments)
    assert message in err
    assert (code, out) == (2, "")
    assert err.lower().count("error:") == 1 and "Traceback" not in err
    assert len(err) < 4000 and max(map(len, err.splitlines())) < 2500
    assert content(folder) == before


def shown(value):
    words = value if isinstance(value, list) else [value]
    return " ".join(ascii(word)[1:30].removesuffix("'") for word in words)


@pytest.mark.parametrize(("arguments", "message"), RUN, ids=shown)
def test_run_says_what_is_wrong(inside, arguments, message):
    check(inside[0], ["run", *arguments], message)


@pytest.mark.parametrize(("arguments", "message"), STORED, ids=shown)
def test_commands_on_a_store_say_what_is_wrong(inside, arguments, message):
    folder, run = inside
    check(folder, [run if each == "RUN" else each for each in arguments], message)
