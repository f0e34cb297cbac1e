"""The code of the tutorial and of the how-to pages, run as written."""

import re
import runpy
import shlex
from pathlib import Path

import polars as pl
import pytest
import torch

import ablab
from ablab.store.store import Store
from tests.cli.command import run_command

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = sorted(path.name for path in (DOCS / "howto").glob("*.md") if path.name != "index.md")
_LINES = 40  # of code on a page, at the most


def blocks(text: str) -> list[tuple[str, str]]:
    """The language and the text of each block of code of a page."""
    return re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)


class Typed:
    """A page whose files were saved and whose commands were typed, in order, in a folder.

    Attributes:
        said: The output of each command and of each block of Python.
    """

    def __init__(self, page: Path, changes: dict[str, str]) -> None:
        text = page.read_text(encoding="utf-8")
        for given, other in changes.items():
            assert given in text
            text = text.replace(given, other)
        names = iter(re.findall(r"Save (?:this|it) as `([^`]+)`", text))
        self.said: list[str] = []
        for language, code in blocks(text):
            if language == "yaml":
                Path(next(names)).write_text(code, encoding="utf-8")
            elif language == "sh":
                for line in code.splitlines():
                    self._type(line)
            elif language == "python":
                self._run(code, next(names, None) or f"block{len(self.said)}.py")

    def _type(self, line: str) -> None:
        line, _, file = line.partition(" > ")
        _, *arguments = [_run_id(each) for each in shlex.split(line, comments=True)]
        code, out, err = run_command(*arguments)
        assert code == 0, f"{arguments}: {out} {err}"
        if file:
            Path(file).write_text(out, encoding="utf-8")
        self.said.append(out)

    def _run(self, code: str, name: str) -> None:
        from contextlib import redirect_stdout
        from io import StringIO

        Path(name).write_text(code, encoding="utf-8")
        with redirect_stdout(StringIO()) as out:
            runpy.run_path(name, run_name="__main__")
        self.said.append(out.getvalue())


def _run_id(argument: str) -> str:
    """A run of the store in place of the word that stands for one."""
    return ablab.open("lab").runs()[0].run if argument == "RUN" else argument


@pytest.fixture
def typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABLAB_STORE", "lab")
    return lambda page, **changes: Typed(DOCS / page, changes.get("changes", {}))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_few_lines_of_code(page):
    text = (DOCS / "howto" / page).read_text(encoding="utf-8")
    assert sum(len(code.splitlines()) for _, code in blocks(text)) <= _LINES


def test_each_page_is_in_the_list_of_pages():
    listed = re.findall(r"^(\w+)$", (DOCS / "howto" / "index.md").read_text(), re.MULTILINE)
    assert sorted(f"{name}.md" for name in listed) == PAGES


def test_sweeps(typed):
    said = typed("howto/sweeps.md").said
    assert "train.lr (8: 0.0001 to 0.1) × [model.d_model (2) + model.d_mlp (2)" in said[0]
    assert "final(eval_loss) is lowest at train.lr=" in said[2]
    assert ", of 8 values from 0.0001 to 0.1" in said[2]
    assert "train.lr " in said[-1]
    assert "train.weight_decay " in said[-1]
    store = Store("lab")
    runs = store.runs(store.experiment("sweep"))
    rows = {run.run: store.run_row(run.run) for run in runs}
    new = [run.run for run in runs if run.variant["train.lr"] == 0.3]
    assert (len(runs), len(new)) == (36, 4)  # 9 rates, 2 widths, 2 seeds
    first = min(rows[run]["created"] for run in new)
    assert all(row["updated"] <= first for run, row in rows.items() if run not in new)


