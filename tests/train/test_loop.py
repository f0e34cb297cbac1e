"""What the loop hands to its checkpointer."""

import torch

from ablab.train.loop import Checkpointer, train
from ablab.train.method import SOLO, STACK
from ablab.train.stack import Stack
from ablab.train.stopping import StopRule
from tests.helpers import BIGRAM, make_run
from tests.train.my_tasks import FiniteConfig

CPU = torch.device("cpu")


class SavedState(Checkpointer):
    """Keeps rows in memory, and the last checkpoint."""

    def __init__(self):
        self.rows, self.checkpoints = {}, []

    def save(self, checkpoint, stack):
        self.rows |= {(row["run"], row["step"]): row for row in checkpoint.rows}
        self.checkpoints.append(checkpoint)

    def progress(self, step, runs, loss):
        pass


def kept(runs, method=STACK):
    checkpointer = SavedState()
    assert train(Stack(runs, None, CPU, method), checkpointer, {}, lambda: False)
    return checkpointer


def test_every_set_is_evaluated_under_its_name():
    run = make_run(task=FiniteConfig(n_digits=2), model=BIGRAM, steps=4)
    rows = kept([run], SOLO).rows
    last = rows["run0", 4]
    assert last["eval_loss/longer"] > 0
    assert last["eval_accuracy/longer"] <= 1
    assert last["eval_loss/longer"] != last["eval_loss"]
    assert "eval_loss/longer" not in rows["run0", 3]
    alone = Stack([run], None, CPU, SOLO)
    alone.advance(4)
    assert alone.evaluate(alone.task.held_out(32))["loss"][0] == last["eval_loss"]


def test_the_end_of_a_rung_decides_nothing_for_a_stop_rule():
    rule = {"measure": "eval_loss", "patience": 2, "min_delta": 100.0}
    run = make_run(model=BIGRAM, steps=100, stop=rule, evaluate={"every": 10, "samples": 16})
    ends = []
    for rung in (None, 25):
        saved = SavedState()
        train(Stack([run], None, CPU, SOLO), saved, {run.id: StopRule(run.train.stop)},
              lambda: False, until=rung)  # fmt: skip
        ends.append([each.step for each in saved.checkpoints if each.stopped])
    assert ends == [[30], []]  # after step 25, steps 10 and 20 were looked at
