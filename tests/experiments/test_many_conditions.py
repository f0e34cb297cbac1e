"""Grids whose axes vary under conditions: the same cells as the whole product has, without it."""

import itertools
import random

import pytest

import ablab
from ablab.config import InputError
from ablab.experiments.axes import Axis, Choice
from ablab.experiments.grid import Grid, label_name

BASE = {"name": "x", "task": {"kind": "addition", "n_digits": 1}, "train": {"steps": 2}}
OPTIMIZERS = {
    "train.optimizer": ["adamw", "sgd", "lion", "muon"],
    "train.lr": "geomspace(1e-4, 1e-1, 10)",
    "train.eps": "geomspace(1e-9, 1e-6, 10)",
    "train.momentum": "linspace(0.1, 0.9, 10)",
    "train.weight_decay": "linspace(0.1, 1, 10)",
    "train.clip_norm": "linspace(0.5, 5, 10)",
}
WHEN = {
    "train.eps": {"train.optimizer": "adamw"},
    "train.momentum": {"train.optimizer": "sgd"},
    "train.weight_decay": {"train.optimizer": "lion"},
    "train.clip_norm": {"train.optimizer": "muon"},
}


def test_a_grid_has_the_runs_that_it_has():
    made = ablab.experiment(BASE | {"grid": OPTIMIZERS | {"when": WHEN}})
    assert len(made.variants) == 4 * 10 * 10  # and not 4 * 10^5
    with pytest.raises(InputError, match="the experiment has 400,000 runs"):
        ablab.experiment(BASE | {"grid": OPTIMIZERS})
    with pytest.raises(InputError, match="more than 100,000 runs"):
        ablab.experiment(BASE | {"grid": OPTIMIZERS | {"when": WHEN}, "seeds": 251})


def cells_of_the_product(grid):
    """All cells, from the whole product."""
    found = {}
    choices = [[(axis.key, choice) for choice in axis.choices] for axis in grid.axes]
    for cell in map(dict, itertools.product(*choices)):
        left = grid._active(cell, lambda key, cell, labels: False)
        name = tuple(label_name(k, left[k].label) if k in left else None for k in cell)
        found.setdefault(name, left)
    return list(found.values())


@pytest.mark.parametrize("number", range(60))
def test_cells_are_those_of_the_product_in_its_order(number):
    draw = random.Random(number)
    keys = [f"model.k{n}" for n in range(draw.randint(2, 5))]
    axes = tuple(
        Axis(key, tuple(Choice(n, ()) for n in range(draw.randint(1, 3))), None) for key in keys
    )
    when = {
        key: {other: tuple(draw.sample(range(3), draw.randint(1, 2)))}
        for key in keys
        if draw.random() < 0.6
        for other in [draw.choice([each for each in keys if each != key])]
    }  # which may depend on each other in a circle
    grid = Grid(axes, (), when)
    found = grid.cells(lambda key, cell, labels: False)
    assert found == cells_of_the_product(grid)
    assert (
        len(found) <= grid.size(10**6) <= len(list(itertools.product(*(a.choices for a in axes))))
    )
    assert grid.size(1) >= min(2, len(found))
