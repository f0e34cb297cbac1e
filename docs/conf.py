"""Sphinx's configuration. The page of settings is made from the schemas themselves."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from settings_page import settings_page

project = "ablab"
author = "The ablab authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "ablab"
exclude_patterns = ["_build", "logbooks/*"]  # of the page of claims
myst_heading_anchors = 3
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
nitpicky = True
# Types of other libraries and of the inside, named in attributes but not described here.
nitpick_ignore_regex = [
    (
        r"py:class",
        r"(pathlib|numpy|torch|polars)\..*|ablab\.(tasks|model)\.config\..*|ablab\.train\.config\..*|.*\.WatchConfig|ablab\.config\.base\.Config|.*\.Index",
    )
]

(Path(__file__).parent / "settings.md").write_text(settings_page(), encoding="utf-8")
