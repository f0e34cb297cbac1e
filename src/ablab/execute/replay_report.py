"""What a replay found."""

from dataclasses import dataclass, field

from ablab.config import counted
from ablab.config.shown import Displayed, Shown

TOLERANCE = 1e-4
"""The largest relative difference of losses that agree, over 100 steps."""


@dataclass(frozen=True, repr=False)
class ReplayReport(Displayed):
    """The result of a replay.

    Attributes:
        run: The run.
        start: The step of the state from which it was trained again.
        compared: The number of losses that were compared with stored ones.
        equal: The number of losses that are equal bit for bit.
        difference: The largest relative difference; 0 if none was compared.
        where: The step of that difference; None if all losses are equal.
        first_difference: The first step whose loss differs; None if all losses are equal.
        added: Whether statistics and captures were added to the store.
        columns: The statistics that were computed.
        rows: The number of steps for which they were computed.
        captured: The steps after which tensors were captured.
        methods: The titles of the methods that trained the steps.
        notes: Why another method than the stored one trained them.
        note: What else should be known, in one line; None if nothing.
    """

    run: str
    start: int
    compared: int
    equal: int
    difference: float
    where: int | None
    first_difference: int | None
    added: bool
    columns: tuple[str, ...]
    rows: int
    captured: list[int]
    methods: list[str]
    note: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether the losses agree within 1e-4 relative, as guaranteed over 100 steps.

        Steps that were trained without a stored loss to compare with agree with nothing.
        """
        return self.difference <= TOLERANCE and not self._unknown

    @property
    def _unknown(self) -> bool:
        return bool(self.methods) and not self.compared

    @property
    def heading(self) -> str:
        """The run, from where it was trained again, and how."""
        how = "; ".join(self.methods) or "its snapshot has the tensors"
        return f"run {self.run}, retrained from step {self.start} ({how})"

    @property
    def losses(self) -> str:
        """How the losses compare with the stored ones."""
        if self._unknown:
            return "losses: the store has none of these steps, so there is nothing to compare with"
        if not self.methods:
            return "losses: no step was trained again"
        if self.where is None:
            return f"losses: all {self.compared} are equal to the stored ones, bit for bit"
        return (
            f"losses: {self.equal} of {self.compared} are equal to the stored ones, bit for bit; "
            f"first difference at step {self.first_difference}, largest relative difference "
            f"{self.difference:.2g} at step {self.where}"
        )

    @property
    def additions(self) -> list[str]:
        """What was added to the store."""
        if not self.added:
            return []
        found = []
        if self.columns:
            statistics = counted(len(self.columns), "statistic")
            found.append(f"added: {statistics} at {counted(self.rows, 'step')}")
        if self.captured:
            first = ", ".join(map(str, self.captured[:12]))
            more = ", …" if len(self.captured) > 12 else ""
            found.append(f"captured: after steps {first}{more}")
        return found

    def shown(self) -> Shown:
        """How the losses compare, and what was added."""
        nothing = [] if self.added or not (self.columns or self.captured) else ["nothing was added"]
        notes = [] if self.note is None else [self.note]
        said = [self.losses, *self.additions, *nothing, *self.notes, *notes]
        return Shown(self.heading, said)
