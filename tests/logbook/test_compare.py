"""Comparisons of experiments, on made-up stores with planted differences."""

import json

import numpy as np
import pytest

import ablab
from ablab.config import InputError
from ablab.logbook.compare_page import (
    Request,
    compare,
    is_comparison,
    rewrite_comparison,
    write_comparison,
)
from ablab.store.index import StoreError
from ablab.store.store import Store
from tests.logbook.edited_notes import put_notes, read_notes
from tests.read.filled import ENVIRONMENT, fill


def asked(name, lr=1e-3, widths=(8, 16), **more):
    """An experiment over the width, with two more settings in its base."""
    return {
        "name": name,
        "question": f"What of {name}?",
        "task": {"kind": "addition", "n_digits": 2},
        "model": {"n_heads": 1},
        "train": {"steps": 40, "lr": lr, "batch_size": 16},
        "grid": {"model.d_model": list(widths)},
        "seeds": 5,
    } | more


def planted(level):
    """A curve that ends at a level, plus a tenth for width 16 and a little for each seed."""

    def curve(keys, seed, steps):
        end = level + 0.1 * (keys.get("model.d_model") == 16) + 0.001 * seed
        return np.full(len(steps), end)

    return curve


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "lab"
    fill(path, asked("slow"), planted(0.5))
    fill(path, asked("fast", lr=1e-2), planted(0.3))
    return Store(path)


def written(store, *names, **more):
    request = Request(names, **more)
    found = compare(store, request)
    return found, write_comparison(store, request, found)


def test_a_planted_difference_between_experiments_is_found(store):
    found = compare(store, Request(("slow", "fast"), "final(train_loss)"))
    said, difference, *_ = found.findings
    assert said == (
        "The experiments differ in one setting (lr 0.001 vs 0.01); 2 variants in each experiment "
        "are otherwise equal."
    )
    assert difference.startswith("lr 0.01 vs lr 0.001: final training loss is ")
    assert "lower by 0.2" in difference


def test_all_variants_are_rows_of_one_table(store):
    found = compare(store, Request(("slow", "fast"), "final(train_loss)"))
    results, settings = found.tables
    assert results.header[-1] == "final training loss"
    assert [row[:3] for row in results.rows] == [
        ["slow", "d_model 8, lr 0.001", "5 finished"],
        ["slow", "d_model 16, lr 0.001", "5 finished"],
        ["fast", "d_model 8, lr 0.01", "5 finished"],
        ["fast", "d_model 16, lr 0.01", "5 finished"],
    ]
    # The level plus 0, 0.001, 0.002, 0.003 and 0.004.
    assert [row[-1] for row in results.rows] == [
        "0.502 [0.5, 0.504]", "0.602 [0.6, 0.604]", "0.302 [0.3, 0.304]", "0.402 [0.4, 0.404]",
    ]  # fmt: skip
    assert settings.rows == [["train.lr", "0.001", "0.01"], ["model.d_model", "8, 16", "8, 16"]]


def test_several_settings_that_differ_together_are_told(tmp_path):
    path = tmp_path / "lab"
    fill(path, asked("one"), planted(0.5))
    other = asked("two", lr=1e-2)
    other["train"]["batch_size"] = 8
    fill(path, other, planted(0.3))
    found = compare(Store(path), Request(("one", "two"), "final(train_loss)"))
    assert found.findings[0].startswith(
        "The experiments differ in 2 settings together (batch_size 16 vs 8; lr 0.001 vs 0.01), "
        "whose effects cannot be told apart"
    )
    assert found.findings[1].startswith("experiment two vs experiment one: ")


def test_grids_over_one_setting_are_one_grid_together(tmp_path):
    path = tmp_path / "lab"
    fill(path, asked("narrow", widths=(8, 16)), planted(0.5))
    fill(path, asked("wider", widths=(16, 32)), planted(0.5))
    found = compare(Store(path), Request(("narrow", "wider"), "final(train_loss)"))
    assert found.findings[0] == "5 runs belong to more than one of the experiments."
    assert found.findings[1].startswith("d_model 16 vs d_model 8: final training loss is ")
    assert "higher by 0.1" in found.findings[1]
    assert found.findings[2].startswith("d_model 32 vs d_model 8: ")


def test_runs_that_did_not_learn_are_counted_first(tmp_path):
    """Two of five runs stay at the loss of guessing a digit, log 10."""

    def curve(keys, seed, steps):
        return np.full(len(steps), np.log(10) if seed < 2 else 0.1)

    path = tmp_path / "lab"
    fill(path, asked("some", widths=(8,)), curve)
    fill(path, asked("all", lr=1e-2, widths=(8,)), planted(0.3))
    found = compare(Store(path), Request(("some", "all"), "final(train_loss)"))
    assert found.tables[0].rows[0][-1] == "3 of 5 runs learnt: 0.1"
    assert found.tables[0].rows[1][-1] == "0.302 [0.3, 0.304]"


