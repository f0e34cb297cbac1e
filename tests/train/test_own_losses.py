"""Losses and schedules of a user's own: their values, stacks and ids."""

from pathlib import Path

import numpy as np
import pytest
import torch

import ablab
from ablab.tasks.config import IGNORED
from ablab.train.config import TrainConfig
from ablab.train.loss_config import LossConfig
from ablab.train.losses import batch_loss, own_loss
from ablab.train.method import SOLO, STACK, Method
from ablab.train.schedule_config import LINES, ScheduleConfig
from ablab.train.schedules import factors
from ablab.train.stack import Stack
from tests.helpers import make_run

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
MINE = "tests.train.my_losses:"
INNERMOST = Method("stack", True, "innermost", "plain", rows=1)


def trained(method, count=2, **settings):
    runs = [make_run(seed, precision="float64", **settings) for seed in range(count)]
    stack = Stack(runs, None, CPU, method)
    return stack.advance(5).losses[:, 0]


@pytest.mark.parametrize("name", ["by_token", "by_sample"])
def test_cross_entropy_of_a_users_trains_as_ablabs(name):
    expected = trained(STACK)
    np.testing.assert_allclose(trained(STACK, loss=MINE + name), expected, rtol=1e-9)
    np.testing.assert_allclose(trained(SOLO, 1, loss=MINE + name), expected, rtol=1e-9)


@pytest.mark.compiled
def test_it_is_compiled_in_the_innermost_layout():
    expected = trained(SOLO, 1)
    np.testing.assert_allclose(trained(INNERMOST, loss=MINE + "flat"), expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["by_token", "by_sample"])
def test_what_it_gives_where_nothing_is_predicted_is_left_out(name):
    logits = torch.randn(3, 2, 5, dtype=torch.float64)
    targets = torch.tensor([[1, IGNORED], [IGNORED, IGNORED], [0, 4]])
    config = LossConfig(kind=MINE + name)
    found = batch_loss(logits, targets, config, torch.float64, True, own_loss(config))
    nll = -logits.log_softmax(-1)
    # torch's loss of an ignored target is 0, so the mean over both positions halves the first.
    first = nll[0, 0, 1] / (2 if name == "by_sample" else 1)
    expected = (first + (nll[2, 0, 0] + nll[2, 1, 4]) / 2) / 3
    torch.testing.assert_close(found, expected)


def test_it_can_look_at_the_input():
    run = make_run(loss=MINE + "of_zeros", precision="float64")
    stack = Stack([run], None, CPU, SOLO)
    batch = stack.task.held_out(32)
    found = stack.evaluate(batch)
    own = batch.tokens[:, 0] == 0
    assert 0 < own.sum() < len(own)
    chosen = type(batch)(batch.tokens[own], batch.targets[own])
    expected = stack.evaluate(chosen)["cross_entropy"] * own.mean()
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-9)


def test_a_line_is_ablabs():
    own = factors(ScheduleConfig(kind=MINE + "line", warmup=2), 10, 1, 10)
    assert own[:2].tolist() == [0.5, 1.0]
    np.testing.assert_allclose(own[2:], [0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0], atol=1e-12)


@pytest.mark.parametrize(
    "source", ["def part(step, warm=3, total=100)", "def part(step, *, total)"]
)
def test_the_total_is_given_by_name(folder, source):
    folder.write(mine=f"{source}: return total")
    assert factors(ScheduleConfig(kind="mine:part"), 10, 1, 2).tolist() == [10.0, 10.0]


@pytest.mark.parametrize(
    ("setting", "source", "message"),
    [
        ("schedule", "def part(total, step): return 1.0", "multiple values for argument 'total'"),
        ("loss", "def part(tokens, logits, targets): ...", "multiple values for argument 'tokens'"),
    ],
)
def test_arguments_in_another_order_are_an_error(folder, setting, source, message):
    folder.write(mine=source)
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{setting: "mine:part"})


def test_the_schedules_of_the_page_and_of_errors_go_beyond_their_total(folder):
    page = ROOT / "docs/howto/own_schedule.md"
    folder.write(
        mine=page.read_text().split("# rates.py\n")[1].split("```")[0], lines="\n".join(LINES)
    )
    for kind in ("mine:one_cycle", "lines:my_schedule"):
        assert factors(ScheduleConfig(kind=kind), 10, 10, 5).tolist() == [0.0] * 5


