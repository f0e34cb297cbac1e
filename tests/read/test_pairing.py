"""Verdicts and effects pair runs by seed by the same rule, so that they do not contradict."""

import numpy as np
import pytest

from ablab.read.effects.stored import experiment_effects
from ablab.read.verdicts import verdicts
from tests.read.filled import fill, grid

HEADS = {"model.n_heads": [1, 4]}
HIGHER = "final(loss) is higher where model.n_heads=1 than where model.n_heads=4"
SAME = "final(loss) is the same where model.n_heads=1 as where model.n_heads=4 within 0.05"


def stored(path, luck, texts):
    """Runs that end 0.02 lower with four heads, the base; seeds differ by ``luck``."""

    def curve(keys, seed, steps):
        heads = keys["model.n_heads"]
        noise = np.random.default_rng([seed, heads]).normal(scale=0.01)
        level = 1 + luck * np.random.default_rng(seed).normal() - 0.02 * (heads == 4) + noise
        return np.full(len(steps), level)

    return fill(path / "lab", grid(steps=40, seeds=6, grid=HEADS, expect=texts), curve)


@pytest.mark.parametrize(("luck", "paired"), [(0.0, False), (0.2, True)])
def test_a_verdict_has_the_interval_and_the_test_of_effects(tmp_path, luck, paired):
    store, record = stored(tmp_path, luck, [HIGHER, SAME])
    higher, same = verdicts(store, record)
    (found,) = experiment_effects(
        store, record, measure="final(loss)", scale="difference", margin=0.05
    ).factorial
    assert found.paired == paired
    assert higher.value == pytest.approx(found.difference)
    assert higher.interval == pytest.approx(found.interval)
    assert higher.p == pytest.approx(found.p)
    assert same.p == pytest.approx(found.p_equivalence)
    assert (higher.outcome == "held") == (found.verdict == "differs")


@pytest.mark.parametrize(("luck", "outcome"), [(0.3, "held"), (0.0, "held")])
def test_ranks_are_permuted_within_seeds_where_seeds_matter(tmp_path, luck, outcome):
    def curve(keys, seed, steps):
        width, heads = keys.values()
        random = np.random.default_rng([seed, width, heads])
        log = luck * np.random.default_rng(seed).normal() + 0.01 * random.normal()
        learnt = width == 16 or seed > 1
        level = (0.01 if learnt else 2.0) * np.exp(log - 0.1 * (heads == 4))
        return np.full(len(steps), level)

    axes = {"model.d_model": [8, 16], "model.n_heads": [1, 4]}
    asked = grid(steps=40, seeds=8, grid=axes, expect=[HIGHER])
    (found,) = verdicts(*fill(tmp_path / "lab", asked, curve))
    assert found.evidence.startswith("14 of 16 vs 14 of 16 runs learnt"), found.evidence
    # All eight seeds are higher with one head: 2 of 2^8 signs, although seeds differ by more.
    paired = luck > 0
    assert (found.p == pytest.approx(2 / 2**8)) == paired
    assert found.outcome == outcome