def test_losses_of_different_tasks_are_not_tested(tmp_path):
    path = tmp_path / "lab"
    fill(path, asked("two-digits"), planted(0.5))
    fill(path, asked("three-digits", task={"kind": "addition", "n_digits": 3}), planted(0.3))
    found = compare(Store(path), Request(("two-digits", "three-digits"), "final(train_loss)"))
    assert found.findings == [
        "The tasks differ (n_digits 2 vs 3). Losses of different tasks are not comparable, so no "
        "difference is tested."
    ]


def test_experiments_without_equal_variants_are_not_tested(tmp_path):
    path = tmp_path / "lab"
    fill(path, asked("narrow", widths=(8, 16)), planted(0.5))
    fill(path, asked("wide", lr=1e-2, widths=(32, 64)), planted(0.3))
    found = compare(Store(path), Request(("narrow", "wide"), "final(train_loss)"))
    assert found.findings == [
        "No difference is tested: no variant is in all experiments with equal settings, except for "
        "train.lr."
    ]


def test_runs_that_did_not_reach_a_step_are_counted_first(store):
    found = compare(store, Request(("slow", "fast"), "steps_to(loss, 0.35)"))
    assert [row[-1] for row in found.tables[0].rows] == [
        "0 of 5 runs reached it", "0 of 5 runs reached it", "1", "0 of 5 runs reached it",
    ]  # fmt: skip


def test_the_same_names_in_another_store(store, tmp_path):
    fill(tmp_path / "other", asked("slow", lr=1e-4), planted(0.9))
    found = compare(store, Request(("slow", "fast"), also=(str(tmp_path / "other"),)))
    assert [part.name for part in found.parts] == ["slow", "fast"]
    fill(tmp_path / "third", asked("third"), planted(0.9))
    found = compare(store, Request(("slow", "third"), also=(str(tmp_path / "third"),)))
    assert found.parts[1].entry is None  # it has no page in this logbook


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("slow", "fastt"), "did you mean fast?"),
        (("slow", "slow"), "the same experiment was given twice"),
        (("slow",), "there is nothing to compare with"),
    ],
)
def test_wrong_names(store, names, said):
    with pytest.raises(InputError, match=said.replace("?", r"\?")):
        compare(store, Request(names))


def test_an_experiment_without_ended_runs_is_refused(store):
    later = ablab.experiment(asked("later", lr=1.0))
    store.register(later, "ablab run later", ENVIRONMENT)
    with pytest.raises(InputError, match="no run of later has ended"):
        compare(store, Request(("slow", "later")))


def test_damaged_metrics_are_an_error(store):
    for path in (store.path / "metrics").iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(bytes(content))
    with pytest.raises(StoreError):
        compare(Store(store.path), Request(("slow", "fast"), "final(train_loss)"))
    assert not (store.path / "logbook").exists()


def test_conclusions_are_kept_byte_for_byte(store):
    _, page = written(store, "slow", "fast")
    path = page.with_name("compare.md")
    mine = "### Mine\n\n| a |\n|---|\n```\n## x\n```\n  trailing  \n\nÜ ✓ {{ jinja }}\r\nno end"
    put_notes(path, mine)
    written(store, "slow", "fast")
    assert read_notes(path) == mine
    rewrite_comparison(store, page.parent.name, "and *another*")
    assert read_notes(path).startswith(mine)
    assert read_notes(path).rstrip().endswith("and *another*")
    assert "<em>another</em>" in page.read_text()
    assert page.read_text().index("<em>another</em>") < page.read_text().index('id="curves"')


def test_conclusions_without_their_comment_lines_are_kept(store):
    _, page = written(store, "slow", "fast")
    path = page.with_name("compare.md")
    lines = path.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("<!--")]
    place = kept.index("## Conclusions\n") + 1
    path.write_text("".join([*kept[:place], "Mine.\n", *kept[place:]]))
    rewrite_comparison(store, page.parent.name, "More.")
    assert "Mine.\n" in read_notes(path)
    assert read_notes(path).count("More.") == 1


def test_a_name_stays_with_what_it_compares(store, tmp_path):
    fill(store.path, asked("third", lr=1.0), planted(0.2))
    written(store, "slow", "fast", name="rates")
    written(store, "fast", "slow", name="rates")
    with pytest.raises(InputError, match="compare-rates compares fast, slow"):
        written(store, "slow", "third", name="rates")
    with pytest.raises(InputError, match="this cannot name a page"):
        written(store, "slow", "third", name="../x")


def test_the_logbook_lists_comparisons(store):
    found, page = written(store, "slow", "fast", name="rates", measure="final(train_loss)")
    assert is_comparison(store, "compare-rates")
    text = (store.path / "logbook" / "LOGBOOK.md").read_text()
    assert "## Comparisons\n\n- [slow vs fast](compare-rates/compare.md)" in text
    assert found.findings[0] in text
    page.with_name("compare.json").write_text("{}")
    rewritten, _ = written(store, "slow", "fast", name="rates", measure="final(train_loss)")
    assert json.loads(page.with_name("compare.json").read_text())["findings"] == rewritten.findings


def test_names_and_questions_are_escaped(store):
    evil = "<script>alert(1)</script>"
    fill(store.path, asked("third", lr=1.0, question=evil), planted(0.2))
    _, page = written(store, "slow", "third")
    text = page.read_text()
    assert evil not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
