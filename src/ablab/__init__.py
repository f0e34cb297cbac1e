"""ablab: a lab bench for small transformers.

Public names are loaded on first use, so that ``import ablab`` is fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"
__all__ = [
    "analyze",
    "doctor",
    "experiment",
    "geomspace",
    "gradients",
    "linspace",
    "loguniform",
    "open",
    "plan",
    "recipes",
    "replace",
    "run",
    "sobol",
    "uniform",
    "watch",
]

_HOMES = {
    "analyze": "ablab.api",
    "doctor": "ablab.doctor",
    "experiment": "ablab.experiments",
    "recipes": "ablab.experiments",
    "plan": "ablab.api",
    "run": "ablab.api",
    "open": "ablab.api",
    "watch": "ablab.model.interventions",
    "replace": "ablab.model.interventions",
    "gradients": "ablab.model.interventions",
    "geomspace": "ablab.experiments.sweeps",
    "linspace": "ablab.experiments.sweeps",
    "loguniform": "ablab.experiments.sweeps",
    "sobol": "ablab.experiments.sweeps",
    "uniform": "ablab.experiments.sweeps",
}

if TYPE_CHECKING:
    from ablab.api import analyze, open, plan, run
    from ablab.doctor import doctor
    from ablab.experiments import experiment, recipes
    from ablab.experiments.sweeps import geomspace, linspace, loguniform, sobol, uniform
    from ablab.model.interventions import gradients, replace, watch


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ablab' has no attribute {name!r}")
    home = importlib.import_module(_HOMES[name])
    # A package with the same name as its function (ablab.doctor) is itself callable.
    value = home if home.__name__ == f"{__name__}.{name}" else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
