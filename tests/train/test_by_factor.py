"""Held-out loss and accuracy by factor."""

import numpy as np
import pytest
import torch

from ablab.tasks.addition_config import AdditionConfig
from ablab.tasks.base import Batch
from ablab.tasks.recall_config import RecallConfig
from ablab.tasks.sequences_config import CopyConfig
from ablab.train.by_factor import Group, make_groups, means_by_group
from ablab.train.method import SOLO, STACK
from ablab.train.stack import Stack
from tests.helpers import TEXT, make_run
from tests.train.my_tasks import ParityConfig, RaggedConfig
from tests.train.test_loop import kept

CPU = torch.device("cpu")
RAGGED = CopyConfig(n_symbols=4, length=5, min_length=2)


def groups_of(stack, batch, chosen="all"):
    return make_groups(stack.task, chosen, batch)


def test_means_over_groups_by_hand():
    # Two runs, two samples, two tokens each.
    losses = np.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, np.inf]]])
    groups = [
        Group("/f.a", np.array([0, 3]), np.array([0.25, 0.75])),
        Group("/f.b", np.array([1, 2]), np.array([0.5, 0.5])),
    ]
    found = means_by_group(groups, {"loss": losses})
    assert found["loss/f.a"].tolist() == [0.25 * 1 + 0.75 * 4, np.inf]
    assert found["loss/f.b"].tolist() == [2.5, 6.5]


def test_weights_of_tokens_of_samples_of_several_lengths():
    class Two:
        config = type("Config", (), {"factors": {"f": ("a", "b", "c")}})

        def factors(self, batch):
            return {"f": np.array([[0, 1, 1], [0, -1, 2]])}

    targets = np.array([[5, 5, 5], [5, 5, -100]])
    groups = make_groups(Two(), "all", Batch(targets, targets))
    # A token of the first sample counts 1/3, of the second 1/2; the last has no target.
    assert [group.suffix for group in groups] == ["/f.a", "/f.b"]
    assert [group.tokens.tolist() for group in groups] == [[0, 3], [1, 2]]
    np.testing.assert_allclose(groups[0].weights, [2 / 5, 3 / 5])
    np.testing.assert_allclose(groups[1].weights, [1 / 2, 1 / 2])


@pytest.mark.parametrize("loss", ["cross_entropy", {"kind": "mse"}], ids=["entropy", "mse"])
@pytest.mark.parametrize(
    ("task", "factor"),
    [(RAGGED, "end"), (RecallConfig(n_pairs=4, n_queries=3, n_keys=8, n_values=8), "distance"),
     (TEXT, "word"), (ParityConfig(n_digits=2), "parity")],
    ids=["ragged", "recall", "text", "own"],
)  # fmt: skip
def test_the_weighted_mean_over_values_is_the_loss(task, factor, loss):
    runs = [make_run(seed, task=task, loss=loss) for seed in (0, 1)]
    stack = Stack(runs, None, CPU, STACK)
    batch = stack.task.held_out(100)
    groups = groups_of(stack, batch)
    found = stack.evaluate(batch, chunk=32, groups=groups)
    known = batch.targets != -100
    weights = (known / known.sum(-1, keepdims=True)).ravel() / len(batch.targets)
    mine = [group for group in groups if group.suffix.startswith(f"/{factor}.")]
    assert len(mine) > 1
    for measure in ("loss", "accuracy"):
        total = sum(weights[each.tokens].sum() * found[measure + each.suffix] for each in mine)
        np.testing.assert_allclose(total, found[measure], rtol=2e-6)


@pytest.mark.parametrize("task", [RAGGED, AdditionConfig(n_digits=2, target="all")])
def test_in_a_stack_as_alone(task):
    runs = [make_run(seed, task=task, lr=0.01 * (seed + 1)) for seed in (0, 1)]
    together = Stack(runs, None, CPU, STACK)
    together.advance(3)
    batch = together.task.held_out(64)
    groups = groups_of(together, batch)
    found = together.evaluate(batch, groups=groups)
    for place, run in enumerate(runs):
        alone = Stack([run], None, CPU, SOLO)
        alone.advance(3)
        single = alone.evaluate(batch, chunk=20, groups=groups)
        assert list(single) == list(found)
        for name, value in single.items():
            np.testing.assert_allclose(found[name][place], value[0], rtol=1e-4, err_msg=name)


def test_the_loss_by_factor_is_that_of_these_samples_alone():
    run = make_run(task=ParityConfig(n_digits=2))
    stack = Stack([run], None, CPU, SOLO)
    batch = stack.task.held_out(64)
    found = stack.evaluate(batch, groups=groups_of(stack, batch))
    odd = batch.tokens[:, 0] % 2 == 1
    part = stack.evaluate(Batch(batch.tokens[odd], batch.targets[odd]))
    np.testing.assert_allclose(found["loss/parity.odd"], part["loss"], rtol=1e-6)
    np.testing.assert_allclose(found["accuracy/parity.odd"], part["accuracy"], rtol=1e-6)


def test_other_columns_do_not_change():
    task = AdditionConfig(n_digits=2, target="all")
    rows = [
        kept([make_run(task=task, steps=4, evaluate={"every": 2, "factors": factors})], SOLO).rows
        for factors in ("all", "none", ("cascade",))
    ]
    whole, without, some = (each["run0", 4] for each in rows)
    assert whole == whole | without
    assert {name for name in whole.keys() - without.keys() if "loss" in name} == {
        "eval_loss/carry_into_1.no", "eval_loss/carry_into_1.yes",
        "eval_loss/carry_into_2.no", "eval_loss/carry_into_2.yes",
        "eval_loss/cascade.0", "eval_loss/cascade.1", "eval_loss/cascade.2",
    }  # fmt: skip
    assert {name.split(".")[0] for name in some.keys() - without.keys()} == {
        "eval_loss/cascade", "eval_accuracy/cascade",
    }  # fmt: skip
    assert "eval_loss/cascade.0" not in rows[0]["run0", 3]


def test_a_task_without_factors_has_no_further_columns():
    every, none = (
        kept(
            [
                make_run(
                    task=AdditionConfig(n_digits=2),
                    steps=2,
                    evaluate={"every": 2, "factors": factors},
                )
            ]
        ).rows
        for factors in ("all", "none")
    )
    assert every == none


def test_samples_without_targets_count_nowhere():
    stack = Stack([make_run(task=RaggedConfig(n_digits=2, target="all"))], None, CPU, SOLO)
    batch = stack.task.held_out(64)
    assert (batch.targets == -100).all(-1).any()
    found = stack.evaluate(batch, groups=groups_of(stack, batch))
    assert all(np.isfinite(values).all() for values in found.values())


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({}, "the task declares the factor parity, but its factors"),
        ({"parity": np.zeros((64, 3), int)}, r"shape \(64, 3\); expected \(64,\) for"),
        ({"parity": np.zeros(64)}, "are not integers from 0 to 1, or -1"),
        ({"parity": np.full(64, 2)}, "are not integers from 0 to 1, or -1"),
    ],
)
def test_labels_are_checked(labels, message):
    stack = Stack([make_run(task=ParityConfig(n_digits=2))], None, CPU, SOLO)
    stack.task.factors = lambda batch: labels
    with pytest.raises(ValueError, match=message):
        groups_of(stack, stack.task.held_out(64))
