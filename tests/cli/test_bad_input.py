"""Forty and more bad inputs: each a clear error, exit code 2, no traceback, nothing written."""

import pytest

from tests.cli.command import run_command

FILES = {
    "good.yaml": "task: {kind: addition}\ntrain: {steps: 5}\n",
    "broken.yaml": "task: {kind: addition\nmodel: [",
    "twice.yaml": "seeds: 1\nseeds: 2\ntask: {kind: addition}\n",
    "list.yaml": "- a\n- b\n",
    "empty.yaml": "",
    "no_task.yaml": "model: {d_model: 8}\n",
    "typo.yaml": "task: {kind: addition}\nmodel:\n  n_head: 4\n",
    "top.yaml": "task: {kind: addition}\nsteps: 4\n",
    "empty_axis.yaml": "task: {kind: addition}\ngrid:\n  model.d_model: []\n",
    "no_list.yaml": "task: {kind: addition}\ngrid:\n  model.d_model: 8\n",
    "seed_axis.yaml": "task: {kind: addition}\ngrid:\n  seeds: [1, 2]\n",
    "bad_axis.yaml": "task: {kind: addition}\ngrid:\n  modl.d_model: [1, 2]\n",
    "bundle.yaml": "task: {kind: addition}\ngrid:\n  rung: {a: 3}\n",
    "bad_name.yaml": "name: ../../etc\ntask: {kind: addition}\n",
    "tag.yaml": "task: !!python/object:os.system {kind: addition}\n",
    "huge.yaml": "task: {kind: addition}\ntrain: {steps: " + "9" * 5000 + "}\n",
    "laughs.yaml": "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\n"
    "c: &c [*b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c]\n"
    "e: &e [*d, *d, *d, *d, *d, *d, *d]\nf: [*e, *e, *e, *e, *e, *e, *e]\n",
    "many.yaml": "task: {kind: addition, n_digit: 2}\nmodel: {nheads: 2}\nseed: 3\n",
    "tuned.yaml": "task: {kind: addition}\ntuned: {by: x, cells: []}\n",
    "sized.yaml": "task: {kind: addition}\nsizes: {quick: {}, full: {set: {train.steps: 9}}}\n",
    "short.txt": "to be or not to be",
    "binary.yaml": b"\xff\xfe\x00",
}

