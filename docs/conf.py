"""Sphinx configuration. The settings page and the schemas are generated from the code."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from settings_page import settings_page

from ablab.read.documents import DOCUMENTS, schema_text

project = "ablab"
author = "The ablab authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "ablab"
exclude_patterns = ["_build", "logbooks/*"]  # included by the page of claims
myst_heading_anchors = 3
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
nitpicky = True
# Types of other libraries and internal types that attributes mention but the docs do not describe
_INTERNAL = (
    r"(pathlib|numpy|torch|polars|collections|jaxtyping|matplotlib)\..*",
    r"ablab\.(tasks|model|train)\.config\..*",
    r"ablab\.tasks\.base\.Task",
    r"ablab\.model\.base\.Model",
    r"ablab\.config\.base\.Config",
    r".*\.(WatchConfig|SourceDigest|Index|Arrivals|Together|Trend|BestValues|Level)",
    r".*\.(MapCells|Strip|ResultTable|Ladder|Ranking|Speeds|Estimate|ExpectedStop|Method)",
    r"Tensor",
    r"'[A-Z ]+'",  # the axes of a jaxtyping annotation
)
nitpick_ignore_regex = [(r"py:class", "|".join(_INTERNAL))]

(Path(__file__).parent / "settings.md").write_text(settings_page(), encoding="utf-8")
for _name in DOCUMENTS:
    _file = Path(__file__).parent / "schemas" / f"{_name}.json"
    _file.write_text(schema_text(_name), encoding="utf-8")
