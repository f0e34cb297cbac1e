"""Checks that a model and a task are what they claim to be, and explains the cause if not.

The package and its main function share a name, so the package itself can be called:
``ablab.doctor("addition")``.

Modules:

- ``attention_calls``: the calls that make attention weights, with queries, keys, values, masks.
- ``check``: the interface of a check and its decorator.
- ``checks``: the checks, one per file.
- ``composite``: opens torch's attention, so that the calls in it are seen.
- ``detached``: compares gradients with differences of the loss.
- ``examine``: :func:`doctor`, which runs the checks.
- ``future``: why predictions see later tokens.
- ``growth``: states that grow with each position.
- ``heads``: heads that are equal, averaged, or share keys and values in an unusual order.
- ``hidden_keys``: keys that attention hides from every query.
- ``influence``: which logits change when a token changes.
- ``locate``: the module in which a leak begins.
- ``mask_faults``: masks that show later positions, and softmaxes over another axis.
- ``meant``: findings that are meant.
- ``messages``: helpers that format evidence.
- ``operations``: the operation in which a leak begins.
- ``parts``: recognises norms, and users' modules.
- ``patient``: the run under examination, with its task, batches and models.
- ``report``: :class:`Report`, the result of an examination.
- ``residual``: residual connections that are added more than once.
- ``scale_faults``: by what q·k is multiplied.
- ``subject``: turns a user's argument into an experiment.
- ``trace``: records a pass.
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
