"""The reader on curves of real runs beside what a person wrote of their plots (`labelled/`).

`python -m tests.read.curves.labelled_score` prints right, wrong or missing, and spurious, for even
and odd curves. The tolerances are those of `labelled/README.md`. A label `slow_fall` that begins
where a `fall` or another `slow_fall` ends is a slowdown: a slowdown or a tail of the reader.
`--half even` prints one half only.
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from ablab.read.curves import read_curve

FOLDER = Path(__file__).parent / "labelled"
# What a finding may be called otherwise: a floor may be flat throughout, a slow fall goes on.
KIN = {
    "plateau": ("plateau", "flat_throughout", "floor"),
    "floor": ("floor", "flat_throughout", "plateau"),
    "rise": ("rise", "spike"),
    "spike": ("spike", "rise"),
    "transition": ("transition",),
    "still_falling": ("still_falling",),
    "peak": ("peak",),
    "slowdown": ("slowdown",),
}


def _found(reading: Any, column: str) -> list[tuple[str, float, float | None]]:
    """What a reading says: kind, step (for a plateau its end), level."""
    found = [("plateau", float(p.last), p.level) for p in reading.plateaus]
    found += [("spike", float(s.step), None) for s in reading.spikes]
    found += [("rise", float(r.first), None) for r in (*reading.growbacks, *reading.rises)]
    found += [("transition", float(t.step), None) for t in reading.transitions]
    found += [("peak", float(p.step), p.value) for p in reading.peaks]
    found += [("slowdown", float(t.first), t.value) for t in reading.tails]
    found += [("slowdown", float(s.step), s.value) for s in reading.slowdowns]
    if reading.floor is not None:
        found.append(("floor", float(reading.floor.first), reading.floor.level))
    if not reading.finished and column != "eval_accuracy":
        found.append(("still_falling", float(reading.last), reading.end))
    return found


def slowdowns(labels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The labels of slow falls that begin where another fall ends, as slowdowns."""
    falls = [e for e in labels if e["kind"] in ("fall", "slow_fall")]
    found = []
    for slow in (e for e in falls if e["kind"] == "slow_fall"):
        before = [e for e in falls if e is not slow and e["to"] == slow["from"]]
        if before:
            soft = (
                ("step",)
                if {"to", "from"} & {*before[0].get("soft", ()), *slow.get("soft", ())}
                else ()
            )
            sure = slow["sure"] and before[0]["sure"]
            found.append({"kind": "slowdown", "column": slow["column"], "step": slow["from"],
                          "sure": sure, "soft": soft})  # fmt: skip
    return found


def _agrees(label: dict[str, Any], kind: str, step: float, level: float | None, run: Any) -> bool:
    if label["kind"] not in KIN[kind] or label["column"] != run["column"]:
        return False
    soft = label.get("soft", ())
    near = level is None or label.get("level") is None or "level" in soft
    # At the end of a steep stretch, a level is good to a factor of 1.5 only.
    slack = 1.5 if kind == "still_falling" else 1.05
    near = near or 1 / slack <= level / label["level"] <= slack
    at_step = ("spike", "transition", "peak", "slowdown")
    key = "step" if label["kind"] in at_step else "from"
    key = "to" if label["kind"] in ("plateau", "still_falling") else key
    place = label.get(key)
    if place is None or key in soft or label["kind"] == "flat_throughout":
        return near
    if kind == "floor" and label["kind"] == "plateau":
        if label["to"] < 0.98 * run["steps"]:
            return False
        place = label["from"]
    slack = max(0.1 * place, 0.02 * run["steps"], run["spacing"])
    return near and abs(step - place) <= slack


def score() -> dict[str, Counter[str]]:
    """Counts of what was right, missing or spurious, for even and odd curves."""
    totals: dict[str, Counter[str]] = {"even": Counter(), "odd": Counter()}
    for curve in json.loads((FOLDER / "labels.json").read_text()):
        number = int(str(curve["curve"])[:2])
        total = totals["odd" if number % 2 else "even"]
        frame = pl.read_parquet(FOLDER / f"{number:02d}.parquet")
        for column in ("train_loss", "eval_accuracy"):
            part = frame.select("step", pl.col(column).cast(pl.Float64)).drop_nulls()
            labels = [e for e in curve["entries"] if e["column"] == column]
            labels += slowdowns(labels)
            if part.height < 8:
                continue
            steps = part["step"].to_numpy()
            reading = read_curve(steps, part[column].to_numpy(), column)
            run = {"column": column, "steps": curve["steps"], "spacing": steps[-1] - steps[-2]}
            left = _found(reading, column)
            for label in labels:
                if label["kind"] not in {kind for kinds in KIN.values() for kind in kinds}:
                    continue
                same = [each for each in left if _agrees(label, *each, run)]
                if same:
                    left.remove(same[0])
                if label["sure"]:
                    total["right" if same else f"missing {label['kind']}"] += 1
            # Of accuracies, only transitions were written down.
            if column == "train_loss":
                for kind, _, _ in left:
                    known = any(label["kind"] in KIN[kind] for label in labels)
                    total[f"{'wrong' if known else 'spurious'} {kind}"] += 1
    return totals


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Score the curve reader on labelled curves.")
    parser.add_argument("--half", choices=("even", "odd"))
    given = parser.parse_args()
    for half, counts in score().items():
        if given.half in (None, half):
            print(half, dict(sorted(counts.items())))
