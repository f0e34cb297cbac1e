"""Experiments of every kind of result, each filled with made-up curves, and what is asked of them.

``STORES`` has a function for each: it fills a store and returns the arguments of commands.
"""

import numpy as np

from ablab.experiments.expectations import parse_expectation
from tests.logbook.test_effect_tables import swept
from tests.read.filled import fill, grid
from tests.read.test_verdicts import EXPECTED, made_up

HEADS = {"model.n_heads": [1, 4]}
HOW = {"plain": {}, "fast": {"train.lr": 0.1}, "slow": {"train.lr": 1e-5}}
RATES = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1]
CELLS = "where model.n_heads=1 than where model.n_heads=4"
SAME = "is the same where model.n_heads=1 as where model.n_heads=4"
STEPS = "steps_to(loss, 0.1)"


def noise(*place):
    return np.random.default_rng([int(each) for each in place]).standard_normal()


def lines(path):
    """Twenty kinds of expectations on a numeric grid, two of which have no verdict."""
    made_up(path, expect=list(EXPECTED), seeds=5)
    return [
        ["expect", "made-up"], ["effects", "made-up"],
        ["effects", "made-up", "--measure", "leaves(log(10))"],
        ["effects", "made-up", "--measure", "steps_to(loss, 1e-6)"],
        ["effects", "made-up", "--measure", "diverged"],
        ["effects", "made-up", "--measure", "n_params"],
        ["effects", "made-up", "--of", "model.n_heads", "--scale", "difference"],
        ["effects", "made-up", "--measure", "spikes(loss)"],
    ]  # fmt: skip


def late(path):
    """Expectations with and without confidence, before and after results, of two experiments."""
    after = [parse_expectation("spikes(loss) is below 1 with confidence 0.9")]
    asked = grid(steps=20, seeds=2, expect=[
        {"measure": "final(loss)", "below": 2.0, "claim": "it gets low", "figure": 1.5,
         "source": "elsewhere", "confidence": 0.7},
        "final(loss) is above 2 with confidence 0.4",
        "final(eval_loss) is below 2 with confidence 0.4",
    ])  # fmt: skip
    fill(path, asked, lambda keys, seed, steps: 1 + 0.1 * seed + 0 * steps, after)
    return [["expect", "made-up"],
            ["expect", "made-up", "final(loss) rises with model.d_model", "--confidence", "0.6"],
            ["expect", "addition", "final(loss) is below 2"]]  # fmt: skip


def added_seeds(path):
    """Seeds that were added: one question is settled, the other one open."""
    axes, seeds = {"model.d_model": [8, 16, 32]}, {"from": 3, "to": 12}
    asked = grid(steps=20, seeds=seeds, grid=axes, expect=[
        "final(loss) is lower where model.d_model=16 than where model.d_model=8",
        "final(loss) is lower where model.d_model=32 than where model.d_model=16",
    ])  # fmt: skip

    def curve(keys, seed, steps):
        width = keys["model.d_model"]
        return 1 + (width == 8) + 0.1 * noise(width, seed) + 0 * steps

    fill(path, asked, curve)
    return [["expect", "made-up"], ["effects", "made-up"]]


def bundles(path):
    """A numeric and a categorical setting that interact."""
    axes = {"model.d_model": [8, 16, 32], "how": HOW}
    asked = grid(steps=20, seeds=6, grid=axes)

    def curve(keys, seed, steps):
        width, how = keys["model.d_model"], list(HOW).index(keys["how"])
        joint = 0.5 * (how == 1) * (width == 32)
        level = 1 + how / 10 + 2 / width + joint + 0.01 * noise(seed, width, how)
        return {"train_loss": level + 0 * steps, "eval_loss": level + 0 * steps}

    fill(path, asked, curve)
    margins = ["--scale", "difference", "--margin"]
    return [
        ["effects", "made-up"], ["effects", "made-up", "--of", "how"],
        ["effects", "made-up", *margins, "5"], ["effects", "made-up", *margins, "0.001"],
        ["effects", "made-up", "--scale", "ratio", "--margin", "1.5"],
        ["effects", "made-up", "--of", "model.d_model", *margins, "1"],
    ]  # fmt: skip


def one_seed(path):
    texts = [f"final(loss) is lower {CELLS}", f"final(loss) {SAME} within 1",
             "final(loss) is below 2", "final(loss) falls with model.n_heads"]  # fmt: skip
    asked = grid(steps=20, seeds=1, expect=texts)
    fill(path, asked, lambda keys, seed, steps: 8 / keys["model.d_model"] + 0 * steps)
    return [["effects", "made-up"], ["effects", "made-up", "--scale", "ratio"],
            ["expect", "made-up"]]  # fmt: skip


