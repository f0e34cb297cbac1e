"""Every command that prints a table, in a terminal of 80 and of 120 columns."""

import itertools
import json
from types import SimpleNamespace

import pytest

from tests.cli.command import run_command

pytest.importorskip("pty", reason="there are no pseudo-terminals on this system")

from ablab.experiments import experiment
from tests.cli.terminal import in_terminal
from tests.store.makers import train

NAME = "an-experiment-with-a-rather-long-name"
CLAIM = (
    "a wider model, which has more parameters than a narrower one with everything else the same, "
    "ends at a lower loss – “at last”"
)
EXPERIMENT = f"""
name: {NAME}
question: Does an experiment with four axes, two of which have long labels, fit in 80 columns?
logbook: little
task: {{kind: addition, n_digits: 1}}
model: {{d_model: 4, n_heads: 1}}
train: {{steps: 6, batch_size: 8, evaluate: {{every: 3, samples: 16}}}}
watch: {{every: 3, statistics: ["grad/*/rms"]}}
grid:
  model.d_model: [4, 8]
  train.weight_decay: [0.0, 0.125]
  normalization:
    without any normalization at all: {{model.norm: none}}
    größer als – RMS: {{model.norm: rms}}
  train.lr: [0.001, 0.012345]
seeds: 2
expect:
  - claim: {CLAIM}
    figure: between 2 and 3 nats, says page 7 of the logbook
    measure: final(train_loss)
    falls_with: model.d_model
    confidence: 0.8125
  - claim: it ends below 100
    measure: final(train_loss)
    below: 100.0
"""
WIDTHS = pytest.mark.parametrize("columns", [80, 120])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the experiment's file and the store in which it was trained."""
    made = tmp_path_factory.mktemp("terminal")
    (made / "long.yaml").write_text(EXPERIMENT)
    train(experiment(made / "long.yaml").definition, made / "lab", engine="stack", compile="off")
    return made


@pytest.fixture
def commands(folder):
    """Runs a command in a terminal, and again for its JSON."""

    def run(columns, *arguments, store=True):
        arguments = (*arguments, *(["--store", str(folder / "lab")] if store else []))
        shown = in_terminal(columns, *arguments)
        assert shown.code == 0, shown.text
        assert shown.widest <= columns
        assert "…" not in shown.text.replace("…  ", "")
        code, out, err = run_command(*arguments, "--json", "--quiet")
        assert code == 0, err
        return shown, json.loads(out)

    return run


def whole(shown, value):
    """Whether a value is in one piece on a line."""
    return any(str(value) in line for line in shown.lines)


def in_words(shown, text):
    """Whether all words of a text are shown, each in one piece."""
    return all(whole(shown, word) for word in text.split())


@WIDTHS
def test_runs(commands, columns):
    shown, runs = commands(columns, "runs")
    assert len(runs) == 32
    for run in runs:
        (line,) = [line for line in shown.lines if run["run"] in line]
        cells = line.split()
        assert {str(run["seed"]), "finished", "6/6"} <= set(cells)
        assert f"{run['train_loss']:.5g}" in cells and f"{run['eval_loss']:.5g}" in cells
    for name in ("experiments", "variant", "seed", "status", "step", "train_loss", "seconds"):
        assert in_words(shown, name)
    assert in_words(shown, NAME)
    for part in ("normalization=größer als – RMS,", "train.weight_decay=0.125,"):
        assert in_words(shown, part)


@WIDTHS
def test_show(commands, columns):
    _, runs = commands(columns, "runs")
    shown, run = commands(columns, "show", runs[-1]["run"])
    for value in (run["run"], run["n_params"], f"{run['train_loss']:.6g}", NAME):
        assert whole(shown, value)
    assert in_words(shown, "normalization=größer als – RMS,")
    assert whole(shown, "train.lr = 0.012345")


@WIDTHS
def test_effects(commands, columns):
    shown, found = commands(columns, "effects", NAME)
    for each in [*found["factorial"], *found["marginal"]]:
        assert whole(shown, f"{each['difference']:.3g}")
        low, high = each["interval"]
        assert whole(shown, f"[{low:.3g}, {high:.3g}]")
        assert whole(shown, each["verdict"])
    for name in ("setting", "value", "vs", "difference", "interval", "adjusted", "verdict"):
        assert whole(shown, name)
    assert in_words(shown, "without any normalization at all")


@WIDTHS
def test_expect(commands, columns):
    shown, found = commands(columns, "expect", NAME)
    assert in_words(shown, "expectation verdict confidence evidence")
    assert in_words(shown, CLAIM)
    outcomes = [each["outcome"] for each in found["expectations"]]
    assert "held" in outcomes and all(whole(shown, outcome) for outcome in outcomes)
    assert whole(shown, 0.8125)


