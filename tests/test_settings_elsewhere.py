"""The page of another project's settings: every key has an answer, and its experiment trains."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import ablab
from ablab.experiments.setting_keys import known_keys
from ablab.store.samples import stored_samples
from ablab.train.stack import initial_model

DOCS = Path(__file__).resolve().parent.parent / "docs"
FILE = DOCS / "attention-simulator-file.yaml"
CHAR = ("task.tokenizer=char", "task.bpe_size=null")


def rows():
    page = (DOCS / "settings_elsewhere.md").read_text()
    return re.findall(r"^\| `(\S+)` \| (.*?) \| (.*?) \| (.*?) \|$", page, re.MULTILINE)


def test_every_key_has_a_setting_or_a_reason():
    found = rows()
    assert len({key for key, *_ in found}) == len(found) == 130
    known = {re.sub(r"\.N(?=\.)", "", key) for key in known_keys()} | {"seeds"}
    for key, _, ours, notes in found:
        if ours.startswith("`"):
            assert ours.strip("`") in known, key
        else:
            assert ours in ("always so", "not needed", "no counterpart"), key
            assert notes or ours == "always so", key
    for mentioned in re.findall(r"`((?:model|train|task|watch)\.[\w.]+)", str(found)):
        assert re.sub(r"\.(0|1)(?=\.)", "", mentioned) in known, mentioned


@pytest.fixture
def run(tinyshakespeare):
    (run,) = ablab.experiment(str(FILE), *CHAR).runs
    return run


def test_the_experiment_has_the_models_modules(run):
    model = initial_model(run)
    norms = {name: m.eps for name, m in model.named_modules() if isinstance(m, nn.LayerNorm)}
    assert norms == {
        "norm": 1e-6,
        "blocks.0.norm1": 1e-5,
        "blocks.0.norm2": 1e-5,
        "blocks.0.attention.query_norm": 1e-5,
        "blocks.0.attention.key_norm": 1e-5,
    }
    biased = [name for name, _ in model.named_parameters() if name.endswith("bias")]
    assert sorted(biased) == sorted(f"{name}.bias" for name in norms)
    matrices = [p for p in model.parameters() if p.ndim == 2]
    assert all(abs(p.std().item() / 0.02 - 1) < 0.03 for p in matrices)
    # The printed modules without the embeddings: qkv, projection, two layers, the norms.
    count = sum(p.numel() for p in model.parameters()) - 2 * 66 * 384
    assert count == 4 * 384**2 + 2 * 384 * 1536 + 2 * (3 * 384 + 2 * 32)


def test_it_trains_a_few_steps(tmp_path, tinyshakespeare):
    few = ("train.steps=2", "train.schedule.total=1000", "train.evaluate.samples=8",
           "watch.statistics=[param/norm.weight/rms]", "watch.recorder=null",
           "watch.generate.steps=[2]",
           "watch.generate.queries=[{prompt:'To be or not to be ',tokens:4}]")  # fmt: skip
    result = ablab.run(
        ablab.experiment(str(FILE), *CHAR, *few), store=tmp_path / "lab", compile="off"
    )
    (run,) = result.runs
    metrics = result.metrics()
    assert metrics["lr"].drop_nulls().to_list() == pytest.approx(
        [3e-4 * (1e-5 + (1 - 1e-5) * step / 100) for step in (1, 2)], rel=1e-6
    )
    assert {"eval_loss", "eval_loss/length_128"} <= set(metrics.columns)
    assert metrics["train_loss"].drop_nulls()[0] == pytest.approx(4.19, abs=0.1)  # log 66
    (sample,) = stored_samples(ablab.open(tmp_path / "lab").store, [run.run]).values()
    assert sample.step == 2
    assert sample.text.startswith("To be or not to be ")
    assert torch.isfinite(torch.tensor(metrics["eval_loss"].drop_nulls().to_list())).all()
