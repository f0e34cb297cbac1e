"""Whether the statistics of effects keep their word, on simulated experiments of known truth.

``python benchmarks/effects.py [--experiments 2000] [--worlds normal]`` prints a row for each world,
grid and number of seeds: how often 95% intervals cover the truth; how often a table has a false
finding after Holm where no setting matters, and where some do; how often equivalence is claimed
where the difference is just as large as the margin; the same for interactions and for slopes.
"""

import argparse
from collections import Counter
from collections.abc import Callable

import numpy as np
from scipy.special import stdtrit

from ablab.read.effects import Results, differences, interactions, scaling

GRIDS = {"2 × 3": (2, 3), "4 × 2 × 3": (4, 2, 3)}
SEEDS = (3, 5, 10)
MARGIN = 0.5
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def _astray(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal noise, and a run in ten five deviations above: it never got off its plateau, say."""
    return random.normal(size=shape) + 5.0 * (random.random(shape) < 0.1) - 0.5


WORLDS: dict[str, tuple[Draw, float]] = {
    "normal": (lambda random, shape: random.normal(size=shape), 0.0),
    "5% of runs missing": (lambda random, shape: random.normal(size=shape), 0.05),
    "heavy tails": (lambda random, shape: random.standard_t(3, size=shape), 0.0),
    "skewed": (lambda random, shape: random.exponential(size=shape) - 1, 0.0),
    "one run in ten astray": (_astray, 0.0),
}


def noise(
    random: np.random.Generator, shape: tuple[int, ...], seeds: int, draw: Draw
) -> np.ndarray:
    """What seeds and runs add to the truth: (levels of each key …, seeds), of mean 0.

    A seed's luck is shared by its cells and larger than all else; it also shifts the effect of each
    value of each key; each cell has a noise of its own size, from 0.3 to 1.5.
    """
    luck = 3 * random.normal(size=seeds)
    sizes = random.uniform(0.3, 1.5, size=shape)[..., None]
    total = luck + sizes * draw(random, (*shape, seeds))
    for axis, levels in enumerate(shape):
        shift = 0.3 * random.normal(size=(levels, seeds))
        total += shift.reshape([levels if i == axis else 1 for i in range(len(shape))] + [seeds])
    return total


def additive(shape: tuple[int, ...], effects: list[np.ndarray]) -> np.ndarray:
    """The truth of settings that add up, for each cell and any seed."""
    total = np.zeros((*shape, 1))
    for axis, effect in enumerate(effects):
        total += effect.reshape([-1 if i == axis else 1 for i in range(len(shape))] + [1])
    return total


def results(values: np.ndarray) -> Results:
    """Values as the results of a grid whose keys are a, b, …, each with base 0."""
    levels = {name: tuple(range(n)) for name, n in zip("abc", values.shape[:-1], strict=False)}
    seeds = tuple(range(values.shape[-1]))
    base = dict.fromkeys(levels, 0)
    return Results("m", levels, seeds, values, values.size, base, (), "difference")


def lost(random: np.random.Generator, values: np.ndarray, share: float) -> np.ndarray:
    """The values with a share of them missing."""
    return np.where(random.random(values.shape) < share, np.nan, values)


def simulate(
    random: np.random.Generator, shape: tuple[int, ...], seeds: int, world: str
) -> Counter[str]:
    """Counts of one simulated experiment: ``of X`` beside each ``X``."""
    draw, share = WORLDS[world]
    counts: Counter[str] = Counter()

    def note(name: str, happened: bool) -> None:
        counts[name] += happened
        counts[f"of {name}"] += 1

    def tables(values: np.ndarray, margin: float | None = None) -> list:
        made = results(lost(random, values, share))
        return [differences(made, others=others, margin=margin) for others in ("base", "all")]

    # Settings that matter, some of them not at all; their differences are known.
    effects = [random.normal(size=n) * (random.random(n) < 0.5) for n in shape]
    made = noise(random, shape, seeds, draw) + additive(shape, effects)
    for name, table in zip(("marginal", "factorial"), tables(made), strict=True):
        false = False
        for each in table:
            own = effects["abc".index(each.key)]
            truth = own[each.value] - own[each.reference]
            if each.interval is not None:
                note(f"{name} interval covers", each.interval[0] <= truth <= each.interval[1])
            false |= truth == 0 and each.verdict == "differs"
        note(f"{name} false finding, some matter", false)
    # No setting matters.
    nothing = noise(random, shape, seeds, draw)
    for name, table in zip(("marginal", "factorial"), tables(nothing), strict=True):
        note(f"{name} false finding", any(each.verdict == "differs" for each in table))
    # Every difference is as large as the margin. Noise is less, or nothing would ever be claimed.
    edge = additive(shape, [np.where(np.arange(n) == 0, 0.0, MARGIN) for n in shape])
    quiet = noise(random, shape, seeds, draw) / 8
    for name, table in zip(("marginal", "factorial"), tables(quiet + edge, MARGIN), strict=True):
        for each in table:
            note(f"{name} false equivalence", each.within_margin)
        note(f"{name} false equivalence in a table", any(each.within_margin for each in table))
    # Interactions: none in the first data, and some added.
    found = interactions(results(lost(random, made, share)))
    note("false interaction", any(each.exists for each in found))
    note("false contrast", any(c.interacts for each in found for c in each.contrasts))
    joint = random.normal(size=shape)[..., None]
    for pair in interactions(results(lost(random, made + joint, 0.0))):
        axes = ["abc".index(pair.key), "abc".index(pair.other)]
        rest = tuple(axis for axis in range(len(shape)) if axis not in axes)
        truth_table = joint[..., 0].mean(axis=rest)
        for each in pair.contrasts:
            i, j = each.value, each.other_value
            truth = truth_table[i, j] - truth_table[0, j] - truth_table[i, 0] + truth_table[0, 0]
            if each.interval is not None:
                note("contrast interval covers", each.interval[0] <= truth <= each.interval[1])
    # A power law of the longest axis, in logarithms.
    axis = int(np.argmax(shape))
    widths = 2.0 ** np.arange(shape[axis])
    slope = random.normal()
    line = additive(
        shape, [slope * np.log(widths) if i == axis else np.zeros(n) for i, n in enumerate(shape)]
    )
    values = np.exp(lost(random, noise(random, shape, seeds, draw) + line, share))
    made_law = results(values)
    made_law.levels["abc"[axis]] = tuple(widths)
    made_law.base["abc"[axis]] = 1.0
    law = next((f for f in scaling(made_law, "abc"[axis]).fits if f.form == "power law"), None)
    if law is not None and law.interval is not None:
        note("slope interval covers", law.interval[0] <= slope <= law.interval[1])
    return counts


def study(experiments: int, shape: tuple[int, ...], seeds: int, world: str) -> dict[str, float]:
    """The rates of many simulated experiments, as shares."""
    random = np.random.default_rng([experiments, len(shape), seeds, list(WORLDS).index(world)])
    total: Counter[str] = Counter()
    for _ in range(experiments):
        total += simulate(random, shape, seeds, world)
    return {name[3:]: total[name[3:]] / count for name, count in total.items() if name[:3] == "of "}


def any_false(
    experiments: int, shape: tuple[int, ...], seeds: int, batch: int = 5000
) -> list[float]:
    """The rates of tables with a false finding where nothing matters: marginal, factorial.

    Many experiments at once. Where all is null Holm finds anything if and only if the smallest p
    value is at most 5% over the number of comparisons, so the t values of all are enough.
    """
    random = np.random.default_rng([experiments, len(shape), seeds])
    family = sum(shape) - len(shape)
    limit = stdtrit(seeds - 1, 1 - 0.025 / family)
    found = np.zeros(2)
    for _ in range(experiments // batch):
        values = 3 * random.normal(size=(batch, *[1] * len(shape), seeds))
        sizes = random.uniform(0.3, 1.5, size=(batch, *shape, 1))
        values = values + sizes * random.normal(size=(batch, *shape, seeds))
        for axis in range(len(shape)):
            some = [shape[axis] if i == axis else 1 for i in range(len(shape))]
            values += 0.3 * random.normal(size=(batch, *some, seeds))
        for table in range(2):
            false = np.zeros(batch, dtype=bool)
            for axis in range(len(shape)):
                own = np.moveaxis(values, axis + 1, 1).reshape(batch, shape[axis], -1, seeds)
                own = own[:, :, 0] if table == 0 else own.mean(axis=2)
                own = own[:, 1:] - own[:, :1]
                t = own.mean(axis=2) / own.std(axis=2, ddof=1) * seeds**0.5
                false |= (np.abs(t) > limit).any(axis=1)
            found[table] += false.sum()
    return list(found / (experiments // batch * batch))


COLUMNS = {
    "intervals cover, marginal": "marginal interval covers",
    "factorial": "factorial interval covers",
    "contrasts": "contrast interval covers",
    "slopes": "slope interval covers",
    "false finding, nothing matters, marginal": "marginal false finding",
    "factorial ": "factorial false finding",
    "some matter, marginal": "marginal false finding, some matter",
    "factorial  ": "factorial false finding, some matter",
    "interaction": "false interaction",
    "contrast": "false contrast",
    "false equivalence, a comparison": "factorial false equivalence",
    "a table, marginal": "marginal false equivalence in a table",
    "a table, factorial": "factorial false equivalence in a table",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--experiments", type=int, default=2000, help="simulated, for each row")
    parser.add_argument("--worlds", nargs="+", choices=WORLDS, default=list(WORLDS))
    parser.add_argument("--grids", nargs="+", choices=GRIDS, default=list(GRIDS))
    parser.add_argument("--many", type=int, default=0, help="only count false findings in as many")
    asked = parser.parse_args()
    if asked.many:
        print("| grid | seeds | false finding, marginal | factorial |\n" + "| --- " * 4 + "|")
        for grid in asked.grids:
            for seeds in SEEDS:
                rates = any_false(asked.many, GRIDS[grid], seeds)
                print(f"| {grid} | {seeds} | " + " | ".join(f"{100 * r:.2f}" for r in rates) + " |")
        return
    print("| world | grid | seeds | " + " | ".join(COLUMNS) + " |")
    print("| --- " * (3 + len(COLUMNS)) + "|")
    for world in asked.worlds:
        for grid in asked.grids:
            for seeds in SEEDS:
                rates = study(asked.experiments, GRIDS[grid], seeds, world)
                shown = " | ".join(f"{100 * rates[name]:.1f}" for name in COLUMNS.values())
                print(f"| {world} | {grid} | {seeds} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