def test_settle(typed):
    said = typed("howto/settle.md").said
    assert "of 2 questions settled" in " ".join(said[1].split())
    assert "settled at " in " ".join(said[2].split())
    store = Store("lab")
    fixed, settled = store.experiments()
    assert {run.run for run in store.runs(fixed)} < {run.run for run in store.runs(settled)}
    runs = [(run.variant["model.d_model"], run.seed) for run in store.runs(settled)]
    seeds = {width: {seed for each, seed in runs if each == width} for width in (4, 16, 20)}
    assert len(seeds[4]) < len(seeds[16]) <= 12
    assert all(each == set(range(len(each))) for each in seeds.values())


def test_tune(typed):
    said = typed("howto/tune.md").said
    assert "before, optimizers.tuning: at most 32 runs to train" in " ".join(said[0].split())
    assert "Tuning took 1,280 run-steps" in " ".join(said[1].split())  # 2 × 8 × 2 runs of 40 steps
    store = Store("lab")
    trials = store.runs(store.experiment("optimizers.tuning"))
    assert len(trials) == 64
    rates = {run.variant["train.lr"] for run in trials}
    assert len(rates) == 16  # the same for both optimizers
    reported = store.runs(store.experiment("optimizers"))
    assert {run.seed for run in reported} == {0, 1, 2}
    assert {run.seed for run in trials} == {1_000_000_000, 1_000_000_001}
    assert said[-1].count("train.optimizer") == 2


def test_claims(typed):
    said = [" ".join(each.split()) for each in typed("howto/claims.md").said]
    assert "not run" in said[0].partition("16 beats 8")[2]
    assert "at the size full: about" in said[1]
    assert "ablab run wider.yaml size=full --where" in said[1]
    store = Store("lab")
    quick, full = (
        next(each for each in store.experiments() if each.definition["size"] == size)
        for size in ("quick", "full")
    )
    assert {run.status for run in store.runs(quick)} == {"finished"}
    assert {(run.variant["model.d_model"], run.status) for run in store.runs(full)} == {
        (8, "finished"),
        (16, "finished"),
        (4, "interrupted"),  # the seeds of the small size, which have fewer steps
        (4, "planned"),
    }
    assert "not run" not in said[3].partition("16 beats 8")[2]


def test_halving(typed):
    said = [" ".join(each.split()) for each in typed("howto/halving.md").said]
    # 12 runs to step 20, 6 of them to 40, 2 of them to 80, of 12 runs of 80 steps.
    assert "at most 960 run-steps" in said[0]
    assert f"at least {12 * 20 + 6 * 20 + 2 * 40}" in said[0]
    assert "of 6 variants" in said[1]
    assert "goes on" in said[1]
    assert "The full grid has " in said[3]
    halved, full = (next(each for each in Store("lab").experiments() if has(each)) for has in (
        lambda each: "halving" in each.definition, lambda each: "halving" not in each.definition,
    ))  # fmt: skip
    store = Store("lab")
    assert {run.run for run in store.runs(halved)} == {run.run for run in store.runs(full)}
    assert {run.status for run in store.runs(full)} == {"finished"}
    assert {run.status for run in store.runs(halved)} == {"finished", "stopped"}


def test_resume(typed):
    said = typed("howto/resume.md").said
    assert "100/100" in said[1]
    assert said[3] == "finished 200\n"
    assert [each.step for each in ablab.open("lab").runs()] == [200, 200]


def test_watch(typed):
    said = typed("howto/watch.md").said
    assert "grad/embedding.weight/rms" in said[1]
    assert "activation/blocks.0.attn.pattern" in said[2]
    assert "<svg" in Path("gradients.svg").read_text()
    largest, shape = said[-1].splitlines()
    assert largest.startswith("grad/")
    assert shape == "torch.Size([8, 2, 6, 6])"  # 12+34=: six tokens


def test_replay(typed):
    said = typed("howto/replay.md").said
    assert "losses: all 50 are equal to the stored ones, bit for bit" in said[2]
    assert "added: 1 statistic at 50 steps" in said[2]
    run = ablab.open("lab").run(ablab.open("lab").runs()[0].run)
    assert "grad/embedding.weight/max_abs" in run.metrics().columns
    first = said[3].splitlines()[0]
    assert first == "run,seed,step,activation/blocks.0.attn.pattern/mean_entropy"
    assert len(said[3].splitlines()) == 1 + 50


