"""The page of curves: templates, scripts, styles and the content security policy."""

import base64
import hashlib
import re
from functools import cache
from importlib import resources

from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, StrictUndefined

from ablab.logbook.glossary import explained, source_words
from ablab.logbook.svg import themed

# The order matters: each file uses definitions from the files before it.
_SCRIPTS = ("data", "state", "scales", "marks", "plot", "hover", "controls", "sections", "main")
# Runs before anything is rendered, so that the static figures do not flash up.
_FIRST = 'document.documentElement.className = "js";'


@cache
def templates() -> Environment:
    """The templates of entries; compiled once, and again after a template has changed."""
    return templates_with()


def templates_with(*others: BaseLoader) -> Environment:
    """New templates of entries, and those of other loaders, which take precedence."""
    environment = Environment(
        loader=ChoiceLoader([*others, PackageLoader("ablab.logbook", "assets")]),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = _cell
    environment.filters["explained"] = explained
    environment.filters["sourced"] = source_words
    environment.filters["themed"] = themed
    return environment


def _cell(value: object) -> str:
    """The text of a cell of a Markdown table, in one line."""
    return re.sub(r"([|\\])", r"\\\1", " ".join(str(value).split()))


def assets(*more: str, connect: str = "'none'") -> dict[str, str]:
    """Scripts and styles to embed in a page, with the policy that allows only these.

    Args:
        more: Further scripts, which come last and can use the definitions of the page's scripts.
        connect: The sources from which scripts may fetch data, as in a ``connect-src`` directive.
    """
    folder = resources.files("ablab.logbook").joinpath("assets")
    read = {
        "uplot_js": folder.joinpath("uplot", "uPlot.iife.min.js").read_text(encoding="utf-8"),
        "uplot_css": folder.joinpath("uplot", "uPlot.min.css").read_text(encoding="utf-8"),
        "page_css": "".join(
            folder.joinpath("page", f"{name}.css").read_text(encoding="utf-8")
            for name in ("page", "sections")
        ),
    }
    parts = [folder.joinpath("page", f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS]
    # All scripts share one scope and define no globals; without a figure, only maps have one.
    page = "\n".join([*parts, *more])
    maps = folder.joinpath("page", "maps.js").read_text(encoding="utf-8")
    page = f'if (document.getElementById("plot")) (() => {{\n{page}\n}})();'
    page = f'(() => {{\n"use strict";\n{maps}\n{page}\n}})();'
    scripts = {"first_js": _FIRST, "uplot_js": read.pop("uplot_js"), "page_js": page}
    return read | scripts | {"policy": policy(*scripts.values(), connect=connect)}


def policy(*scripts: str, connect: str = "'none'") -> str:
    """A Content-Security-Policy that allows only these scripts, and fetching from ``connect``."""
    digests = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    quoted = "'none'"
    return (
        f"default-src 'none'; script-src {digests or quoted}; style-src 'unsafe-inline'; "
        f"img-src data:; connect-src {connect}; base-uri 'none'; form-action 'none'"
    )
