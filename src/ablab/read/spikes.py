"""Explains spikes: which statistics deviated before them, and which setting to try."""

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from ablab.experiments.cell import varied_keys
from ablab.experiments.grid import same_label
from ablab.experiments.overrides import as_override
from ablab.experiments.tuned_cells import digest_of_trials, tuned_settings
from ablab.read.curves import Reading, Spike
from ablab.read.incidents import Moved, moved_first
from ablab.store.artifacts import list_artifacts, read_incident
from ablab.store.index import StoreError
from ablab.store.metrics import read_runs
from ablab.store.paths import repeating
from ablab.store.store import ExperimentRecord, RunRecord, Store
from ablab.watching.names import is_statistic

BEFORE = 60  # number of steps before a spike that define the usual range of statistics
ZERO_SUM = "activation_grad/logits/zero_sum_error"
MARGIN = "activation/logits/mean_margin"
CONFIDENT = "activation/logits/full_confidence"
WATCHED = (ZERO_SUM, MARGIN, CONFIDENT, "grad/*", "optimizer/*", "param/*/update_ratio")
_NEAR = 12  # a flight record belongs to a spike if it is within this number of steps


@dataclass(frozen=True)
class Explanation:
    """The statistics around a spike, and a suggested experiment.

    Attributes:
        run: The run's id.
        spike: The spike.
        source: The source of the statistics: ``flight recorder`` or ``watched columns``; None if
            nothing was watched at these steps.
        moved: The statistics that left their usual range, earliest first; at most five.
        zero_sum_error: The largest fraction of predictions whose logit gradients did not sum to
            zero before the spike; None if it was not watched.
        zero_sum_step: The first step with such a prediction; None if there was none.
        margin: The median logit margin before the spike; None if it was not watched.
        full_confidence: The median fraction of predictions at full confidence before the spike;
            None if it was not watched.
        suggestion: The setting to try, as an override with both values.
        command: The command that tries it.
        damaged: Whether a flight record near a spike is damaged and was not used.
    """

    run: str
    spike: Spike
    source: str | None
    moved: tuple[Moved, ...]
    zero_sum_error: float | None
    zero_sum_step: int | None
    margin: float | None
    full_confidence: float | None
    suggestion: str
    command: str
    damaged: bool = False

    def as_data(self) -> dict[str, Any]:
        """The explanation as plain data."""
        return {
            **vars(self),
            "spike": vars(self.spike),
            "moved": [vars(each) for each in self.moved],
        }

    @property
    def sentence(self) -> str:
        """The explanation as text."""
        if not self.damaged:
            return self._sentence
        return f"{self._sentence}; a flight record is damaged (ablab check says what to do)"

    @property
    def _sentence(self) -> str:
        if self.source is None:
            return (
                f"spike at {self.spike.step:,}: no flight record of it, and no statistics that "
                "were watched at every step before it; to record them: "
                f"ablab replay {self.run} --steps {self.span[0]}:{self.span[1]}"
                + "".join(f" --watch '{pattern}'" for pattern in WATCHED)
            )
        parts = [f"spike at {self.spike.step:,}"]
        first = self.moved[0] if self.moved else None
        other = ""
        if self.zero_sum_step is not None and self.zero_sum_error is not None:
            parts.append(
                f"logit gradients did not sum to zero in up to {self.zero_sum_error:.1%} of "
                f"predictions, from {self.zero_sum_step:,} on"
            )
            other = "" if first is not None and first.name == ZERO_SUM else "other "
        elif self.zero_sum_error is not None:
            parts.append("all logit gradients summed to zero")
        if first is not None:
            parts.append(
                f"of the {other}recorded statistics, {first.name} was the first to leave its usual "
                f"range, at {first.step:,} (usually {first.usual:.3g}, {first.value:.3g} at "
                f"{first.at:,})"
            )
        else:
            parts.append(f"no {other}statistic left its usual range before it")
        if self.margin is not None:
            parts.append(f"logit margin {self.margin:.3g}")
        if self.full_confidence is not None:
            parts.append(f"{self.full_confidence:.1%} of predictions at full confidence")
        return "; ".join(parts)

    @property
    def span(self) -> tuple[int, int]:
        """The steps to watch for an explanation."""
        return max(1, self.spike.step - BEFORE), self.spike.step + 3


def explain(
    store: Store, record: ExperimentRecord, run: RunRecord, reading: Reading
) -> Explanation | None:
    """Explains a run's highest spike around which statistics were watched; None without spikes.

    The statistics come from the flight recorder's record near the spike, or from the run's own
    columns if they were watched at every step around it.
    """
    if not reading.spikes:
        return None
    spikes = sorted(reading.spikes, key=lambda each: -each.height)
    any_damaged = False
    for spike in spikes:
        found, damaged = _records(store, run.run, spike)
        any_damaged |= damaged
        for source, frame in found:
            made = _explanation(store, record, run, spike, source, frame)
            return replace(made, damaged=any_damaged)
    made = _explanation(store, record, run, spikes[0], None, pl.DataFrame())
    return replace(made, damaged=any_damaged)


