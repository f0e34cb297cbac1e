"""What tuning found for each variant, as a table, sentences and plain data."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ablab.config import counted
from ablab.config.shown import Displayed, Shown
from ablab.config.table import output_width, table_lines
from ablab.execute.status import duration
from ablab.experiments.tuning import Tuning
from ablab.experiments.variant import variant_label
from ablab.read.measured import shown
from ablab.store.store import RunRecord

End = Literal["low", "high"]
_LISTED = 5  # variants that a sentence names


@dataclass(frozen=True)
class Cost:
    """What runs cost: their steps, summed over runs, and their seconds of training."""

    run_steps: int
    seconds: float

    @classmethod
    def of(cls, runs: Sequence[RunRecord]) -> "Cost":
        """The cost of some runs."""
        return cls(sum(run.step for run in runs), sum(run.seconds for run in runs))

    def __str__(self) -> str:
        return f"{self.run_steps:,} run-steps, {duration(self.seconds)}"


@dataclass(frozen=True)
class TunedSetting:
    """A tuned setting of a variant.

    Attributes:
        key: Its key.
        value: The value that was chosen; None if no trial has a value of the measure.
        as_good: The least and the greatest value of the trials that are as good as the best; None
            if that is not known.
        end: The end of what was tried, if the best value is there and the range may be too narrow.
    """

    key: str
    value: int | float | None
    as_good: tuple[int | float, int | float] | None = None
    end: End | None = None


@dataclass(frozen=True)
class TunedVariant:
    """What tuning found for a variant.

    Attributes:
        keys: The variant.
        settings: Its tuned settings.
        selected: The measure of the chosen trial: the median over the seeds of the selection.
        reported: The measure on seeds that the selection did not see: their median; None before
            they have ended, or if there is a seed without a value.
        trials: The number of distinct trials.
        without_value: How many of these have no value on some seed, without those that are paused.
        as_good: How many trials are as good as the best, itself included; None with one seed.
        cost: The cost of the trials.
        report_cost: The cost of the reported runs.
        paused: How many trials halving has paused.
    """

    keys: Mapping[str, Any]
    settings: tuple[TunedSetting, ...]
    selected: float | None
    reported: float | None
    trials: int
    without_value: int
    as_good: int | None
    cost: Cost
    report_cost: Cost
    paused: int = 0

    def as_data(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "variant": dict(self.keys),
            "settings": {
                each.key: {"value": each.value, "as_good": each.as_good, "end": each.end}
                for each in self.settings
            },
            "selected": self.selected,
            "reported": self.reported,
            "trials": self.trials,
            "without_value": self.without_value,
            "paused": self.paused,
            "as_good": self.as_good,
            "cost": vars(self.cost),
            "report_cost": vars(self.report_cost),
        }


@dataclass(frozen=True, repr=False)
class TuningReport(Displayed):
    """What tuning found for an experiment.

    Attributes:
        tuning: How it was tuned.
        experiment: The name of the experiment of the trials; None if the store does not have it.
        seeds: The seeds of the trials.
        variants: What was found for each variant.
    """

    tuning: Tuning
    experiment: str | None
    seeds: tuple[int, ...]
    variants: tuple[TunedVariant, ...]

    @property
    def cost(self) -> Cost:
        """The cost of all trials."""
        return _sum(each.cost for each in self.variants)

    @property
    def report_cost(self) -> Cost:
        """The cost of all reported runs."""
        return _sum(each.report_cost for each in self.variants)

    def as_data(self) -> dict[str, Any]:
        """As plain data."""
        return {
            **self.tuning.as_data(),
            "experiment": self.experiment,
            "selection_seeds": list(self.seeds),
            "cost": vars(self.cost),
            "report_cost": vars(self.report_cost),
            "variants": [each.as_data() for each in self.variants],
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """The header and a row for each variant."""
        keys = list(dict.fromkeys(key for each in self.variants for key in each.keys))
        header = [
            *(keys or ["variant"]), *self.tuning.over, "trials' seeds", "fresh seeds", "as good",
            "tuning", "report",
        ]  # fmt: skip
        rows = []
        for each in self.variants:
            cells = [str(each.keys.get(key, "")) for key in keys] or ["base"]
            cells += [_setting_text(setting) for setting in each.settings]
            cells += [_value_text(each.selected), _value_text(each.reported)]
            known = each.as_good is not None
            cells.append(f"{each.as_good} of {each.trials}" if known else "not known")
            rows.append([*cells, str(each.cost), str(each.report_cost)])
        return header, rows

    @property
    def sentences(self) -> list[str]:
        """How variants were tuned, what may be wrong with the ranges, and what it cost."""
        tuning = self.tuning
        found = [
            f"Each variant is trained at the settings with the best {tuning.measure} of "
            f"{counted(tuning.trials, 'trial')} ({tuning.search}), as the median of "
            f"{counted(tuning.seeds, 'seed')} that are not reported."
        ]
        if self.experiment is None:
            return [*found, "The trials are not in this store."]
        found += self._remarks()
        found.append(f"Tuning took {self.cost}; the reported runs took {self.report_cost}.")
        return found

    def shown(self) -> Shown:
        """What was found for each variant."""
        header, rows = self.table()
        title = f"tuned over {', '.join(self.tuning.over)}"
        return Shown(title, self.sentences, header, rows, "print(report)")

    def __str__(self) -> str:
        header, rows = self.table()
        lines = [line.text for line in table_lines(header, rows, output_width(), texts=header)]
        return "\n".join([*lines, *self.sentences])

    def _remarks(self) -> list[str]:
        """What may be wrong, each with the variants of which it is true."""
        of: dict[str, list[str]] = {}
        for each in self.variants:
            label = variant_label(each.keys)
            if all(setting.value is None for setting in each.settings):
                said = "no trial has a value, so it was trained with the settings as given"
                of.setdefault(said, []).append(label)
            for setting in each.settings:
                if setting.end is not None and setting.value is not None:
                    end = "lowest" if setting.end == "low" else "highest"
                    said = (
                        f"the best {setting.key} ({shown(setting.value)}) is the {end} that was "
                        f"tried, of {self.tuning.over[setting.key].text}: the range may be too "
                        "narrow"
                    )
                    of.setdefault(said, []).append(label)
            if each.paused:
                lost = f"{each.paused} of {counted(each.trials, 'trial')}"
                of.setdefault(f"{lost} were paused by halving", []).append(label)
            if each.without_value:
                lost = f"{each.without_value} of {counted(each.trials, 'trial')}"
                said = f"{lost} diverged or did not reach the measure on some seed"
                of.setdefault(said, []).append(label)
        return [f"{_listed(labels)}: {said}." for said, labels in of.items()]


NOTE = (
    "The value on the trials' seeds is that of the best of many, so it flatters; that on fresh "
    "seeds does not. A trial is as good as the best if it is within one standard error of the "
    "difference, with the noise between seeds of the better half of the trials; beside a setting "
    "is the range of those trials."
)
"""What the columns of the table mean."""


def _sum(costs: Iterable[Cost]) -> Cost:
    every = list(costs)
    return Cost(sum(each.run_steps for each in every), sum(each.seconds for each in every))


def _listed(labels: Sequence[str]) -> str:
    """Labels of variants; of many, the first and how many more there are."""
    if len(labels) <= _LISTED:
        return "; ".join(labels)
    return "; ".join(labels[: _LISTED - 1]) + f"; and {len(labels) - _LISTED + 1} more variants"


def _value_text(value: float | None) -> str:
    return "none" if value is None else shown(value)


def _setting_text(setting: TunedSetting) -> str:
    if setting.value is None:
        return "as given"
    text = shown(setting.value)
    if setting.as_good is not None and setting.as_good[0] < setting.as_good[1]:
        text += f" [{shown(setting.as_good[0])}, {shown(setting.as_good[1])}]"
    return text + (f" ({setting.end} end)" if setting.end else "")
