"""A small experiment with a question that could be a script."""

import pytest

import ablab

QUESTION = "Does <script>alert(1)</script> & a wider model help?"


@pytest.fixture(scope="package")
def result(tmp_path_factory):
    """Two widths, three seeds, twelve steps."""
    asked = ablab.experiment(
        {
            "name": "widths",
            "question": QUESTION,
            "task": {"kind": "addition", "n_digits": 2},
            "model": {"n_layers": 2, "n_heads": 2},
            "train": {
                "steps": 12,
                "batch_size": 16,
                "evaluate": {"every": 4, "samples": 16},
                "snapshots": {"every": 6},
            },
            "grid": {"model.d_model": [8, 16]},
            "seeds": 3,
            "expect": [
                {
                    "claim": "<b>wider</b> is better",
                    "measure": "final(train_loss)",
                    "falls_with": "model.d_model",
                }
            ],
        }
    )
    folder = tmp_path_factory.mktemp("notebook") / "lab"
    return ablab.run(asked, store=folder, workers=1, compile="off", quiet=True)


@pytest.fixture(scope="package")
def store(result):
    """The store, opened."""
    return ablab.open(result.store.path)


@pytest.fixture(scope="package")
def run(result, store):
    """The first run, which can be drawn."""
    return store.run(result.runs[0].run)
