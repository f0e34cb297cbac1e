"""What the doctor says of planted bugs and of healthy code that were written without its checks.

Data: ``tests/doctor_blind`` (the first set), ``tests/doctor_blind_second`` and
``tests/doctor_blind_third``. A bug counts as *right* if a finding names its cause, which the bug's
expressions decide (``--list`` prints every match, so that a person can judge it), as *wrong* if
there are findings and none does, and as *missed* if there are none. For healthy code each finding
is a false alarm. The check ``methods`` is left out: it is about ablab, and it compiles.

Usage: ``python benchmarks/doctor_blind.py [--list] [--json FILE] [--data SET] [NAME …]``,
where SET is ``first`` (the default), ``second``, ``third``, or a module with BUGS and HEALTHY.
"""

import argparse
import json
import re
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from ablab.doctor import doctor
from ablab.doctor.check import CHECKS
from ablab.doctor.report import Report
from ablab.doctor.subject import DEFAULT_MODEL

LEFT_OUT = ("methods",)
SETS = {
    "first": "tests.doctor_blind.registry",
    "second": "tests.doctor_blind_second.registry",
    "third": "tests.doctor_blind_third.registry",
}


def examine(factory: type, registry: Any) -> Report:
    """The doctor's report on a class, which is made reachable by an import path."""
    checks = [name for name in CHECKS.names() if name not in LEFT_OUT]
    if not issubclass(factory, nn.Module):
        path = f"{factory.__module__}:{factory.__name__}"
        if factory.__module__.startswith("ablab."):  # a shipped task goes by its name
            kind = factory.Config.model_fields["kind"].default
            task = {"name": kind, "question": "Is it healthy?", "task": {"kind": kind}}
            return doctor(task | {"model": DEFAULT_MODEL, "train": {"steps": 100}}, checks=checks)
        return doctor(path, checks=checks)
    name = f"{factory.__name__}_{id(factory)}"
    setattr(registry, name, factory)
    return doctor(f"{registry.__name__}:{name}", checks=checks)


def findings_of(report: Report) -> list[dict[str, str]]:
    """Every finding as plain data, with its check."""
    return [{"check": check, **vars(finding)} for check, finding, _ in report.findings]


def matches(words: tuple[str, ...], found: list[dict[str, str]]) -> list[dict[str, str]]:
    """Each expression that matches a finding, with the finding's check and the matched text."""
    rows = []
    for each in found:
        text = " ".join(each[part] for part in ("message", "evidence", "cause")).lower()
        for word in words:
            match = re.search(word, text)
            if match:
                rows.append({"check": each["check"], "word": word, "text": match.group()})
    return rows


def judge(case: Any, registry: Any) -> dict[str, Any]:
    """One case with its findings; an error of the doctor itself counts as a finding."""
    started = time.perf_counter()
    torch.manual_seed(0)
    try:
        found = findings_of(examine(case.factory, registry))
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        found = [{"check": "error", "message": text, "evidence": "", "cause": ""}]
    row: dict[str, Any] = {"name": case.name, "findings": found}
    row["seconds"] = round(time.perf_counter() - started, 2)
    if hasattr(case, "words"):
        named = matches(case.words, found)
        row |= {"cause": case.cause, "matches": named}
        row["result"] = "right" if named else "wrong" if found else "missed"
    return row


def show(row: dict[str, Any], listing: bool) -> None:
    """Prints a row, and with ``listing`` its findings and what matched."""
    result = row.get("result", "false alarm" if row["findings"] else "ok")
    checks = ", ".join(dict.fromkeys(each["check"] for each in row["findings"]))
    print(f"{result:12} {row['name']:28} {checks}", flush=True)
    if not listing:
        return
    if "cause" in row:
        print(f"    planted: {row['cause']}")
    for each in row["findings"]:
        print(f"    {each['check']}: {each['message']}\n      {each['evidence']}")
        print(f"      {each['cause']}")
    for each in row.get("matches", []):
        print(f"    match in {each['check']}: {each['word']!r} is {each['text']!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="only these cases")
    parser.add_argument("--list", action="store_true", help="print findings and matches")
    parser.add_argument("--json", type=Path, help="write all rows to this file")
    parser.add_argument("--data", default="first", help="first, second, third or a module")
    given = parser.parse_args()
    torch.set_num_threads(1)
    registry = import_module(SETS.get(given.data, given.data))
    bugs, healthy = (
        [case for case in cases if not given.names or case.name in given.names]
        for cases in (registry.BUGS, registry.HEALTHY)
    )
    rows = []
    for case in [*bugs, *healthy]:
        rows.append(judge(case, registry))
        show(rows[-1], given.list)
    results = [row["result"] for row in rows if "result" in row]
    alarms = sum(bool(row["findings"]) for row in rows if "result" not in row)
    counts = ", ".join(f"{results.count(each)} {each}" for each in ("right", "wrong", "missed"))
    print(f"{len(bugs)} bugs: {counts}; {len(healthy)} healthy: {alarms} with false alarms")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