def test_probe(typed):
    said = typed("howto/probe.md").said
    assert "positions_per_neuron" in said[2]
    assert Path("positions.svg").is_file()
    assert "tensor(" in said[-1]


def test_export(typed):
    said = typed("howto/export.md").said
    assert Path("metrics.csv").read_text().count("\n") == 1 + 2 * 51  # steps 0 to 50 of two runs
    assert Path("measures.csv").read_text().count("\n") == 1 + 2
    assert "shape: (2, 3)" in said[-1]


def test_send(typed):
    said = typed("howto/send.md").said
    assert said[2].startswith("2 runs added\n")
    assert said[3].count("finished") == 2


SHORT = {
    "steps: 300": "steps: 60",
    "every: 50": "every: 20",
    "ablab doctor positions.yaml": "ablab doctor positions.yaml --check causality",
}


def _weight_of_source(run: str) -> torch.Tensor:
    """The mean weight with which each head of the first block looks at the next symbol's source."""
    symbols = torch.randint(6, (64, 6), generator=torch.Generator().manual_seed(0))
    tokens = torch.cat([symbols, torch.full((64, 1), 6), symbols.roll(1, dims=1)[:, :5]], dim=1)
    model = ablab.open("lab").run(run).model()
    _, seen = ablab.watch(model, tokens, ["blocks.*.attn.pattern"])
    pattern = torch.cat(list(seen.values()), dim=1).mean(dim=0)  # heads, queries, keys
    return torch.stack([pattern[:, 7 + n, n] for n in range(5)]).mean(dim=0).detach()


def _check_what_the_tutorial_says() -> None:
    """What it says of the runs without positions, and of where heads look."""
    last = ablab.open("lab").metrics("positions", ["eval_accuracy"]).filter(step=300)
    right = {name: frame["eval_accuracy"] for (name,), frame in last.group_by("model.position")}
    assert right["none"].median() == pytest.approx(0.81, abs=0.01)
    assert min(right["learned"].min(), right["rope"].min()) > 0.999
    assert (_weight_of_source("fdc678cd") > 0.8).sum() == 2
    without = last.filter(pl.col("model.position") == "none")["run"]
    assert max(float(_weight_of_source(run).max()) for run in without) < 0.5


@pytest.mark.parametrize(
    "changes", [SHORT, pytest.param({}, marks=pytest.mark.slow)], ids=["short", "as written"]
)
def test_the_tutorial(typed, changes):
    said = typed("tutorial.md", changes=changes).said
    plan, table = said[0], said[2]
    assert "9 of 9 runs to train" in plan
    assert "model.position          learned" in table
    assert "0 of 3 vs 3 of 3 runs" in said[5] or changes
    assert "held" in said[6]
    assert "previous_token_max" in said[7]
    assert Path("patterns.svg").is_file()
    assert "losses: all 40 are equal to the stored ones, bit for bit" in said[9]
    assert "added: 2 statistics at 40 steps" in said[9]  # of attention in two blocks
    lines = Path("entropy.csv").read_text().splitlines()
    assert len(lines) == 1 + 40
    assert lines[0].split(",")[:4] == ["run", "model.position", "seed", "step"]
    assert lines[0].split(",")[4:] == [
        f"activation/blocks.{n}.attn.pattern/mean_entropy" for n in range(2)
    ]
    assert len(ablab.open("lab").runs()) == 18
    (entry,) = Path("lab/logbook").glob("*-positions")
    assert "attention stays spread out" in (entry / "entry.md").read_text()
    (next_entry,) = Path("lab/logbook").glob("*-positions-2")
    assert "attention stays spread out" not in (next_entry / "entry.md").read_text()
    if not changes:
        _check_what_the_tutorial_says()
