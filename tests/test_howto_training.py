"""The how-to pages on parts that train: each page as written, against an independent result."""

import numpy as np
import pytest
import torch

import ablab
from ablab.train.stack import make_task
from tests.howto_pages import follow

STORE = "lab"


def losses(name, **keys):
    """The training losses of an experiment's first run with some keys, by step."""
    variant = next(
        each
        for each in ablab.experiment(f"{name}.yaml").resolve().variants
        if all(str(each.keys[key]) == str(value) for key, value in keys.items())
    )
    return train_losses(variant.runs[0].id)


def train_losses(run):
    frame = ablab.open(STORE).run(run).metrics()
    return frame["train_loss"].drop_nulls().to_numpy()


def test_an_optimizer(folder):
    (printed,) = follow("own_optimizer.md", folder)
    assert "are trained one at a time" in printed
    # With equal betas and no decay, Lion (Chen et al., 2023) is the sign of the momentum.
    lion = ablab.experiment(
        "signs.yaml",
        "train.optimizer=lion",
        "train.betas=[0.9,0.9]",
        "train.weight_decay=0",
        name="lion",
    )
    result = ablab.run(lion, store=STORE)
    expected = train_losses(result.runs[0].run)
    own = losses("signs", **{"train.optimizer": "signs:Signs"})
    np.testing.assert_allclose(own[:20], expected[:20], rtol=1e-4)
    assert own[-1] < 0.9 * own[0]


def test_a_task(folder):
    _, read = follow("own_task.md", folder)
    assert "task.bits" in read
    task = make_task(ablab.experiment("majority.yaml").runs[0])
    batch = task.draw(seed=0, first_step=1, steps=2, batch_size=50)
    samples = batch.tokens.reshape(-1, 5)
    for sample, answer in zip(samples, batch.targets.flatten(), strict=True):
        assert answer == int(list(sample).count(1) >= 3)
    metrics = ablab.open(STORE).metrics("majority")
    last = metrics.filter(metrics["step"] == 200)
    assert (last["eval_accuracy"] > 0.9).all()


def test_a_schedule(folder):
    _, printed = follow("own_schedule.md", folder)
    metrics = ablab.open(STORE).metrics("cycle")
    own = metrics.filter(metrics["train.schedule.kind"] == "rates:one_cycle")
    rates = dict(own.select("step", "lr").drop_nulls().iter_rows())
    # By hand: a third of the way up, the peak, four sevenths of the way down, and the end.
    expected = {10: 0.001, 30: 0.003, 70: 0.003 * 3 / 7, 100: 0.0}
    assert {step: rates[step] for step in expected} == pytest.approx(expected)
    assert "0.003" in printed


def test_a_loss(folder):
    follow("own_loss.md", folder)
    metrics = ablab.open(STORE).metrics("focal")
    first = metrics.filter((metrics["step"] == 0) & (metrics["seed"] == 0))
    experiment = ablab.experiment("focal.yaml")
    model = experiment.variants[0].model(seed=0).eval()
    task = make_task(experiment.resolve().runs[0])
    held_out = task.held_out(1024)
    logits = model(torch.from_numpy(held_out.tokens))[:, task.predicted].detach().numpy()
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    p = np.take_along_axis(p, held_out.targets[..., None], -1)[..., 0]
    expected = (-((1 - p) ** 2) * np.log(p)).mean(1).mean()
    np.testing.assert_allclose(first["eval_loss"][0], expected, rtol=1e-5)
    np.testing.assert_allclose(first["eval_cross_entropy"][0], -np.log(p).mean(), rtol=1e-5)


def test_a_callback(folder):
    follow("own_callback.md", folder)
    opened = ablab.open(STORE)
    columns = {name: f"callback/margins:margins/{name}" for name in ("least", "wrong")}
    own = opened.metrics("margins", list(columns.values())).drop_nulls()
    assert sorted(set(own["step"])) == [0, 50, 100, 150, 200]
    run = own["run"][0]
    last = own.filter((own["run"] == run) & (own["step"] == 200))
    model = opened.run(run).model(200)
    samples = make_task(ablab.experiment("margins.yaml").runs[0]).held_out(256)
    logits = model(torch.from_numpy(samples.tokens))[:, -1].detach().numpy()
    sums = samples.tokens[:, 0] + samples.tokens[:, 2]  # a + b =
    answers = sums % 10
    right = np.array([row[answer] for row, answer in zip(logits, answers, strict=True)])
    others = [np.delete(row, answer).max() for row, answer in zip(logits, answers, strict=True)]
    assert last[columns["least"]][0] == pytest.approx((right - others).min(), rel=1e-4)
    assert last[columns["wrong"]][0] == (right <= others).sum()