def _records(store: Store, run: str, spike: Spike) -> tuple[list[tuple[str, pl.DataFrame]], bool]:
    """What was watched near a spike, by source, and whether a flight record of it is damaged."""
    found, damaged = [], False
    for incident in list_artifacts(store, "flight", run):
        if -_NEAR <= incident.step - spike.step <= _NEAR:
            try:
                found.append(("flight recorder", read_incident(store, run, incident.step)))
            except StoreError:  # the explanation says so
                damaged = True
    wanted = read_runs(store, [run], lambda names: [name for name in names if is_statistic(name)])
    near = wanted.filter(pl.col("step").is_between(spike.step - BEFORE, spike.step + 3))
    columns = [
        name
        for name in near.columns
        if name not in ("run", "step") and near[name].null_count() <= near.height // 4
    ]
    if columns and near.height >= BEFORE // 2:
        found.append(("watched columns", near.select("step", *columns)))
    return found, damaged


def _explanation(
    store: Store,
    record: ExperimentRecord,
    run: RunRecord,
    spike: Spike,
    source: str | None,
    frame: pl.DataFrame,
) -> Explanation:
    moved: Sequence[Moved] = ()
    error: float | None = None
    error_step: int | None = None
    margin = confident = None
    if source is not None:
        moved = moved_first(frame, spike.step)
        before = frame.filter(pl.col("step") <= spike.step)
        if ZERO_SUM in before.columns:
            lost = before.filter(pl.col(ZERO_SUM) > 0)
            error = float(before[ZERO_SUM].max() or 0.0)  # type: ignore[arg-type]
            error_step = int(lost["step"].min()) if lost.height else None  # type: ignore[arg-type]
        margin, confident = (_median(before, name) for name in (MARGIN, CONFIDENT))
    moved = tuple(each for each in moved if each.name != "train_loss")[:5]
    suggestion = _suggestion(moved, error_step is not None)
    return Explanation(
        run.run, spike, source, moved, error, error_step, margin, confident, suggestion,
        _command(store, record, run, suggestion),
    )  # fmt: skip


def _suggestion(moved: Sequence[Moved], lost: bool) -> str:
    """The setting that tests the most likely cause."""
    if lost:
        return "train.loss.dtype=float32,float64"
    first = moved[0].name if moved else ""
    if first.startswith("optimizer/") or first.endswith("update_ratio"):
        return "train.eps=1e-8,1e-6"
    if first.startswith("grad/"):
        return "train.clip_norm=null,1.0"
    return "train.loss.kind=cross_entropy,stablemax"


def _command(store: Store, record: ExperimentRecord, run: RunRecord, suggestion: str) -> str:
    """The command that trains the run with and without the suggested setting.

    It starts from the definition beside the entry, which has all settings that were given.
    """
    tried = suggestion.split("=", maxsplit=1)[0]
    definition, variant = record.definition, run.variant
    varied = varied_keys(definition, variant)
    settings = {key: variant[key] for key in sorted(varied)} | _tuned(definition, variant)
    own = [as_override(key, value) for key, value in settings.items() if key != tried]
    own += [f"{key}=null" for key in ("halving", "tune") if key in definition]
    own += [f"seeds=[{run.seed}]", suggestion, f"name={record.name}-spikes"]
    if record.entry is None:
        return shlex.join(
            ["ablab", "run", *_given(record, {*variant, "seeds", "name", tried}), *own]
        )
    path, folder = repeating(store.path, record.entry)
    return shlex.join(["ablab", "run", path, *own, "--store", folder])


def _tuned(definition: Mapping[str, Any], variant: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that were found by tuning for a variant."""
    for cell, settings in tuned_settings(definition) if digest_of_trials(definition) else ():
        if all(key in variant and same_label(key, cell[key], variant[key]) for key in cell):
            return settings
    return {}


def _given(record: ExperimentRecord, without: Collection[str]) -> list[str]:
    """The recipe or file of an experiment, with the overrides of its command but of some keys."""
    words = shlex.split(record.command) if record.command.startswith("ablab run ") else []
    if len(words) < 3 or words[2].startswith("-"):
        return [record.name]
    overrides = [word for word in words[3:] if "=" in word and not word.startswith("-")]
    return [words[2], *(word for word in overrides if word.split("=")[0] not in without)]


def _median(frame: pl.DataFrame, name: str) -> float | None:
    if name not in frame.columns:
        return None
    value = frame[name].median()
    return None if value is None else float(value)  # type: ignore[arg-type]
