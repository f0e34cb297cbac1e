"""The table of claims over a made-up store."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from ablab.config import InputError
from ablab.logbook.claims.of_recipes import (
    chosen,
    claims_of,
    corrected,
    runnable,
    tally,
)
from ablab.logbook.claims.page import write_page
from ablab.store import Store
from ablab.store.expected import stamp
from ablab.tasks import corpora
from tests.read.filled import fill, grid, leaving
from tests.read.strangers import TRAP

EXPECT = [
    {
        "claim": "the narrower, the later",
        "measure": "leaves(log(10))",
        "falls_with": "model.d_model",
        "figure": "×1.5 per halving",
        "source": "001, Q1",
    },
    {"claim": "it ends | at nothing", "measure": "final(loss)", "below": 1e-9},
]
SIZES = {"quick": {"about": "leaves out all else"}, "full": {"set": {"seeds": 9}}}


def recipe(tmp_path, **more):
    asked = grid(expect=EXPECT, sizes=SIZES, logbook="made-up-logbook") | more
    path = tmp_path / "made.yaml"
    from ruamel.yaml import YAML

    with path.open("w") as file:
        YAML(typ="safe").dump(asked, file)
    return str(path), asked


def curve(keys, seed, steps):
    rng = np.random.default_rng(seed + 100 * keys["model.d_model"] + keys["model.n_heads"])
    return leaving(rng, steps, at=1600 / keys["model.d_model"] + 10 * rng.standard_normal())


def test_claims_have_figure_number_and_verdict(tmp_path):
    path, asked = recipe(tmp_path)
    store, record = fill(tmp_path / "lab", asked, curve)
    found = claims_of([store], path, None)
    assert (found.size, found.about, found.runs) == ("quick", "leaves out all else", 30)
    assert found.logbook == "made-up-logbook"
    assert found.record.id == record.id
    first, second = found.claims
    assert first.outcome == "held"
    assert first.expectation.figure == "×1.5 per halving"
    assert first.ours.startswith(f"{first.verdict.value:.4g} [")
    assert second.outcome == "failed"
    assert tally([found]) == "2 claims: 1 held, 1 failed"


def test_what_was_not_run_is_said(tmp_path):
    path, asked = recipe(tmp_path)
    for stores in ([], [fill(tmp_path / "lab", grid(name="other"), curve)[0]]):
        found = claims_of(stores, path, None)
        assert [each.outcome for each in found.claims] == ["not run"] * 2
        assert found.runs == 0
    other = fill(tmp_path / "lab2", asked, curve)[0]
    assert claims_of([*stores, other], path, "quick").claims[0].outcome == "held"
    assert claims_of([other], path, "full").claims[0].outcome == "not run"


def test_a_claim_about_cells_that_a_size_lacks_was_not_run(tmp_path):
    there = {"measure": "final(loss)", "above": 0, "where": {"model.d_model": 8}}
    lacking = there | {"where": {"model.d_model": 512}}
    compared = there | {"lower_than": {"model.d_model": 512}, "above": None}
    path, asked = recipe(tmp_path, expect=[there, lacking, compared])
    store, _ = fill(tmp_path / "lab", asked, curve)
    assert [each.outcome for each in claims_of([store], path, None).claims] == [
        "held", "not run", "not run",
    ]  # fmt: skip


def test_a_claim_that_says_it_is_of_after_results_is_late_in_any_store(tmp_path):
    path, asked = recipe(tmp_path, expect=[EXPECT[0], EXPECT[1] | {"after_results": True}])
    store, _ = fill(tmp_path / "lab", asked, curve)
    found = claims_of([store], path, None)
    assert [each.verdict.late for each in found.claims] == [False, True]
    write_page([found], tmp_path / "page.md", "ablab claims")
    lines = (tmp_path / "page.md").read_text().splitlines()
    late = [line for line in lines if "written after results had been seen" in line]
    assert len(late) == 1
    assert late[0].startswith("| it ends ")


def test_a_claim_about_a_step_that_a_size_does_not_reach_was_not_run(tmp_path):
    expect = [{"measure": f"at(loss, {step})", "above": 0} for step in (400, 401)]
    path, asked = recipe(tmp_path, expect=expect)
    store, _ = fill(tmp_path / "lab", asked, curve)
    outcomes = [each.outcome for each in claims_of([store], path, None).claims]
    assert outcomes == ["held", "not run"]


def test_an_expectation_added_to_the_recipe_later_is_judged_too(tmp_path):
    path, asked = recipe(tmp_path)
    store, record = fill(tmp_path / "lab", asked, curve)
    more = {"measure": "final(loss)", "above": 1e-9}
    path, asked = recipe(tmp_path, expect=[*EXPECT, more])
    assert [each.outcome for each in claims_of([store], path, None).claims] == [
        "held", "failed", "held",
    ]  # fmt: skip
    stamp(store, record, claims_of([store], path, None).asked.expectations)
    assert claims_of([store], path, None).claims[2].verdict.late


def test_a_recipe_that_cannot_be_made_here_has_its_claims(tmp_path):
    task = {"kind": "text", "corpus": str(tmp_path / "no such corpus.txt")}
    path, _ = recipe(tmp_path, task=task)
    with pytest.raises(InputError, match="no such corpus") as caught:
        runnable(path, None)
    found = claims_of([], path, None, caught.value.problems[0].message)
    assert [each.outcome for each in found.claims] == ["not run"] * 2
    write_page([found], tmp_path / "page.md", "ablab claims")
    assert f"Not run here ({found.lacking})" in (tmp_path / "page.md").read_text()


def test_a_recipe_is_found_without_its_module_and_its_corpus(tmp_path, monkeypatch):
    """By its definition: once with a module that is gone, once with a corpus that is gone."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.txt").write_text("to be or not to be\n" * 40)
    module = tmp_path / "gone_norms.py"
    module.write_text("def norm(d, bias):\n    import torch\n    return torch.nn.Identity()\n")
    for name, parts in {
        "words": {"task": {"kind": "text", "corpus": "words.txt", "seq_len": 4}},
        "norms": {"model": {"norm": "gone_norms:norm"}},
    }.items():
        path, asked = recipe(tmp_path, name=name, **parts)
        fill(tmp_path / "lab", asked, curve)[0].close()
        (tmp_path / "words.txt").unlink(missing_ok=True)
        module.write_text(TRAP.format(marker=str(tmp_path / "imported")))
        sys.modules.pop("gone_norms", None)
        found = claims_of([Store(tmp_path / "lab")], path, None)
        assert [each.outcome for each in found.claims] == ["held", "failed"]
        module.write_text("def norm(d, bias):\n    import torch\n    return torch.nn.Identity()\n")
    assert not (tmp_path / "imported").exists()


