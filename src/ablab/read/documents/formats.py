"""The documents that ``ablab effects --json`` and ``ablab expect --json`` print.

Within the number of a format, fields are only added: none is renamed, removed or given another
meaning, and a field with a list of possible values gets no other ones. Whatever breaks that gets
the next number.
"""

from collections.abc import Sequence
from typing import Any

from ablab.config.plain_data import plain_data
from ablab.read.calibration import Calibration
from ablab.read.effects.report import Effects
from ablab.read.verdicts import Verdict

EFFECTS = "ablab effects 1"
VERDICTS = "ablab verdicts 1"


def effects_document(experiment: str, found: Effects) -> dict[str, Any]:
    """The document of ``ablab effects EXPERIMENT --json``.

    Args:
        experiment: The name of the experiment.
        found: Its effects.

    Returns:
        Data that JSON can hold, as the schema ``effects`` says.
    """
    document: dict[str, Any] = plain_data(
        {"format": EFFECTS, "experiment": experiment, **found.as_data()}
    )
    return document


def verdicts_document(
    experiment: str,
    found: Sequence[Verdict],
    added: Sequence[str] = (),
    calibration: Calibration | None = None,
) -> dict[str, Any]:
    """The document of ``ablab expect EXPERIMENT --json``.

    Args:
        experiment: The name of the experiment.
        found: The verdicts on its expectations.
        added: The sentences of the expectations that were recorded just now.
        calibration: How often expectations of the store held; None if none counts.

    Returns:
        Data that JSON can hold, as the schema ``verdicts`` says.
    """
    document: dict[str, Any] = plain_data(
        {
            "format": VERDICTS,
            "experiment": experiment,
            "added": list(added),
            "expectations": [each.as_data() for each in found],
            "calibration": None if calibration is None else calibration.as_data(),
        }
    )
    return document
