"""Every public object is short as text, and shows a table without running what names say."""

import re

import pytest
from rich.cells import cell_len

import ablab
from ablab.doctor.check import Finding
from ablab.doctor.report import Outcome, Report
from ablab.read.tuning_report import TunedSetting
from tests.read.test_tuning import report

OBJECTS = {
    "experiment": lambda result, store: result.experiment,
    "variant": lambda result, store: result.experiment.variants[0],
    "result": lambda result, store: result,
    "results": lambda result, store: result.table(),
    "store": lambda result, store: store,
    "experiments": lambda result, store: store.experiments,
    "experiment record": lambda result, store: store.experiments[0],
    "runs": lambda result, store: store.runs(),
    "run record": lambda result, store: store.runs()[0],
    "run": lambda result, store: store.run(result.runs[0].run),
    "readings": lambda result, store: store.readings("widths"),
    "reading": lambda result, store: next(iter(store.readings("widths").values())),
    "effects": lambda result, store: store.effects("widths"),
    "verdicts": lambda result, store: store.verdicts("widths"),
    "verdict": lambda result, store: store.verdicts("widths")[0],
    "findings": lambda result, store: ablab.analyze(
        store.run(result.runs[0].run), "parameter_norms", store=store.store
    ),
    "plan": lambda result, store: ablab.plan(
        result.experiment, store=store.store.path, workers=1, quiet=True
    ),
    "replay report": lambda result, store: store.replay(
        result.runs[0].run, (1, 2), watch=["grad/*/max_abs"]
    ),
    "run of an experiment": lambda result, store: result.experiment.runs[0],
    "comparison": lambda result, store: store.effects("widths").factorial[0],
    "plot": lambda result, store: result.plot(),
    "tuning": lambda result, store: report(TunedSetting("train.lr", 1e-4, None, "low")),
}


@pytest.fixture(scope="module", params=OBJECTS)
def shown(request, result, store):
    return request.param, OBJECTS[request.param](result, store)


def test_text_has_at_most_ten_lines_of_80_columns(shown):
    lines = repr(shown[1]).splitlines()
    assert 1 <= len(lines) <= 10
    assert max(map(cell_len, lines)) <= 80


def test_html_escapes_names_and_has_no_script(shown):
    html = shown[1]._repr_html_()
    assert type(html) is str  # marimo shows nothing for a subclass
    assert html.startswith('<div class="ablab-out"><style>')
    assert "<script" not in html
    assert "<b>wider" not in html
    # Whatever is opened is closed, so that an output cannot change what follows it.
    for name in ("div", "table", "tr", "td", "figure", "details", "svg", "p"):
        assert len(re.findall(rf"<{name}\b[^>]*[^/]>|<{name}>", html)) == html.count(f"</{name}>")


@pytest.mark.parametrize("name", ["experiment", "result", "store", "experiments"])
def test_the_question_is_shown_as_it_was_written(name, result, store):
    html = OBJECTS[name](result, store)._repr_html_()
    assert "Does &lt;script&gt;alert(1)&lt;/script&gt; &amp; a wider model help?" in html


def test_a_report_of_the_doctor():
    found = Finding("leak", "logits change with <later> tokens", "mask", "certain")
    outcomes = [Outcome(f"check{n}", f"claim {n}", ("base",)) for n in range(30)]
    outcomes.append(Outcome("future", "the future is hidden", ("base",), (found,)))
    report = Report("mine", tuple(outcomes))
    lines = repr(report).splitlines()
    assert lines[0] == "mine: 1 finding"
    assert lines[1] == "future: leak"
    assert len(lines) <= 10
    html = report._repr_html_()
    assert html.index("FINDING") < html.index("check0")  # findings come first
    assert html.count("<tr>") == 21
    assert "and 11 more: print(report)" in html
    assert str(report).count("claim ") == 30  # print(report) still says everything


def test_lists_are_lists(result, store):
    assert isinstance(store.runs(), list)
    assert [each.run for each in store.runs("widths")] == [each.run for each in result.runs]
    assert set(store.readings("widths")) == {each.run for each in result.runs}
    assert "6 runs: 6 finished" in repr(store.runs())
    assert repr(store.readings("widths")).startswith("6 readings of train_loss")
    assert "1 expectation: 1 " in repr(store.verdicts("widths"))


def test_the_table_has_the_median_and_the_range_over_seeds(result):
    frame = result.table().frame
    assert frame["model.d_model"].to_list() == [8, 16]
    assert frame["runs"].to_list() == frame["ended"].to_list() == [3, 3]
    losses = sorted(each.eval_loss for each in result.runs if each.variant["model.d_model"] == 8)
    row = frame.row(0, named=True)
    assert [row[f"eval_loss{end}"] for end in ("/low", "", "/high")] == losses
    assert result._repr_html_().count('<svg class="strip"') == 3 * 2  # three measures, two variants


def test_damaged_metrics_are_told_by_a_display(tmp_path):
    asked = ablab.experiment(
        {
            "name": "damaged",
            "task": {"kind": "addition", "n_digits": 1},
            "model": {"d_model": 8, "n_heads": 1},
            "train": {"steps": 2, "batch_size": 4},
        }
    )
    result = ablab.run(asked, store=tmp_path / "lab", workers=1, compile="off", quiet=True)
    for part in (tmp_path / "lab" / "metrics").rglob("*.parquet"):
        part.write_bytes(b"")
    run = ablab.open(tmp_path / "lab").run(result.runs[0].run)
    html = run._repr_html_()
    assert run.id in html  # its settings are shown, without curves
    assert "<figure>" not in html
    assert "a metrics part is damaged" in html
    assert "a metrics part is damaged" in result._repr_html_()
    assert "a metrics part is damaged" in repr(result)
