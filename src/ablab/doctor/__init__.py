"""Checks that a model and a task are what they claim to be, and explains the cause if not.

The package and its main function share a name, so the package itself can be called:
``ablab.doctor("addition")``.

Modules:

- ``check``: the interface of a check and its decorator.
- ``checks``: the checks, one per file.
- ``examine``: :func:`doctor`, which runs the checks.
- ``influence``: which logits change when a token changes.
- ``meant``: findings that are meant.
- ``messages``: helpers that format evidence.
- ``patient``: the run under examination, with its task, batches and models.
- ``report``: :class:`Report`, the result of an examination.
- ``subject``: turns a user's argument into an experiment.
- ``unregistered``: finds tensors and modules that are not registered with a model.
"""

import sys
from types import ModuleType

from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.examine import doctor
from ablab.doctor.patient import Patient
from ablab.doctor.report import Outcome, Report

__all__ = ["Finding", "NotApplicable", "Outcome", "Patient", "Report", "check", "doctor"]


class _Room(ModuleType):
    """The type of this module; calling the module calls :func:`doctor`."""

    __call__ = staticmethod(doctor)


sys.modules[__name__].__class__ = _Room
