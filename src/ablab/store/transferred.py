"""What a transfer between two stores did."""

from dataclasses import dataclass, field

from ablab.config import counted


@dataclass
class Transferred:
    """What a transfer did, by the ids of runs.

    Attributes:
        experiments: The numbers of the experiments in the receiving store.
        added: Runs that the store did not have, or had no step of.
        continued: Runs that the store had fewer steps of.
        present: Runs of which the store had all steps.
        refused: Runs that were left as they were, each with the reason.
    """

    experiments: list[int] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    continued: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> list[str]:
        """What was done, in lines."""
        parts = [
            (self.added, "added"),
            (self.continued, "with more steps than before"),
            (self.present, "already there"),
            (list(self.refused), "left as they are"),
        ]
        told = ", ".join(f"{counted(len(runs), 'run')} {what}" for runs, what in parts if runs)
        reasons: dict[str, list[str]] = {}
        for run, reason in self.refused.items():
            reasons.setdefault(reason, []).append(run)
        lines = [told or "no runs"]
        for reason, runs in reasons.items():
            further = f" and {counted(len(runs) - 3, 'further run')}" if runs[3:] else ""
            lines.append(f"{', '.join(runs[:3])}{further}: {reason}")
        return lines
