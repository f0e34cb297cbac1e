"""What a reader sees of one comparison."""

from typing import Any

from ablab.config.shown import Displayed, Shown
from ablab.read.measured import shown


class ShownComparison(Displayed):
    """Shows a comparison: its difference with its interval, the p-value and the verdict."""

    key: str
    value: Any
    reference: Any
    scale: str
    seeds: int
    difference: float | None
    interval: tuple[float, float] | None
    p_adjusted: float | None
    verdict: str
    why_none: str | None
    direction: Any

    def shown(self) -> Shown:
        """The setting with its two values, and one row of the table of effects."""
        interval = self.interval
        verdict = self.direction if self.verdict == "differs" else self.verdict.replace("_", " ")
        row = [
            "" if self.difference is None else shown(self.difference),
            "none" if interval is None else f"[{shown(interval[0])}, {shown(interval[1])}]",
            "" if self.p_adjusted is None else f"{self.p_adjusted:.2g}",
            str(self.seeds),
            verdict or self.verdict,
        ]
        why = () if self.why_none is None else (f"no interval: {self.why_none}",)
        header = [self.scale, "95% interval", "adjusted p", "seeds", "verdict"]
        return Shown(f"{self.key}: {self.value} vs {self.reference}", why, header, [row])
