"""Generated text that is kept with the run and the step that wrote it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ablab.store.store import Store

_AT_ONCE = 500  # runs per query


@dataclass(frozen=True)
class Sample:
    """A text that a run's model generated.

    Attributes:
        run: The run's id.
        step: The step of the model's snapshot.
        text: The text.
        about: How it was generated (temperature, tokens, seed).
    """

    run: str
    step: int
    text: str
    about: dict[str, Any]


def queried_sample(run: str, step: int, queries: Sequence[dict[str, Any]]) -> Sample:
    """The answers to some queries as one sample; each is kept in ``about``, under ``queries``.

    Args:
        run: The run's id.
        step: The step.
        queries: Plain data with the key ``text``.
    """
    text = "\n\n".join(each["text"] for each in queries)
    return Sample(run, step, text, {"queries": list(queries)})


def save_samples(store: Store, samples: Iterable[Sample]) -> None:
    """Stores samples; a sample of the same run and step is replaced.

    Raises:
        StoreError: The store cannot be written.
    """
    with store.index.transaction() as connection:
        connection.executemany(
            "INSERT OR REPLACE INTO samples VALUES (?, ?, ?, ?)",
            [(each.run, each.step, each.text, json.dumps(each.about)) for each in samples],
        )


def stored_samples(store: Store, runs: Sequence[str]) -> dict[tuple[str, int], Sample]:
    """The samples of some runs, by run id and step."""
    found = {}
    for start in range(0, len(runs), _AT_ONCE):
        some = runs[start : start + _AT_ONCE]
        rows = store.index.rows(
            f"SELECT * FROM samples WHERE run IN ({','.join('?' * len(some))})", *some
        )
        for row in rows:
            about = json.loads(row["about"])
            found[row["run"], row["step"]] = Sample(row["run"], row["step"], row["text"], about)
    return found
