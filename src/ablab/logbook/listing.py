"""``LOGBOOK.md``: all entries by date, with negative results marked, and the calibration."""

import json
from pathlib import Path
from typing import Any

from ablab.logbook.page import templates
from ablab.read.calibration import Calibration, calibration
from ablab.read.family import tally
from ablab.read.verdicts import Verdict
from ablab.store.digests import read_text_digested, write_texts_digested
from ablab.store.paths import LOGBOOK, entry_path, inside
from ablab.store.store import ExperimentRecord, Store

COMPARISON = "compare.json"
"""The file that says what the page of a comparison compares."""


def write_logbook(store: Store) -> Path:
    """Writes ``LOGBOOK.md`` with all entries, newest first; returns its path."""
    path = inside(store.path, LOGBOOK, "LOGBOOK.md")
    text = templates().get_template("logbook.md.j2").render(**listing(store))
    write_texts_digested(store, {path: text})
    return path


def listing(store: Store) -> dict[str, Any]:
    """The entries with their findings, and the calibration over all of them."""
    records = sorted(store.experiments(), key=lambda each: (each.created, each.id), reverse=True)
    entries, verdicts = [], []
    for record in records:
        if record.entry is None:
            continue
        found = _digest(store, record)
        mine = [Verdict.from_data(each) for each in found.get("verdicts", [])]
        verdicts += mine
        entries.append(
            {
                "folder": record.entry,
                "date": record.created[:10],
                "name": record.name,
                "question": record.question,
                "command": record.command,
                "negative": found.get("negative", []),
                "sentences": found.get("sentences", []),
                "expected": tally([each.state for each in mine]),
                "notes": len(store.notes(record.id)),
            }
        )
    return {
        "entries": entries,
        "comparisons": _comparisons(store),
        "calibration": _shown(calibration(verdicts)),
    }


def _comparisons(store: Store) -> list[dict[str, Any]]:
    """The comparisons that were written, by folder; a damaged one says so."""
    found = []
    for path in sorted((store.path / LOGBOOK).glob(f"*/{COMPARISON}")):
        folder = path.parent.name
        try:
            own = inside(store.path, LOGBOOK, folder, COMPARISON)
            about = json.loads(read_text_digested(store, own))
            shown = {name: about[name] for name in ("title", "findings", "command")}
        except (ValueError, KeyError, TypeError):
            told = "The description of this comparison is damaged; `ablab compare` writes it again."
            shown = {"title": folder, "findings": [told], "command": "ablab compare …"}
        found.append({"folder": folder, **shown})
    return found


def _digest(store: Store, record: ExperimentRecord) -> dict[str, Any]:
    """The findings saved with an entry; empty if an earlier release wrote it."""
    path = entry_path(store.path, record.entry, "findings.json")
    try:
        found: dict[str, Any] = json.loads(read_text_digested(store, path))
    except FileNotFoundError:
        return {}
    except ValueError:
        again = f"ablab logbook {record.entry or record.name}"
        return {"sentences": [f"The findings of this entry are damaged; `{again}` writes them."]}
    return found


def _shown(found: Calibration | None) -> str | None:
    """The calibration in a sentence."""
    if found is None:
        return None
    groups = "; ".join(
        f"stated {low:.0%} to {high:.0%}: {held:.0%} of {count} held"
        for low, high, count, held in found.groups
    )
    noun = "expectation" if found.count == 1 else "expectations"
    return (
        f"Of {found.count} decided {noun} with a stated confidence, {found.held:.0%} held; the "
        f"mean stated confidence is {found.stated:.0%} ({groups}; Brier score {found.brier:.2f}, "
        "where always stating 50% gives 0.25)."
    )
