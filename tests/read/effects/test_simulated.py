"""A small round of the simulation study; `python benchmarks/effects.py` is the real one."""

import importlib.util
from pathlib import Path

import pytest

STUDY = Path(__file__).resolve().parents[3] / "benchmarks" / "effects.py"


@pytest.fixture(scope="module")
def rates():
    spec = importlib.util.spec_from_file_location("effects_study", STUDY)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.study(150, (2, 3), 5, "normal")


@pytest.mark.parametrize("sort", ["marginal", "factorial", "contrast", "slope"])
def test_intervals_cover_the_truth(rates, sort):
    assert 0.91 < rates[f"{sort} interval covers"] < 0.99


@pytest.mark.parametrize("table", ["marginal", "factorial"])
def test_false_findings_are_rare(rates, table):
    assert rates[f"{table} false finding"] < 0.1
    assert rates[f"{table} false finding, some matter"] < 0.1
    assert rates[f"{table} false equivalence in a table"] < 0.1


def test_false_interactions_are_rare(rates):
    assert rates["false interaction"] < 0.1
    assert rates["false contrast"] < 0.1
