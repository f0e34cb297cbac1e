"""The reader on curves of real runs beside what a person wrote of their plots.

`python -m tests.read.curves.labelled_score` prints right, wrong or missing, and spurious, for the
halves of both sets (`labelled/`, `labelled_second/`); their READMEs define kinds and tolerances.
Half of each set was looked at while the reader was developed: the even curves of the first, and a
seeded half of each stratum of the second. `--half development` prints these only, and `--faults`
what disagrees.

A label `slow_fall` that begins where a `fall` or another `slow_fall` ends is a slowdown: a slowdown
or a tail of the reader.
"""

import argparse
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from ablab.read.curves import read_curve
from ablab.read.curves.together import read_together

HERE = Path(__file__).parent
SETS = {"first": HERE / "labelled", "second": HERE / "labelled_second"}
SEED = "20261130"
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
    "memorises": ("memorises",),
    "overfit": ("overfit",),
}
Label = dict[str, Any]
Finding = tuple[str, float, float | None]  # kind, step (for a plateau its end), level


def development(name: str, curves: list[Label]) -> set[str]:
    """The files of the half that was looked at."""
    if name == "first":
        return {each["curve"] for each in curves if int(each["curve"][:2]) % 2 == 0}
    chosen: set[str] = set()
    for stratum in sorted({each["experiment"] for each in curves}):
        files = sorted(each["curve"] for each in curves if each["experiment"] == stratum)
        random.Random(f"{SEED}/{stratum}").shuffle(files)
        chosen.update(files[: (len(files) + 1) // 2])
    return chosen


def _found(reading: Any, column: str) -> list[Finding]:
    """What a reading says."""
    found: list[Finding] = [("plateau", float(p.last), p.level) for p in reading.plateaus]
    found += [("spike", float(s.step), None) for s in reading.spikes]
    found += [("rise", float(r.first), None) for r in (*reading.growbacks, *reading.rises)]
    found += [("transition", float(t.step), None) for t in reading.transitions]
    found += [("peak", float(p.step), p.value) for p in reading.peaks]
    found += [("slowdown", float(t.first), None) for t in reading.tails]
    found += [("slowdown", float(s.step), None) for s in reading.slowdowns]
    if reading.floor is not None:
        found.append(("floor", float(reading.floor.first), reading.floor.level))
    if not reading.finished and column != "eval_accuracy":
        found.append(("still_falling", float(reading.last), reading.end))
    return found


def _together(frame: pl.DataFrame) -> list[Finding]:
    """What the training and the held-out loss say together."""
    both = [_curve(frame, column) for column in ("train_loss", "eval_loss")]
    found = read_together(both[0], both[1])
    said: list[Finding] = []
    if found.memorised is not None:
        said.append(("memorises", float(found.memorised), found.stays_at))
    if found.overfits_from is not None:
        said.append(("overfit", float(found.overfits_from), None))
    return said


def _curve(frame: pl.DataFrame, column: str) -> tuple[Any, Any]:
    part = frame.select("step", pl.col(column).cast(pl.Float64)).drop_nulls()
    return part["step"].to_numpy(), part[column].to_numpy()


def slowdowns(labels: list[Label], steps: int) -> list[Label]:
    """The labels of slow falls that begin where another fall ends, or soon after, as slowdowns."""
    falls = [e for e in labels if e["kind"] in ("fall", "slow_fall")]
    found = []
    for slow in (e for e in falls if e["kind"] == "slow_fall"):
        slack = max(0.1 * slow["from"], 0.02 * steps)
        before = [
            e
            for e in falls
            if e is not slow and 0 <= slow["from"] - e["to"] <= slack and e["from"] < slow["from"]
        ]
        if not before:
            continue
        first = max(before, key=lambda e: e["sure"])
        soft = "to" in first.get("soft", ()) or "from" in slow.get("soft", ())
        ranges = [e["range"][k] for e, k in ((first, "to"), (slow, "from"))
                  if k in e.get("range", {})]  # fmt: skip
        found.append(
            {
                "kind": "slowdown",
                "column": slow["column"],
                "step": slow["from"],
                "sure": slow["sure"] and first["sure"],
                "soft": ("step",) if soft else (),
                "range": {"step": [min(r[0] for r in ranges), max(r[1] for r in ranges)]}
                if ranges
                else {},
            }
        )
    return found


def _agrees(label: Label, kind: str, step: float, level: float | None, run: Label) -> bool:
    if label["kind"] not in KIN[kind] or label["column"] != run["column"]:
        return False
    soft, ranges = label.get("soft", ()), label.get("range", {})
    near = level is None or label.get("level") is None or "level" in soft
    # At the end of a steep stretch, and of what rises and falls, a level is good to 1.5 only.
    slack = 1.5 if kind in ("still_falling", "peak", "memorises") else 1.05
    near = near or 1 / slack <= level / label["level"] <= slack
    low, high = ranges.get("level", (1, 0))
    near = near or low <= level <= high
    at_step = ("spike", "transition", "peak", "slowdown")
    key = "step" if label["kind"] in at_step else "from"
    key = "to" if label["kind"] in ("plateau", "still_falling") else key
    place = label.get(key)
    if place is None or key in soft or label["kind"] == "flat_throughout":
        return near
    if kind == "floor" and label["kind"] == "plateau":
        if label["to"] < 0.98 * run["steps"]:
            return False
        key, place = "from", label["from"]
    slack = max(0.1 * place, 0.02 * run["steps"], run["spacing"])
    low, high = ranges.get(key, (place, place))
    return near and min(low, place - slack) <= step <= max(high, place + slack)


class Tally:
    """Counts of what was right, missing or spurious, by half, and the faults."""

    def __init__(self) -> None:
        self.counts = {half: Counter[str]() for half in ("development", "held out")}
        self.faults: list[tuple[str, str]] = []

    def judge(
        self, half: str, found: list[Finding], labels: list[Label], run: Label, complete: set[str]
    ) -> None:
        """Compares findings on a column; those of kinds not in ``complete`` are never spurious."""
        total, left = self.counts[half], list(found)
        known = {kind for kinds in KIN.values() for kind in kinds}
        for label in sorted(labels, key=lambda e: not e["sure"]):
            if label["kind"] not in known:
                continue
            same = [each for each in left if _agrees(label, *each, run)]
            if same:
                left.remove(same[0])
            if label["sure"]:
                total["right" if same else f"missing {label['kind']}"] += 1
            if label["sure"] and not same:
                self.faults.append((half, f"{run['name']} missing {label}"))
        for kind, step, level in left:
            if kind in complete:
                there = any(label["kind"] in KIN[kind] for label in labels)
                total[f"{'wrong' if there else 'spurious'} {kind}"] += 1
                self.faults.append((half, f"{run['name']} {kind} at {step:.0f} {level}"))


def score(name: str) -> Tally:
    """The reader on one of SETS."""
    tally = Tally()
    curves = json.loads((SETS[name] / "labels.json").read_text())
    seen = development(name, curves)
    for curve in curves:
        half = "development" if curve["curve"] in seen else "held out"
        frame = pl.read_parquet(SETS[name] / curve["curve"])
        columns = ["train_loss", "eval_accuracy"] if name == "first" else []
        for column in columns or ("train_loss", "eval_loss", "eval_accuracy"):
            steps, values = _curve(frame, column)
            if len(steps) < 8:
                continue
            found = _found(read_curve(steps, values, column), column)
            if column == "eval_loss" and name == "second":
                found += _together(frame)
            labels = [e for e in curve["entries"] if e["column"] == column]
            labels += slowdowns(labels, curve["steps"])
            run = {"column": column, "steps": curve["steps"], "spacing": steps[-1] - steps[-2]}
            run["name"] = f"{curve['curve'][:2]} {column}"
            tally.judge(half, found, labels, run, _complete(name, curve, column))
    return tally


def _complete(name: str, curve: Label, column: str) -> set[str]:
    """The kinds of findings on a column of which every one that is there was written down."""
    if column == "eval_accuracy":  # of the first set, see its README
        return {"transition"} if name == "second" else set()
    if name == "first" or column in curve["labelled"]:
        return set(KIN)
    return {"memorises", "overfit"} if column == "eval_loss" else set()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Score the curve reader on labelled curves.")
    parser.add_argument("--set", choices=tuple(SETS))
    parser.add_argument("--half", choices=("development", "held out"))
    parser.add_argument("--faults", action="store_true")
    given = parser.parse_args()
    for name in SETS if given.set is None else [given.set]:
        tally = score(name)
        for half, counts in tally.counts.items():
            if given.half not in (None, half):
                continue
            wrong = sum(n for key, n in counts.items() if key[:5] in ("wrong", "spuri"))
            right = counts["right"]
            labels = right + sum(n for key, n in counts.items() if key.startswith("missing"))
            print(f"{name}, {half}: {right} of {labels} right, {wrong} findings not the person's")
            print("   ", dict(sorted(counts.items())))
            if given.faults:
                print("\n".join(f"    {text}" for at, text in tally.faults if at == half))
