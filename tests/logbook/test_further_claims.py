"""Claims that are open at the usual size, by a larger one and by added seeds."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from ruamel.yaml import YAML

import ablab
from ablab.experiments.seeds import settling_seeds
from ablab.logbook.claims.further import with_further
from ablab.logbook.claims.of_recipes import claims_of, corrected
from ablab.logbook.claims.page import write_page
from tests.cli.command import run_command
from tests.read.filled import fill_experiment, grid

NARROW = {"model.d_model": 8}
EXPECT = [
    {"claim": "wider is better", "measure": "final(loss)", "where": {"model.d_model": 32},
     "lower_than": NARROW},
    {"claim": "it is above zero", "measure": "final(loss)", "above": 0},
    {"claim": "it is below zero", "measure": "final(loss)", "below": 0},
    {"claim": "much wider is better", "measure": "final(loss)", "where": {"model.d_model": 64},
     "lower_than": NARROW},
]  # fmt: skip
WIDTHS = [8, 16, 32, 64]
SIZES = {
    "quick": {"about": "has three widths"},
    "full": {"about": "has four", "set": {"seeds": 9, "grid": {"model.d_model": WIDTHS}}},
}


@pytest.fixture
def recipe(tmp_path):
    """A recipe whose claims are undecided, held, failed and not run at its usual size."""
    path = tmp_path / "made.yaml"
    asked = grid(steps=50, seeds=2, expect=EXPECT, sizes=SIZES, logbook="made-up-logbook")
    asked["grid"] = {"model.d_model": [8, 16, 32]}
    with path.open("w") as file:
        YAML(typ="safe").dump(asked, file)
    return str(path)


def curve(keys, seed, steps):
    """A loss that falls with the width by as much as it varies between seeds."""
    rng = np.random.default_rng((seed, keys["model.d_model"]))
    return np.full(len(steps), 2 - 0.01 * keys["model.d_model"] + 0.1 * rng.standard_normal())


def filled(path, recipe, **sized):
    return fill_experiment(path, ablab.experiment(recipe, **sized), curve)[0]


def with_added_seeds(path, recipe):
    """A store with the usual size, and with 20 seeds of the narrowest and the widest variant."""
    store = filled(path, recipe)
    seeds = settling_seeds(ablab.experiment(recipe).definition, last=20)
    asked = ablab.experiment(recipe, seeds=seeds)
    fill_experiment(path, asked.with_seeds({0: 20, 1: 2, 2: 20}), curve)
    return store


def further(stores, recipe):
    return with_further(stores, recipe, claims_of(stores, recipe, None))


def test_open_claims_have_the_verdicts_of_a_larger_size(recipe, tmp_path):
    stores = [filled(tmp_path / "lab", recipe), filled(tmp_path / "other", recipe, size="full")]
    found = further(stores, recipe)
    assert [claim.state for claim in found.claims] == ["undecided", "held", "failed", "not run"]
    (full,) = found.further
    assert (full.evidence, full.about, full.runs) == ("size full", "has four", 36)
    assert [(claim.expectation.text, claim.state, claim.seeds) for claim in full.claims] == [
        ("wider is better", "held", 9),
        ("it is below zero", "failed", 9),
        ("much wider is better", "held", 9),
    ]


def test_a_claim_counts_when_all_runs_of_its_cells_have_ended(recipe, tmp_path):
    store = filled(tmp_path / "lab", recipe)
    other = filled(tmp_path / "other", recipe, size="full")
    wide = [run.run for run in other.runs() if run.variant["model.d_model"] == 64]
    with other.index.transaction() as connection:
        connection.execute("UPDATE runs SET step = 10 WHERE id = ?", (wide[3],))
    (full,) = further([store, other], recipe).further
    assert [claim.expectation.text for claim in full.claims] == ["wider is better"]


def test_without_other_runs_nothing_is_added(recipe, tmp_path):
    assert further([], recipe).further == ()
    store = filled(tmp_path / "lab", recipe)
    assert further([store], recipe).further == ()
    full = claims_of([filled(tmp_path / "other", recipe, size="full")], recipe, "full")
    assert with_further([store], recipe, full) is full


def test_added_seeds_say_how_many_there_are(recipe, tmp_path):
    store = with_added_seeds(tmp_path / "lab", recipe)
    (added,) = further([store], recipe).further
    assert added.evidence == "seeds added, up to 20"
    claims = {claim.expectation.text: (claim.state, claim.seeds) for claim in added.claims}
    assert claims["wider is better"] == ("held", 20)
    assert "it is above zero" not in claims, "it is held anyway"


def test_a_settled_claim_stays_settled_while_further_seeds_are_trained(recipe, tmp_path):
    store = with_added_seeds(tmp_path / "lab", recipe)
    last = [r.run for r in store.runs() if r.seed == 19 and r.variant["model.d_model"] == 32]
    with store.index.transaction() as connection:
        connection.execute("UPDATE runs SET step = 10 WHERE id = ?", last)
    (added,) = further([store], recipe).further
    claims = {claim.expectation.text: claim for claim in added.claims}
    assert not claims["wider is better"].complete
    assert claims["wider is better"].state == "held"


def test_the_page_and_the_table_have_them(recipe, tmp_path):
    lab, other = tmp_path / "lab", tmp_path / "other"
    stores = [filled(lab, recipe), filled(other, recipe, size="full")]
    write_page([further(stores, recipe)], tmp_path / "page.md", "ablab claims")
    page = (tmp_path / "page.md").read_text()
    assert "By other evidence, size full, which has four: 36 runs of it, 0 s of training." in page
    row = r"\| much wider is better \| not run \| \*\*held\*\* \| 9 \| `final\(loss\)`: .+ \|"
    assert re.search(row, page)
    arguments = ["claims", recipe, "--store", str(lab), "--also", str(other)]
    _, shown, _ = run_command(*arguments)
    assert re.search(r"size full +much wider is +9 .*held", shown)
    (data,) = json.loads(run_command(*arguments, "--json")[1])["recipes"]
    (full,) = data["further"]
    assert full["evidence"] == "size full" and full["claims"][2]["state"] == "held"
    assert [claim["seeds"] for claim in data["claims"]] == [2, 2, 2, 0]


def test_other_evidence_is_not_part_of_the_correction(recipe, tmp_path):
    stores = [filled(tmp_path / "lab", recipe), filled(tmp_path / "other", recipe, size="full")]
    found = further(stores, recipe)
    (alone,), families = corrected([replace(found, further=())])
    (both,), same = corrected([found])
    assert both.claims == alone.claims and same == families
