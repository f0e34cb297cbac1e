"""The tables of the index, and whether a file has these and nothing else.

A view or a trigger in a file from elsewhere would run while the file is read, and a table of
another form would not hold what its readers expect. So an index whose schema is not the one below
is refused.
"""

import re
import sqlite3
from functools import cache

from ablab.config import InputError, Problem

FORMAT = 2  # 1: without digests of rows
READABLE = (1, 2)

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE experiments (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL UNIQUE,
    question TEXT NOT NULL, definition TEXT NOT NULL, command TEXT NOT NULL,
    environment TEXT NOT NULL, levels TEXT NOT NULL, created TEXT NOT NULL, asked TEXT NOT NULL,
    entry TEXT
);
CREATE INDEX experiments_by_name ON experiments (name, asked);
CREATE TABLE runs (
    id TEXT PRIMARY KEY, trajectory TEXT NOT NULL, seed INTEGER NOT NULL,
    step INTEGER NOT NULL DEFAULT 0, outcome TEXT, error TEXT, n_params INTEGER,
    seconds REAL NOT NULL DEFAULT 0, train_loss REAL, eval_loss REAL,
    segments TEXT NOT NULL DEFAULT '[]', deaths INTEGER NOT NULL DEFAULT 0, owner TEXT,
    created TEXT NOT NULL, updated TEXT NOT NULL
);
CREATE INDEX runs_by_owner ON runs (owner) WHERE owner IS NOT NULL;
CREATE TABLE members (
    experiment INTEGER NOT NULL REFERENCES experiments (id), run TEXT NOT NULL REFERENCES runs (id),
    position INTEGER NOT NULL, variant TEXT NOT NULL, steps INTEGER NOT NULL, stopped INTEGER,
    PRIMARY KEY (experiment, run)
) WITHOUT ROWID;
CREATE INDEX members_by_run ON members (run);
CREATE TABLE owners (
    token TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, started REAL NOT NULL,
    heartbeat REAL NOT NULL
);
CREATE TABLE parts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, file TEXT NOT NULL UNIQUE, rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL
);
CREATE TABLE part_runs (
    run TEXT NOT NULL, part INTEGER NOT NULL REFERENCES parts (id) ON DELETE CASCADE,
    PRIMARY KEY (run, part)
) WITHOUT ROWID;
CREATE TABLE snapshots (
    run TEXT NOT NULL, step INTEGER NOT NULL, bytes INTEGER NOT NULL,
    has_optimizer INTEGER NOT NULL, passing INTEGER NOT NULL, PRIMARY KEY (run, step)
) WITHOUT ROWID;
CREATE TABLE notes (
    id INTEGER PRIMARY KEY, experiment INTEGER NOT NULL REFERENCES experiments (id),
    text TEXT NOT NULL, created TEXT NOT NULL
);
"""
# Tables added by later releases; an older store gets them when it is next opened for writing.
ADDED = {
    "kept": """(
    kind TEXT NOT NULL, run TEXT NOT NULL, step INTEGER NOT NULL, bytes INTEGER NOT NULL,
    about TEXT NOT NULL, PRIMARY KEY (kind, run, step)
) WITHOUT ROWID""",
    "readings": """(
    run TEXT NOT NULL, column TEXT NOT NULL, steps INTEGER NOT NULL, edition TEXT NOT NULL,
    reading TEXT NOT NULL, PRIMARY KEY (run, column, steps)
) WITHOUT ROWID""",
    "expectations": """(
    id INTEGER PRIMARY KEY, experiment INTEGER NOT NULL, expectation TEXT NOT NULL,
    written TEXT NOT NULL, seen INTEGER NOT NULL, runs INTEGER NOT NULL,
    UNIQUE (experiment, expectation)
)""",
    "registrations": "(experiment INTEGER PRIMARY KEY, registration TEXT NOT NULL)",
    # What halving decided after a rung, for each variant that stood there.
    "rungs": """(
    experiment INTEGER NOT NULL, rung INTEGER NOT NULL, variant INTEGER NOT NULL,
    about TEXT NOT NULL, PRIMARY KEY (experiment, rung, variant)
) WITHOUT ROWID""",
    "samples": """(
    run TEXT NOT NULL, step INTEGER NOT NULL, text TEXT NOT NULL, about TEXT NOT NULL,
    PRIMARY KEY (run, step)
) WITHOUT ROWID""",
    # The results of analyses; ``about`` holds their scalars. With bytes, there is a file.
    "findings": """(
    run TEXT NOT NULL, step INTEGER NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL,
    bytes INTEGER NOT NULL, about TEXT NOT NULL, PRIMARY KEY (run, step, name)
) WITHOUT ROWID""",
    # What pages need of the analyses with findings, so that they need not import them.
    "analyses": "(name TEXT PRIMARY KEY, about TEXT NOT NULL) WITHOUT ROWID",
    "aliases": """(id TEXT PRIMARY KEY, run TEXT NOT NULL REFERENCES runs (id)) WITHOUT ROWID""",
    "initial": """(
    run TEXT PRIMARY KEY, torch TEXT NOT NULL, digest TEXT NOT NULL
) WITHOUT ROWID""",
    # Paths are relative to the store. A file that is being replaced may have either digest.
    "digests": """(
    path TEXT NOT NULL, digest TEXT NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (path, digest)
) WITHOUT ROWID""",
    "shares": """(
    part INTEGER NOT NULL REFERENCES parts (id) ON DELETE CASCADE, run TEXT NOT NULL,
    rows INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, losses INTEGER NOT NULL,
    digest TEXT NOT NULL, PRIMARY KEY (part, run)
) WITHOUT ROWID""",
    # Where the bytes of a snapshot begin that has no file of its own; they are whole files.
    "bundles": """(
    run TEXT NOT NULL, step INTEGER NOT NULL, file TEXT NOT NULL, offset INTEGER NOT NULL,
    PRIMARY KEY (run, step), FOREIGN KEY (run, step) REFERENCES snapshots ON DELETE CASCADE
) WITHOUT ROWID""",
    "sums": """(
    experiment INTEGER NOT NULL, state TEXT NOT NULL, runs INTEGER NOT NULL, done INTEGER NOT NULL,
    steps INTEGER NOT NULL, PRIMARY KEY (experiment, state)
) WITHOUT ROWID""",
}
# Created with a new index, and by the first transaction on one of format 1.
ROW_DIGESTS = """CREATE TABLE row_digests (
    of_table TEXT NOT NULL, of_row TEXT NOT NULL, digest BLOB NOT NULL,
    PRIMARY KEY (of_table, of_row)
) WITHOUT ROWID"""
# The format, leases, the digests themselves, and what is counted again.
_WITHOUT_DIGESTS = ("meta", "owners", "row_digests", "sums")
# The columns that hold JSON, with the type of the outermost value.
_JSON = {
    ("experiments", "definition"): "object",
    ("experiments", "environment"): "object",
    ("experiments", "levels"): "object",
    ("runs", "trajectory"): "object",
    ("runs", "segments"): "array",
    ("members", "variant"): "object",
    ("kept", "about"): "object",
    ("readings", "reading"): "object",
    ("expectations", "expectation"): "object",
    ("registrations", "registration"): "object",
    ("rungs", "about"): "object",
    ("samples", "about"): "object",
    ("findings", "about"): "object",
    ("analyses", "about"): "object",
}
# Names of files are made from these.
_HEXADECIMAL = "[0-9a-f]" * 12
_WITH_RUNS = (
    "members",
    "part_runs",
    "snapshots",
    "bundles",
    "kept",
    "shares",
    "samples",
    "aliases",
    "initial",
    "findings",
)
_PATTERNS = {
    **{
        ("runs", "id"): _HEXADECIMAL,
        ("findings", "key"): _HEXADECIMAL,
        ("parts", "file"): "[0-9a-f]" * 32 + ".parquet",
        ("bundles", "file"): "[0-9a-f]" * 32 + ".zip",
    },
    **{(table, "run"): _HEXADECIMAL for table in _WITH_RUNS},
}


class StoreError(InputError):
    """The store cannot be used: it is missing, damaged, not a store, or from another release."""


def create_tables(connection: sqlite3.Connection) -> None:
    """Creates all tables in an empty file, inside the caller's transaction."""
    added = [f"CREATE TABLE {name} {columns}" for name, columns in ADDED.items()]
    for statement in [*_SCHEMA.split(";"), *added, ROW_DIGESTS]:
        connection.execute(statement)
    connection.execute("INSERT INTO meta VALUES ('format', ?)", (str(FORMAT),))