def broken(path):
    """Runs that diverged or failed, or whose column was not logged."""
    texts = [f"final(loss) is lower {CELLS}", f"final(loss) is higher {CELLS}",
             "final(loss) is below 5", f"final(eval_accuracy) is lower {CELLS}",
             f"final(loss) {SAME} within 1", "diverged is below 0.5"]  # fmt: skip
    asked = grid(steps=20, seeds=4, grid=HEADS | {"train.clip_norm": [None, 1.0]}, expect=texts)

    def curve(keys, seed, steps):
        if keys["model.n_heads"] == 4 and seed == 0:
            return None
        value = 0.9 if keys["model.n_heads"] == 4 else np.nan
        last = np.where(steps == 20, value, np.nan)
        return {"train_loss": 1 + noise(seed) + 0 * steps, "eval_accuracy": last}

    store, record = fill(path, asked, curve)
    failed = store.members(record.id)[1]["run"]
    with store.index.transaction() as connection:
        change = "UPDATE runs SET outcome = 'failed', error = 'it broke', step = 7 WHERE id = ?"
        connection.execute(change, (failed,))
    return [
        ["effects", "made-up"], ["effects", "made-up", "--measure", "final(eval_accuracy)"],
        ["effects", "made-up", "--measure", STEPS], ["effects", "made-up", "--measure", "seconds"],
        ["expect", "made-up"],
    ]  # fmt: skip


def ratios(path):
    """Values that span a factor of 1000 over the grid, of which some are told apart by ranks."""
    texts = ["final(loss) falls with model.d_model", f"final(loss) is lower {CELLS}",
             f"final(loss) {SAME} within 1", "final(loss) is between 0 and 100"]  # fmt: skip
    asked = grid(steps=20, seeds=3, expect=texts)

    def curve(keys, seed, steps):
        width, heads = keys["model.d_model"], keys["model.n_heads"]
        level = 1e5 * width**-3.3 * np.exp(0.3 * noise(seed, width, heads))
        return level + 0 * steps

    fill(path, asked, curve)
    return [["effects", "made-up"], ["effects", "made-up", "--of", "model.d_model"],
            ["effects", "made-up", "--scale", "ratio", "--margin", "3"], ["expect", "made-up"],
            ["effects", "made-up", "--scale", "difference"]]  # fmt: skip


def unreached(path):
    """Steps that some runs did not reach; all runs of one cell, and a few of the other."""
    texts = [f"{STEPS} is lower {CELLS}", f"{STEPS} {SAME} within 5", f"{STEPS} is below 300",
             f"{STEPS} rises with model.n_heads", f"{STEPS} is below 20",
             f"{STEPS} rises with model.n_heads by a factor between 1 and 2"]  # fmt: skip
    asked = grid(steps=200, seeds=9, grid=HEADS, expect=texts)

    def curve(keys, seed, steps):
        at = 40 + 5 * seed if keys["model.n_heads"] == 1 or seed == 0 else 1000
        return np.where(steps < at, 2.0, 0.01)

    fill(path, asked, curve)
    return [["effects", "made-up", "--measure", STEPS], ["expect", "made-up"],
            ["effects", "made-up", "--measure", STEPS, "--scale", "ratio"],
            ["effects", "made-up", "--measure", "steps_to(loss, 1e-9)"]]  # fmt: skip


def learning(path):
    """Runs that learn, which some do at one head and most at four; a measure in between too."""
    lower = f"final(loss) is lower {CELLS}"
    texts = [lower, lower.replace("final(loss)", "mean(loss, 5, 10)"),
             f"final(loss) {SAME} within 1",
             "final(lr_scale) is lower if final(loss) is below 1 than otherwise"]  # fmt: skip
    asked = grid(steps=20, seeds=8, grid=HEADS, expect=texts)

    def curve(keys, seed, steps):
        heads = keys["model.n_heads"]
        learnt = seed < (2 if heads == 1 else 7)
        level = (0.01 if learnt else 2.0) * np.exp(0.05 * noise(seed, heads))
        scale = 100 * heads + seed + (0 if learnt else 50)
        accuracy, other = (0.99, 3.0) if learnt else (0.1, 1.0)
        columns = {"lr_scale": scale, "eval_accuracy": accuracy, "eval_other": other}
        near = {name: value + 0.001 * noise(seed, heads) for name, value in columns.items()}
        return {name: value + 0.0 * steps for name, value in {"train_loss": level, **near}.items()}

    fill(path, asked, curve)
    return [["effects", "made-up"], ["effects", "made-up", "--measure", "mean(loss, 5, 10)"],
            ["effects", "made-up", "--measure", "final(lr_scale)"], ["expect", "made-up"],
            ["effects", "made-up", "--measure", "final(eval_other)"],
            ["effects", "made-up", "--measure", "mean(accuracy, 5, 10)"]]  # fmt: skip