# Arguments of `ablab run`, what the message says, and what it suggests.
RUN = [
    (["addition", "watch.statistics=[grad/*/rsm]"], "no reducer 'rsm'", "did you mean rms?"),
    (["addition", "watch.statistics=[grad/nothing/rms]"], "matches no statistic", None),
    (["addition", "watch.statistic=all"], "watch.statistic is not a setting", "statistics?"),
    (["addition", "watch.every=logs"], "watch.every", None),
    (["addition", "watch.captures={what: blocks.9.attn.z}"], "matches no tensor", None),
    (
        ["addition", "watch.captures={what: '*', steps: 1}", "watch.capture_limit=0.001"],
        "the captures exceed the limit",
        None,
    ),
    (["nothing"], "no recipe and no file called 'nothing'", None),
    (["adition"], "no recipe", "did you mean addition?"),
    (["missing.yaml"], "cannot read missing.yaml", None),
    (["broken.yaml"], "not valid YAML", None),
    (["twice.yaml"], "not valid YAML: found duplicate key", None),
    (["list.yaml"], "an experiment is a mapping", None),
    (["empty.yaml"], "an experiment is a mapping", None),
    (["binary.yaml"], "not UTF-8", None),
    (["no_task.yaml"], "task.kind is missing", None),
    (["typo.yaml"], "in        typo.yaml, line 3", "did you mean model.n_heads?"),
    (["top.yaml"], "steps is not a setting", "did you mean train.steps?"),
    (["empty_axis.yaml"], "the axis model.d_model is empty", None),
    (["no_list.yaml"], "the axis model.d_model is not a list", None),
    (["seed_axis.yaml"], "seeds cannot be an axis", None),
    (["bad_axis.yaml"], "modl.d_model is not a setting", "did you mean model.d_model?"),
    (["bundle.yaml"], "the bundle 'a' of the axis rung is not a mapping", None),
    (["tag.yaml"], "YAML tags are not allowed", None),
    (["huge.yaml"], "not valid YAML: Exceeds the limit", None),
    (["laughs.yaml"], "more than 100000 values", None),
    (["many.yaml"], "task.n_digit is not a setting", "did you mean model.n_heads?"),
    (["many.yaml"], "seed is not a setting", "did you mean seeds?"),
    (["x" * 300], "no recipe and no file", None),
    (["good.yaml", "model=null"], "model is not a mapping", None),
    (["good.yaml", "train.steps=99999999999999999999"], "less than or equal to", None),
    (["good.yaml", "seeds=3000000000"], "seeds has a wrong value", None),
    (["good.yaml", "--device", "mps"], "no mps device", None),
    (["bad_name.yaml"], "the name is not valid", None),
    (["good.yaml", "model.n_head=4"], "model.n_head is not a setting", "model.n_heads?"),
    (["good.yaml", "lr=0.1"], "lr is not a setting", "did you mean train.lr?"),
    (["good.yaml", "model.d_model=6", "model.n_heads=4"], "6 is not divisible by n_heads 4", None),
    (["good.yaml", "model.d_model=0"], "greater than or equal to 1", None),
    (["good.yaml", "model.d_model=wide"], "model.d_model has a wrong value", None),
    (["good.yaml", "task.target=4"], "target digit 4 does not exist", None),
    (["good.yaml", "task.target=first"], "expected last, next_to_last, all", None),
    (["good.yaml", "task.base=37"], "less than or equal to 36", None),
    (["good.yaml", "task.kind=adition"], "no task called", "did you mean addition?"),
    (["good.yaml", "task.kind=nowhere:Task"], "cannot import 'nowhere'", None),
    (["good.yaml", "task.kind=math:sqrt"], "math:sqrt is not a task", None),
    (["good.yaml", "task={kind: text, corpus: short.txt}"], "seq_len 64 is longer than", None),
    (["good.yaml", "task={kind: text, corpus: gone.txt}"], "no file called 'gone.txt'", None),
    (["good.yaml", "train.optimizer=adamww"], "unknown value", "did you mean adamw?"),
    (
        ["good.yaml", "train.momentum=0.9"],
        "momentum is a setting of muon and sgd, not of adamw",
        None,
    ),
    (["good.yaml", "train.lr=nan"], "a finite number", None),
    (["good.yaml", "train.betas=[0.9,1.5]"], "both betas", None),
    (["good.yaml", "train.stop={measure: eval_loss}"], "give below, patience or both", None),
    (["good.yaml", "train.schedule={kind: cosine, warmup: 9}"], "must end before", None),
    (["good.yaml", "train.steps=5,10"], "two cells of the grid are the same run", None),
    (["good.yaml", "seeds=0,1"], "seeds cannot be an axis", None),
    (["good.yaml", "seeds=[1,1]"], "seed 1 is repeated", None),
    (["good.yaml", "seeds=0"], "seeds has a wrong value", None),
    (["good.yaml", "seeds=[-1]"], "-1 is not a seed", None),
    (["good.yaml", "+x=1"], "unsupported override", None),
    (["good.yaml", "train.lr=[1"], "cannot parse the override", None),
    (["good.yaml", "train.lr=1", "train.lr=2"], "train.lr is overridden twice", None),
    (["good.yaml", "model.d_model=8,8"], "has 8 twice", None),
    (["good.yaml", "--engine", "stak"], "no engine 'stak'", "did you mean stack?"),
    (["good.yaml", "--workers", "0"], "workers has a wrong value", None),
    (["good.yaml", "--workers", "two"], "'two' is not a valid integer", None),
    (["good.yaml", "--device", "tpu"], "no device 'tpu'", None),
    (["good.yaml", "--address", "here:1"], "address is that of a cluster", None),
    (["sized.yaml", "size=quick,full"], "there is no size", None),
    (["sized.yaml", "size=[quick]"], "there is no size", None),
    (["tuned.yaml"], "tuned is what tune found", None),
    (["good.yaml", "--compile", "of"], "there is no compile 'of'", "off"),
    (["good.yaml", "--stoer", "x"], "No such option", "--store"),
    (["good.yaml", "--store", "good.yaml"], "the store is not a folder", None),
    (["good.yaml", "--store", "."], "this folder is not a store", None),
]

# Other commands, each on a folder without a store.
OTHER = [
    (["runn"], "no command 'runn'", "did you mean run?"),
    (["run"], "Missing argument 'EXPERIMENT'", None),
    (["runs"], "there is no store here yet", None),
    (["metrics", "addition"], "there is no store here yet", None),
    (["show", "abc"], "there is no store here yet", None),
    (["check"], "there is no store here yet", None),
    (["data", "path", "shakespeare"], "no corpus", "did you mean tinyshakespeare?"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, content in FILES.items():
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ABLAB_STORE", raising=False)
    return tmp_path


@pytest.mark.parametrize(("arguments", "message", "suggestion"), RUN, ids=lambda v: str(v))
def test_run_says_what_is_wrong(folder, arguments, message, suggestion):
    code, out, err = run_command("run", *arguments)
    assert message in err
    assert suggestion is None or suggestion in err
    assert "Traceback" not in err
    assert (code, out) == (2, "")
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


@pytest.mark.parametrize(("arguments", "message", "suggestion"), OTHER, ids=lambda v: str(v))
def test_other_commands_say_what_is_wrong(folder, arguments, message, suggestion):
    code, out, err = run_command(*arguments)
    assert message in err
    assert suggestion is None or suggestion in err
    assert (code, out) == (2, "")
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
