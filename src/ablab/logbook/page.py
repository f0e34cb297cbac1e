"""The page of curves: its templates, scripts and styles, and what a browser may do with it."""

import base64
import hashlib
import re
from importlib import resources

from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, StrictUndefined

# In this order: each uses what the files before it define.
_SCRIPTS = ("data", "state", "scales", "marks", "plot", "hover", "controls", "main")
# Before anything is shown, so that what stands in for the figure does not flash up.
_FIRST = 'document.documentElement.className = "js";'


def templates(*others: BaseLoader) -> Environment:
    """The templates of entries, and those of other loaders, which come first."""
    environment = Environment(
        loader=ChoiceLoader([*others, PackageLoader("ablab.logbook", "assets")]),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = lambda value: re.sub(r"([|\\])", r"\\\1", str(value))
    return environment


def assets(*more: str, connect: str = "'none'") -> dict[str, str]:
    """Scripts and styles to stand inside a page, with the policy that admits these alone.

    Args:
        more: Further scripts, which come last and see what the page's own define.
        connect: Where the page's scripts may ask for data.
    """
    folder = resources.files("ablab.logbook").joinpath("assets")
    read = {
        "uplot_js": folder.joinpath("uplot", "uPlot.iife.min.js").read_text(encoding="utf-8"),
        "uplot_css": folder.joinpath("uplot", "uPlot.min.css").read_text(encoding="utf-8"),
        "page_css": folder.joinpath("page", "page.css").read_text(encoding="utf-8"),
    }
    parts = [folder.joinpath("page", f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS]
    # One scope for all of them, outside of which they leave nothing; no figure, no script.
    page = "\n".join([*parts, *more])
    page = f'if (document.getElementById("plot")) (() => {{\n"use strict";\n{page}\n}})();'
    scripts = {"first_js": _FIRST, "uplot_js": read.pop("uplot_js"), "page_js": page}
    return read | scripts | {"policy": policy(*scripts.values(), connect=connect)}


def policy(*scripts: str, connect: str = "'none'") -> str:
    """A Content-Security-Policy by which only these scripts run, and nothing is fetched."""
    digests = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    quoted = "'none'"
    return (
        f"default-src 'none'; script-src {digests or quoted}; style-src 'unsafe-inline'; "
        f"img-src data:; connect-src {connect}; base-uri 'none'; form-action 'none'"
    )
