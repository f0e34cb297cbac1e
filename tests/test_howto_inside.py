"""The how-to pages on parts that look inside, as written, against independent results."""

import numpy as np
import polars as pl
import pytest
import torch

import ablab
from ablab.train.stack import make_task
from tests.howto_pages import follow

STORE = "lab"


def test_a_measure(folder):
    _, effects = follow("own_measure.md", folder)
    assert "final(analysis/itself:to_itself/value) of 6 runs, 3 seeds" in effects
    column = "analysis/itself:to_itself/value"
    metrics = ablab.open(STORE).metrics("itself", [column]).drop_nulls(column)
    assert sorted(set(metrics["step"])) == [0, 100, 200]
    run, step, value = metrics.filter(metrics["step"] == 200).select("run", "step", column).row(0)
    model = ablab.open(STORE).run(run).model(step)
    tokens = torch.tensor([[a, 10, b, 11] for a in range(10) for b in range(10)])  # a+b=
    answers = torch.tensor([[(a + b) // 10] for a in range(10) for b in range(10)])
    tokens = torch.cat([tokens, answers], dim=1)  # the first digit of the answer is an input, too
    _, seen = ablab.watch(model, tokens, ["blocks.0.attn.pattern"])
    pattern = seen["blocks.0.attn.pattern"].detach().numpy()
    expected = np.mean([pattern[:, :, t, t] for t in range(5)])
    assert value == pytest.approx(expected, rel=1e-5)


def at_sites(name, **keys):
    """An untrained model of an experiment's variant on 20 tokens, and its tensors as NumPy's."""
    variant = next(
        each
        for each in ablab.experiment(f"{name}.yaml").variants
        if all(each.keys[key] == value for key, value in keys.items())
    )
    run = variant.runs[0]
    model = variant.model(seed=0).eval()
    tokens = torch.arange(20).reshape(5, 4) % run.task.vocab_size
    _, seen = ablab.watch(model, tokens, ["*"])
    return model, {site: x.detach().double().numpy() for site, x in seen.items()}


def scores(seen, block=0):
    """q · k / √K of each head, (B, H, Q, S)."""
    q, k = (seen[f"blocks.{block}.attn.{name}"] for name in "qk")
    return np.einsum("bthk,bshk->bhts", q, k) / np.sqrt(q.shape[-1])


def final(name, column="eval_loss"):
    """The last values of a column, by run, with the variant's keys."""
    frame = ablab.open(STORE).metrics(name)
    return frame.filter(frame["step"] == frame["step"].max()).drop_nulls(column)


def test_a_model(folder):
    follow("own_model.md", folder)
    found = final("conv")
    losses = {reach: found.filter(found["model.reach"] == reach)["eval_loss"] for reach in (2, 4)}
    # Of a+b=, a reach of 2 sees b and =, and given b, every last digit is equally likely.
    assert all(abs(loss - np.log(10)) < 0.1 for loss in losses[2])
    assert all(loss < 1.0 for loss in losses[4])


def test_an_attention_activation(folder):
    follow("own_attention_activation.md", folder)
    assert len(final("squared")) == 4
    _, seen = at_sites("squared", **{"model.attention.activation": "squared:squared_relu"})
    expected = np.tril(np.maximum(scores(seen), 0) ** 2)
    np.testing.assert_allclose(seen["blocks.0.attn.pattern"], expected, atol=1e-6)
    assert (expected > 0).any()


def test_a_position(folder):
    follow("own_position.md", folder)
    assert len(final("distance")) == 4
    _, seen = at_sites("distance", **{"model.position": "distance:LogDistance"})
    at = np.arange(4)
    bias = -np.log(1 + np.abs(at[:, None] - at))
    exp = np.tril(np.exp(scores(seen, 1) + bias))
    expected = exp / exp.sum(-1, keepdims=True)
    np.testing.assert_allclose(seen["blocks.1.attn.pattern"], expected, atol=1e-6)


def test_a_norm(folder):
    follow("own_norm.md", folder)
    assert len(final("mean_abs")) == 4
    _, seen = at_sites("mean_abs", **{"model.norm": "mean_abs:MeanAbs"})
    x = seen["blocks.0.resid_post"]
    expected = x / (np.abs(x).mean(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(seen["ln_final"], expected, rtol=1e-4, atol=1e-6)


def test_a_statistic(folder):
    follow("own_statistic.md", folder)
    column = "activation/blocks.0.mlp.post/dead:dead"
    frame = ablab.open(STORE).metrics("dead", [column]).filter(pl.col("seed") == 0)
    experiment = ablab.experiment("dead.yaml")
    run = experiment.runs[0]
    model = experiment.variants[0].model(seed=0)
    batch = make_task(run).draw(0, 1, 1, 64)
    _, seen = ablab.watch(model, torch.from_numpy(batch.tokens[0]), ["blocks.0.mlp.post"])
    x = seen["blocks.0.mlp.post"].detach().numpy()
    dead = [all(x[b, t, m] <= 0 for b in range(64) for t in range(4)) for m in range(64)]
    first = frame.filter(pl.col("step") == 1)[column]
    assert first.to_list() == [pytest.approx(np.mean(dead))] * 2, "equal at all rates"
    assert 0 <= frame[column].min() <= frame[column].max() <= 1


def test_an_analysis(folder):
    _, printed = follow("own_analysis.md", folder)
    assert "After which block is the answer known?" in printed
    found = ablab.analyze("lens", "lens:lens", store=STORE, steps="last")
    table = found.tables["blocks"]
    for run in set(table["run"]):
        model = ablab.open(STORE).run(run).model()
        tokens = torch.tensor([[a, 10, b, 11] for a in range(10) for b in range(10)])
        answers = np.array([(a + b) % 10 for a in range(10) for b in range(10)])
        right = model(tokens)[:, -1].argmax(-1).numpy() == answers
        own = dict(table.filter(pl.col("run") == run).select("block", "accuracy").iter_rows())
        assert own[1] == pytest.approx(right.mean())
        assert own[0] < own[1]


def test_a_check_of_the_doctor(folder):
    (printed,) = follow("own_doctor_check.md", folder, code=1)
    for line in ("in        model.init_std=2.0", "evidence  a probability of 1.00 before training"):
        assert line in printed
    assert "FINDING in 1 of 2" in printed
