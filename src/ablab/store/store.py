"""A store: one folder with the results of experiments. Does not import torch."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ablab.config import InputError, Problem, nearest
from ablab.config.files import PARTIAL
from ablab.experiments.experiment import Experiment
from ablab.experiments.identity import trajectory
from ablab.experiments.registration import register
from ablab.experiments.seeds import most_seeds
from ablab.store.cover import cover_new_files
from ablab.store.files import write_text_atomically
from ablab.store.frame_cache import FrameCache
from ablab.store.index import Index, StoreError
from ablab.store.paths import tokenizer_path
from ablab.store.records import ExperimentRecord, RunRecord, experiment_record
from ablab.store.run_list import list_all, list_experiment, list_named, list_some
from ablab.store.scalar_records import scalar_records
from ablab.store.sources import archive_sources, source_files
from ablab.tasks.subwords import content_digest
from ablab.tasks.text_config import tokenizer_json

__all__ = ["ExperimentRecord", "RunRecord", "Store", "StoreError"]

_EXPERIMENTS = """SELECT e.*, g.registration FROM experiments e
                  LEFT JOIN registrations g ON g.experiment = e.id"""

_ALIKE = 5_000  # ids among which the one that was meant is looked for


class Store:
    """A store: a folder with an index, metrics, snapshots and logbook entries.

    Args:
        path: The folder.
        create: Whether to create the store if it does not exist.
        write: Whether to open the index for writing.
        verify: Whether to verify the index's rows; false for what reports or repairs damage.

    Raises:
        StoreError: The store is missing, damaged, not a store, or from another release.
    """

    def __init__(
        self, path: str | Path, create: bool = False, write: bool = True, *, verify: bool = True
    ) -> None:
        self.path = Path(path)
        self.frames = FrameCache()
        try:
            self._find(create)
        except OSError as error:
            raise StoreError(
                Problem(f"cannot open the store ({error.strerror})", given=str(path))
            ) from error
        self.index = Index(self.path / "index.sqlite", create=create, write=write, verify=verify)

    def _find(self, create: bool) -> None:
        """Looks for the store's index, and creates the store's folder if that is wanted."""
        path, index = self.path, self.path / "index.sqlite"
        if not index.is_file():
            if self.path.exists() and not self.path.is_dir():
                raise StoreError(Problem("the store is not a folder", given=str(path)))
            others = self.path.is_dir() and any(
                not each.name.startswith(PARTIAL) for each in self.path.iterdir()
            )
            if others and not index.is_file():  # another process may have just created it
                raise StoreError(
                    Problem(
                        "this folder is not a store: it contains files but no index.sqlite",
                        given=str(path),
                        expected="a store, an empty folder, or a path that does not exist yet",
                    )
                )
            if not create:
                raise StoreError(
                    Problem(
                        "there is no store here yet",
                        given=str(path),
                        expected="a folder that ablab run has written to; see --store",
                    )
                )
            try:
                self.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(
                    Problem(f"cannot create the store ({error.strerror})", given=str(path))
                ) from error

    def close(self) -> None:
        """Closes the index."""
        self.index.close()

    def register(
        self, experiment: Experiment, command: str, environment: dict[str, Any]
    ) -> ExperimentRecord:
        """Adds an experiment and its runs; if they are known, only the time of request changes.

        What reading needs is recorded with it, for a known experiment too.

        Subword tokenizers are saved first, as ``tokenizers/SHA256.json``, because a run's
        trajectory refers to its tokenizer by that digest. Users' modules are saved too, as
        ``sources/DIGEST``.

        Args:
            experiment: The experiment.
            command: The command that registers it.
            environment: Facts about the machine and the installed versions.

        Raises:
            StoreError: The store cannot be written.
        """
        for content in {tokenizer_json(variant.parts.task) for variant in experiment.variants}:
            if content is not None:
                path = tokenizer_path(self.path, content_digest(content))
                if not path.is_file():
                    write_text_atomically(path, content)
        archive_sources(self.path, (source for run in experiment.runs for source in run.sources))
        now = timestamp()
        known = register(experiment).model_dump_json()
        with self.index.transaction() as connection:
            connection.execute(
                """INSERT INTO experiments
                   (name, digest, question, definition, command, environment, levels, created,
                    asked)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                   ON CONFLICT (digest) DO UPDATE SET asked = excluded.asked, command = CASE
                   WHEN command LIKE 'ablab expect %' THEN excluded.command ELSE command END""",
                (
                    experiment.name,
                    experiment.digest,
                    experiment.question,
                    json.dumps(experiment.definition),
                    command,
                    json.dumps(environment),
                    json.dumps(experiment.variants[0].parts.task.natural_levels),
                    now,
                    now,
                ),
            )
            (number,) = connection.execute(
                "SELECT id FROM experiments WHERE digest = ?", (experiment.digest,)
            ).fetchone()
            connection.execute(
                "INSERT OR REPLACE INTO registrations VALUES (?, ?)", (number, known)
            )
            cover_new_files(connection, self.path, source_files(self.path))
            most = most_seeds(experiment.definition)
            for place, variant in enumerate(experiment.variants):
                cell = json.dumps(experiment.recorded_keys(variant))
                for position, run in enumerate(variant.runs, place * most):
                    shape = trajectory(run.task, run.model, run.train, run.seed)
                    connection.execute(
                        # Its snapshots are there if a repair of the index has dropped its row.
                        """INSERT OR IGNORE INTO runs
                           (id, trajectory, seed, created, updated, step) VALUES (?1, ?2, ?3, ?4,
                           ?5, COALESCE((SELECT max(step) FROM snapshots
                           WHERE run = ?1 AND has_optimizer), 0))""",
                        (run.id, json.dumps(shape), run.seed, now, now),
                    )
                    connection.execute(
                        "INSERT OR IGNORE INTO members VALUES (?, ?, ?, ?, ?, NULL)",
                        (number, run.id, position, cell, run.train.steps),
                    )
            connection.executemany(
                "INSERT OR IGNORE INTO aliases VALUES (?, ?)",
                experiment.variants[0].stored_ids.items(),
            )
        return self._record_of(number)

    def refresh(self, record: ExperimentRecord) -> ExperimentRecord:
        """The record of an experiment as it is now, after analyses for example."""
        return self._record_of(record.id)

    def _record_of(self, number: int) -> ExperimentRecord:
        (row,) = self.index.rows(f"{_EXPERIMENTS} WHERE e.id = ?", number)
        return experiment_record(row, scalar_records(self.index))

    def experiments(self) -> list[ExperimentRecord]:
        """All experiments, in the order in which they were last requested."""
        rows = self.index.rows(f"{_EXPERIMENTS} ORDER BY e.asked, e.id")
        scalars = scalar_records(self.index)
        return [experiment_record(row, scalars) for row in rows]

    def experiment(self, name: str) -> ExperimentRecord:
        """The most recently requested experiment with this name, or with an entry of this name.

        Raises:
            InputError: ``name`` is no text.
            StoreError: There is none.
        """
        if not isinstance(name, str):
            raise InputError(Problem("an experiment is asked for by its name", given=name))
        rows = self.index.rows(
            f"""{_EXPERIMENTS} WHERE e.name = ? OR e.entry = ?
                ORDER BY e.asked DESC, e.id DESC LIMIT 1""",
            name,
            name,
        )
        if not rows:
            names = sorted({record.name for record in self.experiments()})
            raise StoreError(
                Problem(
                    f"the store {self.path} has no experiment called {name!r}",
                    given=name,
                    expected="one of " + ", ".join(names) if names else "the store is empty",
                    suggestion=nearest(name, names),
                )
            )
        return experiment_record(rows[0], scalar_records(self.index))

    def experiment_of_digest(self, digest: str) -> ExperimentRecord | None:
        """The experiment with a digest; None if the store does not have it."""
        rows = self.index.rows(f"{_EXPERIMENTS} WHERE e.digest = ?", digest)
        return experiment_record(rows[0], scalar_records(self.index)) if rows else None

    def runs(
        self, experiment: ExperimentRecord | None = None, first: int = 0, count: int | None = None
    ) -> list[RunRecord]:
        """The runs of the store, or of one experiment.

        Losses are those at a run's own last step. For an experiment with fewer steps,
        :func:`ablab.store.metrics.experiment_runs` returns the losses at its last step.

        Args:
            experiment: The experiment.
            first: The number of its runs before the list.
            count: The most of its runs that the list has; all if None.
        """
        if experiment is None:
            return list(list_all(self.index))
        return list(list_experiment(self.index, experiment.id, first, count))

    def each_run(self) -> Iterator[RunRecord]:
        """As :meth:`runs` of the store, read as the list goes on."""
        return list_all(self.index)

    def run_page(self, first: int, count: int) -> tuple[list[RunRecord], int]:
        """Some of :meth:`runs` of the store, and the number of all.

        Args:
            first: The number of runs before the page.
            count: The most runs that it has.
        """
        return list_some(self.index, first, count)

    def run_records(self, runs: Sequence[str]) -> list[RunRecord]:
        """The records of some runs by their full ids, as in :meth:`runs` of the store.

        Raises:
            StoreError: The store lacks one of the runs.
        """
        for run in set(runs) - self.known(runs):
            self.run_row(run)
        return list_named(self.index, runs)

    def known(self, runs: Iterable[str]) -> set[str]:
        """Those of these ids that are a run's of the store."""
        rows = self.index.rows(
            "SELECT id FROM runs WHERE id IN (SELECT value FROM json_each(?))",
            json.dumps(list(runs)),
        )
        return {row["id"] for row in rows}

    def run_row(self, run: str) -> Any:
        """One run's row of the index, by its id or a unique prefix of it, or by an alias.

        Raises:
            StoreError: No run's id, or more than one, has this prefix.
        """
        plain = "".join(character for character in run if character.isalnum())
        # An id is hexadecimal: those that begin with a prefix come before the prefix and a "g".
        rows = self.index.rows(
            """SELECT * FROM runs WHERE id >= ?1 AND id < ?1 || 'g' OR id IN
               (SELECT run FROM aliases WHERE id >= ?1 AND id < ?1 || 'g') LIMIT ?2""",
            plain,
            _ALIKE,
        )
        if plain != run or not plain or len(rows) != 1:
            begin = (
                plain[:2]
                if len(self.index.rows("SELECT 1 FROM runs LIMIT ?", _ALIKE)) == _ALIKE
                else ""
            )
            ids = [
                row["id"]
                for row in self.index.rows(
                    "SELECT id FROM runs WHERE id >= ?1 AND id < ?1 || 'g' LIMIT ?2", begin, _ALIKE
                )
            ]
            few = [row["id"] for row in rows[:5]]
            raise StoreError(
                Problem(
                    f"more than one run's id starts with {run!r}: {', '.join(few)}, …"
                    if len(rows) > 1 and plain
                    else f"the store {self.path} has no run {run!r}",
                    given=run,
                    suggestion=nearest(run, ids),
                )
            )
        return rows[0]

    def segments(self, runs: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """How the steps of runs were trained, by run id; runs that are not stored are left out."""
        found: dict[str, list[dict[str, Any]]] = {}
        for run in runs:
            for row in self.index.rows("SELECT segments FROM runs WHERE id = ?", run):
                found[run] = json.loads(row["segments"])
        return found

    def members(self, experiment: int, runs: Sequence[str] | None = None) -> list[Any]:
        """The rows of an experiment's runs, all or some, in the order of its variants."""
        among = "" if runs is None else "AND m.run IN (SELECT value FROM json_each(?))"
        return self.index.rows(
            f"""SELECT m.*, r.seed, r.step, r.outcome, r.error FROM members m
                JOIN runs r ON r.id = m.run WHERE m.experiment = ? {among} ORDER BY m.position""",
            experiment,
            *(() if runs is None else (json.dumps(list(runs)),)),
        )

    def note(self, experiment: int, text: str) -> None:
        """Adds a note to an experiment's entry."""
        with self.index.transaction() as connection:
            connection.execute(
                "INSERT INTO notes (experiment, text, created) VALUES (?, ?, ?)",
                (experiment, text, timestamp()),
            )

    def notes(self, experiment: int) -> list[tuple[str, str]]:
        """An experiment's notes, as (time, text)."""
        rows = self.index.rows(
            "SELECT created, text FROM notes WHERE experiment = ? ORDER BY id", experiment
        )
        return [(row["created"], row["text"]) for row in rows]

    def entry_folder(self, record: ExperimentRecord) -> str:
        """The folder of an experiment's entry: DATE-NAME, with a number if that name is taken."""
        with self.index.transaction() as connection:
            rows = connection.execute("SELECT id, entry FROM experiments").fetchall()
            entries = {row["id"]: row["entry"] for row in rows}
            if entries[record.id] is not None:
                return str(entries[record.id])
            # A stranger's index may have any name; this one becomes a folder.
            plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{record.created[:10]}-{record.name}")
            names = [plain, *(f"{plain}-{number}" for number in range(2, len(rows) + 3))]
            name = next(each for each in names if each not in entries.values())
            connection.execute("UPDATE experiments SET entry = ? WHERE id = ?", (name, record.id))
        return name

    def retry(self, runs: Iterable[str]) -> None:
        """Marks failed or diverged runs to be trained again, from their last snapshot."""
        with self.index.transaction() as connection:
            for run in runs:
                connection.execute(
                    """UPDATE runs SET outcome = NULL, error = NULL, deaths = 0,
                       step = COALESCE((SELECT max(step) FROM snapshots
                                        WHERE run = runs.id AND has_optimizer), 0)
                       WHERE id = ? AND outcome IS NOT NULL""",
                    (run,),
                )


def timestamp() -> str:
    """The current time: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
