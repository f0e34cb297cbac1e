"""Generated samples in an entry, as they were kept when training ended."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ablab.experiments.short_names import short_names
from ablab.store.digests import read_text_digested
from ablab.store.paths import entry_path
from ablab.store.samples import stored_samples
from ablab.store.store import ExperimentRecord, RunRecord, Store

_PROMPT = 40  # characters of a prompt that are shown


def shown_samples(
    store: Store, record: ExperimentRecord, runs: Sequence[RunRecord]
) -> list[dict[str, Any]]:
    """The stored samples of each variant's first seed that has one at its last step.

    Each tells ``how`` it was generated. If none are stored, those that an earlier release saved
    with the entry.
    """
    ended = [run for run in runs if run.status in ("finished", "stopped")]
    stored = stored_samples(store, [run.run for run in ended])
    names = short_names([run.variant for run in runs])
    labels = dict(zip((run.run for run in runs), names, strict=True))
    shown: dict[str, dict[str, Any]] = {}
    for run in ended:
        label, sample = labels[run.run], stored.get((run.run, run.step))
        if sample is not None and label not in shown:
            shown[label] = {
                "label": label, "run": run.run, "step": run.step, "text": sample.text,
                "how": _how(sample.about),
            }  # fmt: skip
    if not shown and record.entry is not None:
        return _saved_with(store, record.entry)
    return list(shown.values())


def generated(samples: Sequence[Mapping[str, Any]]) -> str:
    """How samples were generated; empty where they differ, and each has to tell it."""
    found = {each.get("how", "") for each in samples}
    return found.pop() if len(found) == 1 else ""


def _how(about: Mapping[str, Any]) -> str:
    """From which prompts and how a sample was generated."""
    queries = about.get("queries")
    if queries is None:
        return f"from an empty prompt at temperature {about.get('temperature', 0.8):g}"
    return "from " + "; ".join(dict.fromkeys(map(_query, queries)))


def _query(query: Mapping[str, Any]) -> str:
    prompt = query["prompt"]
    short = prompt if len(prompt) <= _PROMPT else prompt[:_PROMPT] + "…"
    quoted = json.dumps(short, ensure_ascii=False)
    words = [f"the prompt {quoted} at temperature {query['temperature']:g}"]
    words += [f"{key} {query[key]:g}" for key in ("top_k", "top_p") if query.get(key) is not None]
    precision = query.get("precision", "float32")
    return ", ".join(words) + (f" in {precision}" if precision != "float32" else "")


def of_variants(shown: int, every: int) -> str:
    """Of how many variants something is shown: ``each variant``, or ``13 of 48 variants``."""
    return "each variant" if shown >= every else f"{shown} of {every} variants"


def _saved_with(store: Store, entry: str) -> list[dict[str, Any]]:
    """The samples that an earlier release saved in an entry's folder."""
    try:
        found = json.loads(read_text_digested(store, entry_path(store.path, entry, "samples.json")))
    except (FileNotFoundError, ValueError):
        return []
    return [{"how": _how({})} | each for each in found] if isinstance(found, list) else []