def test_the_total_is_in_the_id_where_a_schedule_depends_on_it():
    halves = ScheduleConfig(kind=MINE + "halves").identity()
    assert set(halves) == {"kind", "kind_source", "warmup"}
    line = TrainConfig(schedule=MINE + "line", steps=30).identity()["schedule"]
    assert line["total"] == 30
    assert len(line["kind_source"]) == 64


def test_runs_of_a_stack_have_schedules_of_their_own():
    runs = [make_run(0, schedule=MINE + "halves"), make_run(1)]
    assert runs[0].stack_key == runs[1].stack_key
    lrs = Stack(runs, None, CPU, STACK).advance(7).lrs
    np.testing.assert_allclose(lrs[:, 0], 1e-3 * np.array([1, 1, 1, 0.5, 0.5, 0.5, 0.25]))
    np.testing.assert_allclose(lrs[:, 1], 1e-3)


@pytest.mark.parametrize(
    ("setting", "source"),
    [
        ("loss", "def part(logits, targets): return logits.mean(2) - 1.0"),
        ("schedule", "def part(step): return 1 / step - 1.0 + 1.0"),
    ],
)
def test_edited_code_gives_another_id(folder, setting, source):
    asked = {"name": "x", "task": {"kind": "addition"}, "train": {setting: "mine:part"}}
    ids = set()
    for text in (source, source.replace("1.0", "2.0"), "# a comment\n" + source):
        folder.write(mine=text)
        ids.add(ablab.experiment(asked).runs[0].id)
    assert len(ids) == 2


def test_a_replay_uses_the_code_that_trained_the_run(folder):
    source = (
        "from torch.nn import functional as F\n"
        "def loss(logits, targets): return SCALE * F.cross_entropy(\n"
        "    logits.transpose(1, 2), targets, reduction='none')\n"
        "def rate(step): return 1.0 / step\n"
        "def seen(run): run.record('step', run.step)\n"
    )
    folder.write(mine=source.replace("SCALE", "1.0"))
    asked = {
        "name": "replayed",
        "task": {"kind": "addition", "n_digits": 1},
        "model": {"n_layers": 1, "d_model": 8, "n_heads": 2},
        "train": {
            "steps": 6, "batch_size": 8, "loss": "mine:loss", "schedule": "mine:rate",
            "callbacks": ["mine:seen"], "snapshots": {"every": 2},
        },
    }  # fmt: skip
    result = ablab.run(asked, store="lab")
    run = ablab.open("lab").run(result.runs[0].run)
    edited = source.replace("SCALE", "2.0").replace("1.0 / step", "1.0")
    folder.write(mine=edited.replace("seen(run)", "seen(run, another_argument)"))
    report = ablab.open("lab").replay(run.id, watch=["grad/*/rms"])
    assert report.equal == report.compared == 6
    (folder.path / "mine.py").unlink()
    folder.forget()
    assert ablab.open("lab").replay(run.id, watch=["param/*/rms"]).equal == 6
    tokens = torch.zeros(1, run.task().config.input_length, dtype=torch.long)
    assert run.model(6)(tokens).isfinite().all()
    folder.write(mine=edited)
    changed = ablab.run(asked, store="lab")
    assert changed.trained == 1
    losses = changed.metrics()["train_loss"].drop_nulls()
    assert losses[0] == pytest.approx(2 * result.metrics()["train_loss"].drop_nulls()[0], rel=1e-6)


def test_a_loss_may_be_below_zero(tmp_path):
    asked = ablab.experiment(
        {
            "name": "negative",
            "task": {"kind": "addition", "n_digits": 1},
            "model": {"n_layers": 1, "d_model": 8, "n_heads": 2},
            "train": {"steps": 4, "batch_size": 8, "loss": MINE + "below_zero"},
            "grid": {"train.lr": [1e-3, 1e-2]},
            "seeds": 3,
        }
    )
    ablab.run(asked, store=tmp_path / "lab")
    found = ablab.open(tmp_path / "lab").effects("negative", measure="final(eval_loss)")
    assert all(cell.mean < 0 for cell in found.cells)
