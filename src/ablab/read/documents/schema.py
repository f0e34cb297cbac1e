"""The JSON Schema (draft 2020-12) of each document, from the types and docstrings of its classes.

A schema describes what this release writes. It does not forbid further fields, so that it accepts
the documents of later releases with the same format, too.
"""

import json
from typing import Any, Literal

from ablab.read.calibration import Calibration
from ablab.read.documents.formats import EFFECTS, VERDICTS
from ablab.read.documents.types import Definitions, Schema
from ablab.read.effects.compare import Comparison
from ablab.read.effects.interactions import Contrast, Interaction
from ablab.read.effects.report import Effects
from ablab.read.effects.scaling import Fit
from ablab.read.effects.trends import Trend
from ablab.read.verdicts import Verdict

Document = Literal["effects", "verdicts"]
DOCUMENTS: tuple[Document, ...] = ("effects", "verdicts")

_FURTHER: dict[type, tuple[str, ...]] = {
    Effects: ("sentences", "notes"),
    Comparison: ("within_margin", "direction", "seeds_to_detect", "seeds_for_equivalence"),
    Contrast: ("interacts",),
    Interaction: ("exists",),
    Fit: ("holds",),
    Trend: ("exists", "at_end"),
    Verdict: ("state",),
}
_FORMAT = (
    "The format of the document. Within its number, fields are only added, never renamed, removed "
    "or given another meaning."
)
_COMPATIBLE = (
    "Later releases of ablab may add fields. Texts for readers (sentences, notes, reasons, "
    "evidence) may be worded differently."
)


def schema(document: Document) -> Schema:
    """The JSON Schema of a document.

    Args:
        document: ``effects`` (of ``ablab effects --json``) or ``verdicts`` (of ``ablab expect
            --json``).
    """
    definitions = Definitions(_FURTHER)
    made = _effects(definitions) if document == "effects" else _verdicts(definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **made,
        "$defs": dict(sorted(definitions.found.items())),
    }


def schema_text(document: Document) -> str:
    """The JSON Schema of a document, as the text of a file."""
    return json.dumps(schema(document), indent=1, ensure_ascii=False) + "\n"


def _effects(definitions: Definitions) -> Schema:
    made = definitions.of_class(Effects)
    about = "The experiment, as it was named on the command line; of a YAML file, the name in it."
    fields = {**_head(EFFECTS, about), **made["properties"]}
    text = f"{made['description']} What `ablab effects EXPERIMENT --json` prints. {_COMPATIBLE}"
    return _document(EFFECTS, text, fields)


def _verdicts(definitions: Definitions) -> Schema:
    fields = {
        **_head(VERDICTS, "The name of the experiment."),
        "added": {
            "description": "The sentences of the expectations that this command recorded; empty "
            "if it only listed them.",
            "type": "array",
            "items": {"type": "string"},
        },
        "expectations": {
            "description": "The verdict on each expectation of the experiment, in the order in "
            "which they were written.",
            **definitions.of_type(tuple[Verdict, ...]),
        },
        "calibration": {
            "description": "How often expectations held, of all experiments in the store; null if "
            "no expectation counts.",
            **definitions.of_type(Calibration | None),
        },
    }
    text = "The verdicts on the expectations of an experiment. What `ablab expect EXPERIMENT "
    return _document(VERDICTS, f"{text}--json` prints. {_COMPATIBLE}", fields)


def _head(name: str, about: str) -> dict[str, Any]:
    return {
        "format": {"description": _FORMAT, "type": "string", "const": name},
        "experiment": {"description": about, "type": "string"},
    }


def _document(title: str, text: str, fields: dict[str, Any]) -> Schema:
    return {
        "title": title,
        "description": text,
        "type": "object",
        "properties": fields,
        "required": list(fields),
    }
