"""Effects and verdicts as JSON documents for scripts, and the schemas of these documents.

Modules:

- ``attributes``: what a class says about its attributes, as JSON has them.
- ``formats``: the documents, with the names of their formats.
- ``schema``: the JSON Schema of each document.
- ``types``: the JSON Schema of a type and of a class.
- ``units``: the units of the numbers, and which of them may not be finite.
"""

from ablab.read.documents.formats import effects_document, verdicts_document
from ablab.read.documents.schema import DOCUMENTS, schema, schema_text

__all__ = ["DOCUMENTS", "effects_document", "schema", "schema_text", "verdicts_document"]
