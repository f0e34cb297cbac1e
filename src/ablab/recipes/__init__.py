"""The shipped experiments, reached as resources, and the modules that some of them name.

Importing one of these modules makes this package the attribute ``ablab.recipes``, which is also the
name of the function that lists the experiments. So the package can be called, too.
"""

import sys
from types import ModuleType

from ablab.experiments.source import recipes


class _Callable(ModuleType):
    """This package, which lists the shipped experiments when it is called."""

    def __call__(self) -> dict[str, str]:
        return recipes()


sys.modules[__name__].__class__ = _Callable
