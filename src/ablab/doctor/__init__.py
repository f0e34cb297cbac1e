"""Checks that a model and a task are what they claim to be, with causes where they are not.

Names: :func:`ablab.doctor.examine.doctor` examines, :class:`ablab.doctor.report.Report` is what it
returns, :mod:`ablab.doctor.checks` has a file for each check. As the room and its function share a
name, the room itself can be called: ``ablab.doctor("addition")``.
"""

import sys
from types import ModuleType

from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.examine import doctor
from ablab.doctor.patient import Patient
from ablab.doctor.report import Outcome, Report

__all__ = ["Finding", "NotApplicable", "Outcome", "Patient", "Report", "check", "doctor"]


class _Room(ModuleType):
    """This module's own type; a call of the module is a call of :func:`doctor`."""

    __call__ = staticmethod(doctor)


sys.modules[__name__].__class__ = _Room
