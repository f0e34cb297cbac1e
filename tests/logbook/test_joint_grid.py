"""The entry of a grid that is no product, from training to its file."""

import ablab
from ablab.store.known_runs import unknown_runs
from ablab.store.store import Store


def test_a_conditional_grid_from_training_to_its_entry(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train = tiny["train"] | {"steps": 4, "evaluate": {"every": 2, "samples": 8}}
    asked = ablab.experiment(
        tiny | {"train": train, "answer": "final(train_loss)"},
        grid={
            "model.d_model": [8],
            "train.optimizer": ["adamw", "sgd"],
            "train.momentum": [0.0, 0.9],
            "when": {"train.momentum": {"train.optimizer": "sgd"}},
        },
        expect=[
            {"measure": "final(train_loss)", "below": 9.0, "where": {"train.momentum": 0.9}},
            "final(train_loss) falls with train.momentum",
        ],
    )
    result = ablab.run(asked, store="lab", quiet=True, device="cpu")
    assert len(result.runs) == 6
    opened = ablab.open("lab")
    frame = opened.measure("tiny", "final(train_loss)")
    assert frame["train.momentum"].to_list() == [None, None, 0.0, 0.0, 0.9, 0.9]
    found = opened.effects("tiny")
    assert found.of == ("model.d_model", "optimizer + momentum")
    assert [each.value for each in found.factorial] == [
        "optimizer sgd, momentum 0", "optimizer sgd, momentum 0.9",
    ]  # fmt: skip
    assert opened.effects("tiny", of="train.momentum").of == ("optimizer + momentum",)
    first, second = opened.verdicts("tiny")
    assert first.outcome == "held"
    slow, fast = (sum(frame["value"][place : place + 2]) / 2 for place in (2, 4))  # of two seeds
    assert second.evidence.startswith(f"at 0.9 vs 0.0: median {fast:.4g} vs {slow:.4g}; ")
    folder = result.entry.parent
    text = (folder / "entry.md").read_text()
    assert "grid: variants = 3 of 4 combinations" in text
    repeated = ablab.experiment(folder / "experiment.yaml")
    assert [run.id for run in repeated.runs] == [run.id for run in asked.runs]
    assert unknown_runs(Store("lab"), repeated.runs) == []
