"""Checks on models by import path."""

from ablab.doctor.check import CHECKS
from ablab.doctor.patient import Patient
from ablab.doctor.subject import as_experiment

UNCOMPILED = [name for name in CHECKS.names() if name != "methods"]
"""The checks that compile nothing; ``test_methods`` covers the other one."""


def patient_of(subject, *overrides):
    """The patient of a subject's first variant."""
    return Patient(as_experiment(subject, *overrides).variants[0].runs[0])


def findings_of(check, subject, *overrides):
    """What one check finds."""
    return CHECKS.find(check, "check").examine(patient_of(subject, *overrides))