@WIDTHS
def test_claims(commands, folder, columns):
    shown, found = commands(columns, "claims", str(folder / "long.yaml"))
    assert in_words(shown, "recipe claim figure ours verdict corrected")
    assert in_words(shown, CLAIM) and in_words(shown, "between 2 and 3 nats, says page 7")
    (recipe,) = found["recipes"]
    outcomes = [claim["outcome"] for claim in recipe["claims"]]
    assert "held" in outcomes and all(whole(shown, outcome) for outcome in outcomes)


@WIDTHS
def test_plan(commands, folder, columns):
    shown, found = commands(
        columns, "plan", str(folder / "long.yaml"), "--workers", "1", "--compile", "off"
    )
    assert in_words(shown, "stack variant runs to train steps method time MiB why")
    for stack in found["stacks"]:
        assert in_words(shown, stack["method"])
    for width, norm in itertools.product(
        (4, 8), ("without any normalization at all", "größer als – RMS")
    ):
        rates = f"normalization={norm}, train.lr=0.001 or 0.012345"
        assert in_words(shown, f"model.d_model={width}, train.weight_decay=0 or 0.125, {rates} (4)")
    assert "0 of 32 runs to train" in shown.text


@WIDTHS
def test_read(commands, columns):
    shown, found = commands(columns, "read", NAME)
    for run in found["runs"]:
        assert whole(shown, f"({run['run']})")
        assert in_words(shown, run["sentence"])


@WIDTHS
def test_generate(commands, columns):
    _, runs = commands(columns, "runs")
    shown, found = commands(columns, "generate", runs[0]["run"], "--dataset", "held-out")
    assert in_words(shown, "prompt prediction target accuracy")
    for answer in found["answers"]:
        assert whole(shown, repr(answer["prompt"])) and whole(shown, repr(answer["prediction"]))


@WIDTHS
def test_figure_lists_all_names(commands, columns):
    _, runs = commands(columns, "runs")
    shown, found = commands(columns, "figure", runs[0]["run"])
    assert all(whole(shown, name) for name in found["statistics"])


@WIDTHS
@pytest.mark.parametrize("command", ["recipes", "analyses", "data"])
def test_lists(commands, columns, command):
    shown, found = commands(columns, command, store=False)
    for each in found:
        assert whole(shown, each["name"])
        assert in_words(shown, each.get("question", each.get("about", "")))


@WIDTHS
def test_analyze(folder, columns):
    arguments = ("analyze", NAME, "parameter_norms", "--workers", "1")
    shown = in_terminal(columns, *arguments, "--store", str(folder / "lab"))
    assert shown.code == 0 and shown.widest <= columns
    assert in_words(shown, "number untrained trained 95% interval")
    assert whole(shown, "blocks.0.attention.query.weight/spectral_norm")
    for norm in ("without any normalization at all", "größer als – RMS"):
        assert in_words(shown, norm)


@WIDTHS
def test_compare_two_runs(commands, columns, folder, monkeypatch):
    monkeypatch.chdir(folder)  # the path of the page, which stays in one piece, is short
    _, runs = commands(columns, "runs")
    first, second = (each["run"] for each in runs[:2])
    shown = in_terminal(columns, "compare", first, second)
    assert shown.code == 0 and shown.widest <= columns
    assert whole(shown, first) and whole(shown, second)


@WIDTHS
def test_new(columns, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = in_terminal(columns, "new", "an-experiment", "--task", "largest_number.py")
    assert shown.code == 0 and shown.widest <= columns
    assert whole(shown, "test_largest_number.py") and whole(shown, "an-experiment.yaml")


@WIDTHS
def test_run_ends_with_its_table(commands, folder, columns, monkeypatch):
    entry = SimpleNamespace(page="index.html")  # its figures have no room for such labels
    monkeypatch.setattr("ablab.api.write_entry", lambda store, record: entry)
    shown, found = commands(columns, "run", str(folder / "long.yaml"))
    assert in_words(shown, "parameters steps runs train_loss eval_loss eval_accuracy")
    for variant in found["variants"]:
        assert whole(shown, f"{variant['n_params']:,}")
        low, high = (f"{variant['train_loss'][end]:#.3g}" for end in ("min", "max"))
        assert low == high or whole(shown, f"[{low}, {high}]")


@WIDTHS
def test_check_and_help(commands, columns):
    shown, found = commands(columns, "check")
    assert "no problems found" in shown.text and found["problems"] == []
    shown = in_terminal(columns, "--help")
    assert shown.widest <= columns
    assert not any(line.endswith("...") for line in shown.lines[1:])
    assert "train nothing." in shown.text