def stored_format(connection: sqlite3.Connection) -> int | None:
    """The format of an index; None if the file is not an index or is incomplete."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        return None
    row = connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
    text = str(row[0]) if row else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else None


def check_schema(connection: sqlite3.Connection, given: str) -> None:
    """Compares the schema of a file with the tables that ablab makes.

    Raises:
        StoreError: It has a view, a trigger, or a table or index that ablab does not make.
    """
    known = _known()
    for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master"):
        if known.get((kind, name)) != _plain(sql):
            raise StoreError(
                Problem(
                    f"the store's index holds a {kind} that ablab did not make",
                    given=f"{given}: {str(name)!r:.60}",
                    expected="an index that only ablab has written",
                )
            )


@cache
def _known() -> dict[tuple[str, str], str | None]:
    """The SQL of everything in an index, by type and name."""
    with sqlite3.connect(":memory:") as connection:
        create_tables(connection)
        rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    connection.close()
    return {(kind, name): _plain(sql) for kind, name, sql in rows}


def _plain(sql: str | None) -> str | None:
    """Statements that differ only in white space are equal."""
    return None if sql is None else re.sub(r"\s+", " ", str(sql)).strip()


class CoveredTable:
    """A table whose rows have digests, and the SQL expressions to check them.

    Attributes:
        name: The table.
        columns: The names of its columns.
        keys: The names of the columns of its primary key.
        valid: A condition that every row fulfils: types of values, valid JSON, plain names.
    """

    def __init__(self, name: str, columns: list[sqlite3.Row]) -> None:
        self.name = name
        self.columns = [each["name"] for each in columns]
        keys = sorted((each for each in columns if each["pk"]), key=lambda each: each["pk"])
        self.keys = [each["name"] for each in keys]
        self.valid = " AND ".join(
            condition for each in columns for condition in self._conditions(each)
        )

    def key(self, prefix: str = "") -> str:
        """The primary key as text; ``prefix`` goes before each column, such as ``NEW.``."""
        return " || ' ' || ".join(f"{prefix}{name}" for name in self.keys)

    def values(self, prefix: str = "") -> str:
        """All values of a row, text as bytes: damaged text need not be valid UTF-8."""
        names = (f"{prefix}{each}" for each in self.columns)
        return ", ".join(
            f"CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END"
            for name in names
        )

    def digest(self, prefix: str = "") -> str:
        """The digest of a row."""
        return f"row_digest({self.values(prefix)})"

    def _conditions(self, column: sqlite3.Row) -> list[str]:
        name, required = column["name"], column["notnull"] or column["pk"]
        types = f"'{column['type'].lower()}'" + ("" if required else ", 'null'")
        found = [f"typeof({name}) IN ({types})"]
        kind = _JSON.get((self.name, name))
        if kind is not None:
            found.append(f"CASE WHEN json_valid({name}) THEN json_type({name}) END IS '{kind}'")
        pattern = _PATTERNS.get((self.name, name))
        if pattern is not None:
            found.append(f"{name} GLOB '{pattern}'")
        if (self.name, name) == ("experiments", "entry"):  # a folder
            plain = "entry GLOB '[A-Za-z0-9]*' AND entry NOT GLOB '*[^A-Za-z0-9_.-]*'"
            found.append(f"(entry IS NULL OR {plain})")
        return found


@cache
def covered_tables() -> tuple[CoveredTable, ...]:
    """The tables whose rows have digests."""
    with sqlite3.connect(":memory:") as connection:
        connection.row_factory = sqlite3.Row
        create_tables(connection)
        names = [
            row["name"]
            for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if row["name"] not in _WITHOUT_DIGESTS and not row["name"].startswith("sqlite_")
        ]
        found = tuple(
            CoveredTable(name, connection.execute(f"PRAGMA table_info({name})").fetchall())
            for name in names
        )
    connection.close()
    return found
