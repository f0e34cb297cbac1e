"""Checks that a model and a task are what they claim to be, and explains the cause if not.

The package and its main function share a name, so the package itself can be called:
``ablab.doctor("addition")``.

Modules:

- ``attention_calls``: mistakes that calls of softmax and attention show.
- ``check``: the interface of a check and its decorator.
- ``checks``: the checks, one per file.
- ``examine``: :func:`doctor`, which runs the checks.
- ``future``: why predictions see later tokens.
- ``influence``: which logits change when a token changes.
- ``locate``: the module in which a leak begins.
- ``meant``: findings that are meant.
- ``messages``: helpers that format evidence.
- ``parts``: recognises norms, and users' modules.
- ``patient``: the run under examination, with its task, batches and models.
- ``report``: :class:`Report`, the result of an examination.
- ``subject``: turns a user's argument into an experiment.
- ``trace``: records a pass.
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
