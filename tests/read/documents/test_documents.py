"""What the commands print, of experiments of every kind, is what the schemas say."""

import itertools
import json

import numpy as np
import pytest

from ablab.read.calibration import Calibration
from ablab.read.documents import DOCUMENTS, effects_document, schema, verdicts_document
from ablab.read.effects import effects
from ablab.read.verdicts import Verdict
from tests.cli.command import run_command
from tests.read.documents.experiments import STORES
from tests.read.documents.occurrences import occurring, possible
from tests.read.documents.strict import problems, read
from tests.read.effects.made import grid

EXTREME = {f"Fit.{name} is null" for name in ("slope", "step", "factor", "off_by")}
NEVER = {
    # A relation is fitted within all cells, and a stored expectation has its time.
    "effects": {"Scaling.others is base", *EXTREME},
    "verdicts": {"Verdict.written is null"},
}


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    """Every document by what was asked, after it was compared with its schema."""
    found = {"effects": {}, "verdicts": {}}
    for make in STORES:
        path = tmp_path_factory.mktemp(make.__name__) / "lab"
        for arguments in make(path):
            code, out, err = run_command(*arguments, "--store", str(path), "--json", "--quiet")
            asked = " ".join([make.__name__, *arguments])
            assert code == 0, f"{asked}: {err}"
            name = "effects" if arguments[0] == "effects" else "verdicts"
            found[name][asked] = read(name, out)
    return found


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_of_every_kind_are_as_their_schema_says(documents, name):
    """That each possibility occurs shows that the experiments are of every kind."""
    made = schema(name)
    seen = {each for document in documents[name].values() for each in occurring(made, document)}
    assert possible(made) - seen == NEVER[name]


def test_the_documents_name_their_format_and_experiment(documents):
    for name, found in documents.items():
        for asked, document in found.items():
            assert list(document)[:2] == ["format", "experiment"]
            assert document["format"] == f"ablab {name} 1"
            assert document["experiment"] == asked.split()[2]


def test_a_field_more_less_or_of_another_type_is_found(documents):
    """The check itself: a schema that fell behind would be noticed."""
    document = next(iter(documents["effects"].values()))
    first = document["factorial"][0]
    for change in ({"new": 1}, {"verdict": "differ"}, {"seeds": None}, {"interval": [1.0]}):
        wrong = {**document, "factorial": [{**first, **change}]}
        assert len(problems("effects", wrong)) == 1, change
    less = {key: value for key, value in document.items() if key != "cells"}
    assert len(problems("effects", less)) == 1


@pytest.mark.filterwarnings("ignore:The design matrix is rank-deficient")
def test_numbers_that_are_not_finite_are_null():
    """Settings and values at the ends of the range of numbers, where logarithms and factors end."""
    axes = [[1.0, 1.5, 2.0, 3.0], [0.0, 5e-324, 1e-323], [1e308, -1e308, 0.0]]
    values = [(1e-300, 1e300, 1e-5, 1.0), (1e-300, 1.0, 1e300, 1e300), (1.0, 2.0, None, 3.0)]
    seen = set()
    for axis, levels, scale in itertools.product(axes, values, ["ratio", "difference"]):
        by_setting = dict(zip(axis, levels, strict=False))

        def value(setting, seed, each=by_setting):
            return each[setting] and each[setting] * (1 + 0.1 * seed)

        frame = grid({"k": axis}, 3, value)
        with np.errstate(all="ignore"):
            found = effects(frame, ["k"], scale=scale)
        text = json.dumps(effects_document("extreme", found), allow_nan=False)
        seen |= occurring(schema("effects"), read("effects", text))
    assert seen >= EXTREME


def test_documents_are_plain_data_in_python():
    verdict = Verdict("a", "b", "undecided", "c", value=float("nan"), interval=(0.5, float("inf")))
    document = verdicts_document("x", [verdict], ["b"], Calibration(0.5, 1.0, 1, 0.25, ()))
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert problems("verdicts", document) == []
    (found,) = document["expectations"]
    assert (found["value"], found["interval"], found["written"]) == (None, [0.5, None], None)
    assert document["calibration"]["groups"] == []
