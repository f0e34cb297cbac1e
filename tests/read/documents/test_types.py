from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from ablab.read.documents import types
from ablab.read.documents.attributes import attribute_descriptions, description, in_json
from ablab.read.documents.types import Definitions


@dataclass
class Part:
    """A part.

    It has a second paragraph; see :func:`parts.of`.

    Attributes:
        name: Its name, over
            two lines; None if it has none.
        ends: Its ``ends``.
    """

    name: str | None
    ends: tuple[float, float]

    @property
    def long(self) -> bool:
        """Whether it is long."""
        return True

    def words(self) -> list[str]:
        """Its words.

        Returns:
            A list.
        """
        return []


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (int, {"type": "integer"}),
        (bool | None, {"type": ["boolean", "null"]}),
        (Literal["b", "a"] | None, {"type": ["string", "null"], "enum": ["a", "b", None]}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (Mapping[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (
            tuple[int, str],
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}],
             "minItems": 2, "maxItems": 2},
        ),
        (list[Any], {"type": "array", "items": {"$ref": "#/$defs/SettingValue"}}),
        (Part | None, {"anyOf": [{"$ref": "#/$defs/Part"}, {"type": "null"}]}),
    ],
)  # fmt: skip
def test_types(hint, expected, monkeypatch):
    monkeypatch.setitem(types.UNITS, "Part.ends", "meters")
    assert Definitions({}).of_type(hint) == expected


def test_a_class(monkeypatch):
    monkeypatch.setitem(types.UNITS, "Part.ends", "meters")
    monkeypatch.setattr(types, "END_OVERFLOWS", {"Part.ends"})
    made = Definitions({Part: ("long", "words")}).of_class(Part)
    assert made["description"] == "A part. It has a second paragraph; see `parts.of`."
    assert made["required"] == ["name", "ends", "long", "words"]
    name, ends, long, words = made["properties"].values()
    told = "Its name, over two lines; null if it has none."
    assert name == {"description": told, "type": ["string", "null"]}
    assert ends["description"] == "Its `ends`. An end that is not finite is null. Unit: meters."
    assert ends["prefixItems"] == [{"type": ["number", "null"]}] * 2
    assert long == {"description": "Whether it is long.", "type": "boolean"}
    assert words["description"] == "Its words."


def test_a_number_without_a_unit_or_an_attribute_without_a_description_is_an_error():
    with pytest.raises(KeyError, match=r"Part\.ends"):
        Definitions({}).of_class(Part)
    bare = dataclass(type("Bare", (), {"__doc__": "Bare.", "__annotations__": {"name": str}}))
    with pytest.raises(KeyError, match="name"):
        Definitions({}).of_class(bare)


def test_docstrings():
    assert attribute_descriptions(int) == {}
    assert list(attribute_descriptions(Part)) == ["name", "ends"]
    assert description(Part.words) == "Its words."
    assert in_json("None if ``a``.\nNone else, or None.") == "Null if `a`. Null else, or null."
