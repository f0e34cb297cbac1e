"""Curves of the measures by factor, on made-up evaluations."""

from ablab.logbook.entry import entry_content
from ablab.logbook.factor_curves import factor_curves
from ablab.read.by_factor import by_factor
from ablab.store.metrics import experiment_runs
from tests.read.filled import fill
from tests.read.test_by_factor import ASKED, LEARNT, evaluations


def test_each_value_of_a_factor_is_a_column_of_the_page(tmp_path):
    store, record = fill(tmp_path, ASKED, evaluations(LEARNT))
    runs = experiment_runs(store, record)
    found = by_factor(store, record, runs)
    curves = factor_curves(found, runs)
    columns = [name for each in found.factors for name in each.columns.values()]
    assert list(curves) == columns and len(columns) >= 4
    (band,) = curves[columns[0]]
    own = found.frame.filter(found.frame["run"] == runs[0].run)[columns[0]].drop_nulls()
    seeds = [each.values for each in band.seeds] or [band.values]
    assert own.to_list() in [list(each) for each in seeds]
    content = entry_content(store, record)
    assert f'"{columns[0]}"' in content["plot"].data
    assert content["titles"][columns[0]].startswith("held-out ")


def test_without_factors_there_are_no_curves(tmp_path):
    asked = ASKED | {"task": {"kind": "addition"}}
    store, record = fill(tmp_path, asked, lambda keys, seed, steps: 1 / steps)
    runs = experiment_runs(store, record)
    assert factor_curves(by_factor(store, record, runs), runs) == {}
