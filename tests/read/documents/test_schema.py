"""The schemas: what they say of each field, and that they keep what they promise."""

import json

import pytest
from jsonschema import Draft202012Validator

from ablab.read.documents import DOCUMENTS, schema, schema_text
from ablab.read.documents.types import has_numbers
from ablab.read.documents.units import END_OVERFLOWS, OVERFLOWS, UNITS
from tests.read.documents.outlines import FOLDER, name_of, outline
from tests.read.documents.strict import closed


def fields():
    """The document, the class, the name and the schema of each field."""
    for document in DOCUMENTS:
        made = schema(document)
        root = {"effects": "Effects", "verdicts": "Verdicts"}[document]
        for cls, each in [(root, made), *made["$defs"].items()]:
            for name, field in each.get("properties", {}).items():
                yield pytest.param(cls, name, field, id=f"{document}-{cls}.{name}")


def nullable(field):
    parts = [field, *field.get("anyOf", ()), *field.get("prefixItems", ())]
    return any("null" in each.get("type", ()) for each in parts)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_schema_is_valid_and_its_text_is_the_same_each_time(document):
    made = schema(document)
    Draft202012Validator.check_schema(made)
    assert made["$schema"] == Draft202012Validator.META_SCHEMA["$schema"]
    assert json.loads(schema_text(document)) == made
    assert made["properties"]["format"]["const"] == made["title"]
    for each in [made, *made["$defs"].values()]:
        assert each["description"]
        assert list(each.get("properties", ())) == each.get("required", [])


@pytest.mark.parametrize(("cls", "name", "field"), list(fields()))
def test_a_field_has_a_type_and_says_its_unit_and_when_it_is_null(cls, name, field):
    told = field["description"]
    assert told[0].isupper() or told[0] in "`0123456789"
    assert told.endswith(".")
    assert "None" not in told and "``" not in told and ":class:" not in told
    assert {"type", "$ref", "anyOf"} & field.keys()
    assert nullable(field) <= ("null" in told.lower()), told
    assert has_numbers(field) == (f"Unit: {UNITS.get(f'{cls}.{name}')}." in told)


def test_no_unit_is_left_over():
    known = {f"{each.values[0]}.{each.values[1]}" for each in fields()}
    assert {*UNITS, *OVERFLOWS, *END_OVERFLOWS} <= known


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_format_keeps_its_fields(document):
    """A change that this test finds needs the next number of the format."""
    made = schema(document)
    kept = json.loads((FOLDER / f"{name_of(made)}.json").read_text())
    today = outline(made)
    assert len(kept) > 50
    assert {place: today.get(place) for place in kept} == kept


def test_each_format_that_there_was_is_kept():
    numbers = {document: int(schema(document)["title"].split()[-1]) for document in DOCUMENTS}
    wanted = {f"{name}_{n}.json" for name, most in numbers.items() for n in range(1, most + 1)}
    assert {file.name for file in FOLDER.iterdir()} == wanted


def test_closed_schemas_refuse_further_fields_and_published_ones_do_not():
    made = schema("verdicts")
    whole = {"format": "ablab verdicts 1", "experiment": "a", "added": [], "expectations": [],
             "calibration": None}  # fmt: skip
    more = {**whole, "tomorrow": 1}
    assert Draft202012Validator(made).is_valid(whole)
    assert Draft202012Validator(made).is_valid(more)
    assert Draft202012Validator(closed(made)).is_valid(whole)
    assert not Draft202012Validator(closed(made)).is_valid(more)
    for name in whole:
        less = {key: value for key, value in whole.items() if key != name}
        assert not Draft202012Validator(made).is_valid(less)
    assert not Draft202012Validator(made).is_valid({**whole, "format": "ablab verdicts 2"})
