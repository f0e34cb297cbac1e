"""The how-to pages on parts that train: each page as written, against an independent result."""

import numpy as np

import ablab
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