def test_of_two_experiments_with_one_definition_the_last_counts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = {"kind": "text", "corpus": "words.txt", "seq_len": 4}
    path, asked = recipe(tmp_path, task=task)
    records = []
    for words in ("to be or not to be\n", "that is the question\n"):
        for cached in (corpora.read_corpus, corpora.corpus_digest, corpora.corpus_characters):
            cached.cache_clear()
        (tmp_path / "words.txt").write_text(words * 40)
        store, record = fill(tmp_path / "lab", asked, curve)
        records.append(record.id)
        assert claims_of([store], path, None).record.id == record.id
    assert len(set(records)) == 2


def test_the_page_has_claims_numbers_and_what_is_written_by_hand(tmp_path):
    path, asked = recipe(tmp_path)
    store, _ = fill(tmp_path / "lab", asked, curve)
    page = tmp_path / "logbooks.md"
    by_hand = tmp_path / "logbooks"
    by_hand.mkdir()
    (by_hand / "FINDINGS.md").write_text("Words for all.\n")
    (by_hand / "FINDINGS-made-up-logbook.md").write_text("The *second* claim failed.\n")
    for _ in range(2):  # nothing is lost by writing it again
        write_page([claims_of([store], path, None)], page, "ablab claims made")
        text = page.read_text()
        assert "Words for all." in text
        assert "The *second* claim failed." in text
    assert "leaves out all else" in text
    assert "×1.5 per halving" in text
    assert r"it ends \| at nothing" in text
    assert "**held**" in text and "**failed**" in text
    assert "2 claims: 1 held, 1 failed" in text
    assert "torch 0" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace(r"\|", "").count("|") for line in rows} == {6}


def test_a_size_that_a_recipe_lacks_is_an_error(tmp_path):
    path, _ = recipe(tmp_path)
    with pytest.raises(InputError, match="there is no size 'fulll'"):
        claims_of([], path, "fulll")


def test_names_are_recipes_logbooks_and_files():
    assert chosen(["addition", "addition"]) == ["addition"]
    assert set(chosen(["attention-norms"])) == {"attention-norms", "attention-norms-bugs"}
    assert chosen(["attention-norms-bugs"]) == ["attention-norms-bugs"]
    assert chosen(["mine.yaml"]) == ["mine.yaml"]
    assert "addition" not in chosen([])
    with pytest.raises(InputError, match=r"did you mean attention-norms\?"):
        chosen(["attention-nroms"])


def test_claims_of_a_logbook_are_corrected_together(tmp_path):
    more = [{"measure": "final(loss)", "below": 1e-9} for _ in range(2)]
    more[1]["below"] = 1e-8
    path, asked = recipe(tmp_path, expect=[*EXPECT[:1], *more])
    store, _ = fill(tmp_path / "lab", asked, curve)
    (found,), families = corrected([claims_of([store], path, None)])
    assert set(families) == {"made-up-logbook"}
    assert families["made-up-logbook"].tested == 3
    assert [each.corrected for each in found.claims] == ["held", "failed", "failed"]
    first = found.claims[0]
    assert first.adjusted == pytest.approx(min(3 * first.verdict.p, 1), rel=0.7)
    assert found.as_data()["claims"][0]["corrected"] == "held"
    write_page([found], tmp_path / "page.md", "ablab claims")
    page = (tmp_path / "page.md").read_text()
    assert "3 of 3 tested claims are decided at the 5% level; chance alone would" in page
    assert "| **held** | held |" in page


def test_runs_that_recipes_share_are_counted_once(tmp_path):
    path, asked = recipe(tmp_path)
    store, _ = fill(tmp_path / "lab", asked, curve)
    (tmp_path / "more").mkdir()
    other, more = recipe(tmp_path / "more", name="wider", seeds=2)
    fill(tmp_path / "lab", more, curve)
    both = [claims_of([store], each, None) for each in (path, other)]
    assert [each.runs for each in both] == [30, 12]
    both = [replace(each, seconds_by_run=dict.fromkeys(each.seconds_by_run, 2.0)) for each in both]
    assert [each.seconds for each in both] == [60, 24]
    write_page(both, tmp_path / "page.md", "ablab claims")
    line = next(
        line for line in (tmp_path / "page.md").read_text().splitlines() if ", by `" in line
    )
    assert ": 30 runs, 60 s of training." in line