def many_seeds(path):
    """Twelve seeds: interquartile means; expectations with confidence, and a bounded measure."""
    texts = [f"final(loss) is lower {CELLS} with confidence 0.8",
             f"final(loss) is higher {CELLS} with confidence 0.3",
             f"final(accuracy) is lower {CELLS} with confidence 0.95",
             "final(accuracy) is above 0.5 with confidence 0.6"]  # fmt: skip
    asked = grid(steps=20, seeds=12, grid=HEADS, expect=texts)

    def curve(keys, seed, steps):
        heads = keys["model.n_heads"]
        level = 1 + heads / 10 + 0.1 * noise(seed, heads)
        accuracy = 1 / (1 + np.exp(-2 - heads / 4 - noise(seed, heads)))
        columns = {"train_loss": level, "eval_accuracy": accuracy, "eval_other": level}
        return {name: value + 0 * steps for name, value in columns.items()}

    fill(path, asked, curve)
    return [["effects", "made-up"], ["effects", "made-up", "--measure", "final(accuracy)"],
            ["effects", "made-up", "--measure", "final(eval_other)"],
            ["effects", "made-up", "--scale", "ratio"], ["expect", "made-up"],
            ["effects", "made-up", "--scale", "difference", "--margin", "3"]]  # fmt: skip


def best_rates(path, seeds=4):
    """Rates whose best one depends on another setting, for measures of every direction."""
    asked = grid(steps=20, seeds=seeds, grid={"train.lr": RATES, **HEADS}, answer="final(loss)")

    def curve(keys, seed, steps):
        best = 2 if keys["model.n_heads"] == 1 else 6
        place = RATES.index(keys["train.lr"])
        level = 1 + 0.1 * (place - best) ** 2 + 0.05 * noise(seed, place, best)
        columns = {"train_loss": level, "eval_accuracy": np.exp(-level), "eval_other": level,
                   "eval_loss": 3 - place / 10}  # fmt: skip
        return {name: value + 0 * steps for name, value in columns.items()}

    fill(path, asked, curve)
    measures = ["final(accuracy)", "final(eval_other)", "final(eval_loss)", "n_params", "final(lr)"]
    return [["effects", "made-up"], ["effects", "made-up", "--of", "train.lr"],
            *(["effects", "made-up", "--measure", each] for each in measures)]  # fmt: skip


def best_rates_of_one_seed(path):
    """The same, of a single seed."""
    return best_rates(path, seeds=1)


def alike(path):
    """So many runs of one kind that others are rare, and a margin that they are within."""

    def curve(keys, seed, steps):
        return 1 + 0.01 * noise(seed, keys["model.n_heads"]) + 0 * steps

    fill(path, grid(steps=10, seeds=40, grid=HEADS), curve)
    return [["effects", "made-up", "--scale", "difference", "--margin", "0.1"]]


def predictions(path):
    """A power law, of which a value that was not trained is predicted."""
    texts = ["final(loss) is above 1.3 predicted for model.d_model=2",
             "final(loss) is below 1.3 predicted for model.d_model=2"]  # fmt: skip
    axis = {"model.d_model": [4, 8, 16, 32, 64]}
    asked = grid(steps=20, seeds=3, grid=axis, expect=texts)

    def curve(keys, seed, steps):
        width = keys["model.d_model"]
        return 2 * width**-0.5 * np.exp(0.01 * noise(seed, width)) + 0 * steps

    fill(path, asked, curve)
    return [["effects", "made-up"], ["expect", "made-up"]]


def sweep(path):
    """Points of settings that vary together, of which one is short; a run diverged."""
    swept(path.parent)
    return [["effects", "made-up"], ["expect", "made-up"]]


def not_trained(path):
    """An experiment of which there are no results yet, and one without expectations."""
    asked = grid(steps=20, seeds=2, expect=["final(loss) is below 2 with confidence 0.5"])
    store, _ = fill(path, asked, lambda keys, seed, steps: 1.0 + 0 * steps)
    with store.index.transaction() as connection:
        connection.execute("UPDATE runs SET step = 0, outcome = NULL")
    fill(path, grid(name="silent", seeds=3), lambda keys, seed, steps: 1.0 + 0 * steps)
    return [["effects", "made-up"], ["expect", "made-up"], ["expect", "silent"],
            ["effects", "silent"], ["effects", "silent", "--scale", "ratio"]]  # fmt: skip


STORES = [
    lines, late, added_seeds, bundles, one_seed, broken, ratios, unreached, learning, many_seeds,
    best_rates, best_rates_of_one_seed, alike, predictions, sweep, not_trained,
]  # fmt: skip
