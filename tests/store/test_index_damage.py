"""An index in which anything changed since it was written is refused, and so is a stranger's."""

import json
import random
import shutil
import sqlite3
import tarfile
from pathlib import Path

import pytest

from ablab.store import Store, StoreError
from ablab.store.index import Index
from ablab.store.index_repair import repair_index
from tests.read.filled import fill, grid

FIXTURES = Path(__file__).parent / "fixtures"
EXPECT = [{"claim": "later", "measure": "final(train_loss)", "falls_with": "model.d_model"}]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with a row in every table."""
    path = tmp_path_factory.mktemp("index") / "lab"
    asked = grid(steps=20, seeds=2, expect=EXPECT)
    store, record = fill(path, asked, lambda keys, seed, steps: 1.0 / steps)
    store.note(record.id, "a note")
    runs = [run.run for run in store.runs()]
    with store.index.transaction() as connection:
        for run in runs:
            connection.execute("INSERT INTO snapshots VALUES (?, 20, 100, 1, 0)", (run,))
            connection.execute("INSERT INTO kept VALUES ('capture', ?, 20, 9, '{}')", (run,))
            connection.execute(
                "INSERT INTO readings VALUES (?, 'train_loss', 20, 'x', '{}')", (run,)
            )
    store.close()
    return path


@pytest.fixture
def lab(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "lab"))


def contents(path):
    """All rows, as SQLite reads them without ablab; None if it cannot."""
    connection = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
    try:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master").fetchall()]
        tables = [name for name in names if not name.startswith(("sqlite_", "row_digests"))]
        return {
            name: sorted(map(repr, connection.execute(f"SELECT * FROM {name} NOT INDEXED")))
            for name in tables
            if not name.endswith(("_by_name", "_by_owner", "_by_run"))
        }
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return None
    finally:
        connection.close()


def damage_of(path):
    index = Index(path, create=False, verify=False)
    found = index.damage()
    index.close()
    return found


def test_no_flipped_bit_of_an_index_changes_what_is_read(made, tmp_path):
    path = tmp_path / "index.sqlite"
    whole = (made / "index.sqlite").read_bytes()
    path.write_bytes(whole)
    sound = contents(path)
    draw = random.Random(0)
    refused = changed = 0
    for _ in range(300):
        bit = draw.randrange(8 * len(whole))
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        found = contents(path)
        changed += found != sound
        try:
            Index(path, create=False).close()
        except StoreError:
            refused += 1
        else:
            assert found == sound, f"bit {bit} changed the index unseen"
    assert changed > 30, "the flips hit rows"
    assert refused >= changed


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("UPDATE runs SET seconds = seconds + 1e-9 WHERE rowid = 3", "runs, row"),
        ("UPDATE members SET variant = '{\"model.d_model\": 9}' WHERE position = 2", "members"),
        ("DELETE FROM part_runs WHERE rowid IN (SELECT min(rowid) FROM runs)", None),
        ("DELETE FROM snapshots WHERE step = 20 AND run = (SELECT id FROM runs)", "is missing"),
        ("INSERT INTO notes VALUES (9, 1, 'mine', 'now')", "was not written by ablab"),
        ("UPDATE readings SET reading = '{\"a\": 1}'", "readings"),
        ("UPDATE expectations SET seen = 0, runs = 3", "expectations"),
    ],
)
def test_a_row_that_ablab_did_not_write_is_named(lab, statement, names):
    if names is None:
        statement = "DELETE FROM part_runs WHERE run = (SELECT min(run) FROM part_runs)"
        names = "part_runs"
    connection = sqlite3.connect(lab / "index.sqlite")
    assert connection.execute(statement).rowcount > 0
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match=names) as raised:
        Store(lab)
    assert "index.sqlite" in str(raised.value)
    assert "--repair" in str(raised.value)
    assert any(names in each for each in damage_of(lab / "index.sqlite"))


def test_whatever_is_written_keeps_the_digests(lab):
    store = Store(lab)
    draw = random.Random(1)
    runs = [run.run for run in store.runs()]
    for number in range(60):
        run, other = draw.sample(runs, 2)
        with store.index.transaction() as connection:
            for statement, values in draw.sample(
                [
                    ("INSERT OR REPLACE INTO snapshots VALUES (?, ?, 5, 1, 1)", (run, number % 7)),
                    ("INSERT OR IGNORE INTO part_runs VALUES (?, 1)", (run,)),
                    ("UPDATE runs SET seconds = ?, owner = ? WHERE id = ?", (number, other, run)),
                    ("UPDATE OR REPLACE snapshots SET step = 99 WHERE run = ?", (other,)),
                    ("DELETE FROM snapshots WHERE run = ?", (other,)),
                    ("UPDATE runs SET train_loss = ? WHERE id = ?", (number / 4, run)),
                    ("UPDATE runs SET eval_loss = ?, error = ? WHERE id = ?", (1, "ä", run)),
                ],
                3,
            ):
                connection.execute(statement, values)
        if number == 30:
            with store.index.transaction() as connection:
                connection.execute("DELETE FROM parts")
            assert store.index.rows("SELECT * FROM part_runs") == [], "deleted with their part"
            with store.index.transaction() as connection:
                connection.execute("INSERT INTO parts VALUES (1, ?, 1, 1)", (f"{0:032x}.parquet",))
        if number == 45:
            with pytest.raises(ZeroDivisionError), store.index.transaction() as connection:
                connection.execute("DELETE FROM members")
                raise ZeroDivisionError
    assert store.index.damage() == []
    store.close()
    Store(lab).close()


STRANGE = {
    "a view": "CREATE VIEW v AS SELECT * FROM runs",
    "an endless view": """DROP TABLE notes; CREATE VIEW notes AS WITH RECURSIVE
        n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n)
        SELECT id, 1 AS experiment, 'x' AS text, 'now' AS created FROM n""",
    "a trigger": "CREATE TRIGGER t AFTER UPDATE ON runs BEGIN DELETE FROM runs; END",
    "a table": "CREATE TABLE more (x)",
    "another form": "DROP TABLE notes; CREATE TABLE notes (id, experiment, text, created)",
    "a computed column": "ALTER TABLE notes ADD COLUMN x AS (abs(id))",
    "an index": "CREATE INDEX i ON runs (abs(step))",
}


@pytest.mark.parametrize("statements", STRANGE.values(), ids=STRANGE)
def test_a_schema_that_ablab_did_not_make_is_refused(lab, statements):
    connection = sqlite3.connect(lab / "index.sqlite")
    connection.executescript(statements)
    connection.close()
    with pytest.raises(StoreError, match="that ablab did not make"):
        Store(lab)


def test_another_programs_file_is_left_alone(tmp_path):
    path = tmp_path / "index.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(
        """CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
           INSERT INTO meta VALUES ('format', '1'); CREATE TABLE songs (title TEXT);"""
    )
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="that ablab did not make"):
        Store(tmp_path)
    assert path.read_bytes() == before


@pytest.fixture
def old(tmp_path):
    with tarfile.open(FIXTURES / "format-1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "lab"


def stored_format(path):
    connection = sqlite3.connect(path / "index.sqlite")
    (value,) = connection.execute("SELECT value FROM meta").fetchone()
    connection.close()
    return value


def test_an_older_store_gets_digests_when_it_is_written(old):
    store = Store(old)
    rows = [tuple(row) for row in store.index.rows("SELECT * FROM runs ORDER BY id")]
    assert stored_format(old) == "1", "reading changes nothing that an older release cannot read"
    other = Store(old)
    store.note(1, "hello")
    other.note(1, "from a connection that saw the old format")
    assert stored_format(old) == "2"
    assert [tuple(row) for row in store.index.rows("SELECT * FROM runs ORDER BY id")] == rows
    store.close()
    other.close()
    assert Index(old / "index.sqlite", create=False).damage() == []
    connection = sqlite3.connect(old / "index.sqlite")
    connection.execute("UPDATE runs SET seconds = seconds + 1")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="differs from what was written"):
        Store(old)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE runs SET trajectory = '{\"task\": '",
        "UPDATE runs SET segments = '5'",
        "UPDATE runs SET step = 'three'",
        "UPDATE runs SET trajectory = CAST(x'ff7b7d' AS TEXT)",
        "UPDATE experiments SET definition = '[]'",
        "UPDATE members SET variant = ''",
        "UPDATE parts SET file = '../../x.parquet' WHERE id = (SELECT min(id) FROM parts)",
        "UPDATE kept SET about = 'null'",
        "UPDATE experiments SET entry = '../../home' WHERE id = 1",
        "UPDATE experiments SET entry = '.' WHERE id = 1",
    ],
)
def test_values_of_another_form_are_refused_even_without_digests(old, statement):
    connection = sqlite3.connect(old / "index.sqlite")
    assert connection.execute(statement).rowcount > 0
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match=r"not of the expected form|[Cc]ould not decode"):
        Store(old)


def test_the_definition_is_read_again_only_after_a_change(made, monkeypatch):
    from ablab.store import row_digests

    Store(made).close()
    monkeypatch.setattr(row_digests, "damaged_rows", None)  # calling it would raise
    Store(made).close()
    assert json.loads(Store(made).index.rows("SELECT definition FROM experiments")[0][0])


def flip_in_rows(path, draw):
    """Flips one bit inside of a value of a row."""
    connection = sqlite3.connect(path)
    tables = ("experiments", "runs", "members", "parts", "part_runs", "snapshots", "readings")
    texts = [
        str(value).encode()
        for table in tables
        for row in connection.execute(f"SELECT * FROM {table}")
        for value in row
        if isinstance(value, str) and len(value) > 8
    ]
    schema = str(connection.execute("SELECT group_concat(sql) FROM sqlite_master").fetchone())
    connection.close()
    whole = bytearray(path.read_bytes())
    text = draw.choice([each for each in texts if each not in schema.encode()])
    place = whole.rfind(text) + draw.randrange(len(text))
    whole[place] ^= 1 << draw.randrange(8)
    path.write_bytes(whole)


def test_repair_finds_the_bit_that_changed(made, tmp_path):
    sound = contents(made / "index.sqlite")
    draw = random.Random(3)
    for number in range(40):
        folder = tmp_path / str(number)
        shutil.copytree(made, folder)
        path = folder / "index.sqlite"
        flip_in_rows(path, draw)
        damaged = path.read_bytes()
        assert damage_of(path)
        report = repair_index(folder)
        assert report.left == []
        assert report.done
        assert contents(path) == sound
        Store(folder).close()
        assert (folder / "damaged" / "index-1.sqlite").read_bytes() == damaged
        assert repair_index(folder).done == []


def test_repair_drops_a_reading_that_was_written_in_another_form(lab):
    """Readings with NaN were written by 0.2.0, and their stores could not be opened again."""
    store = Store(lab)
    with store.index.transaction() as connection:
        connection.execute("""UPDATE readings SET reading = '{"rate": NaN}'""")
    store.close()
    before = contents(lab / "index.sqlite")
    assert len(damage_of(lab / "index.sqlite")) == len(before["readings"]) > 0
    report = repair_index(lab)
    after = contents(lab / "index.sqlite")
    assert report.left == [] and len(report.done) == len(before["readings"])
    assert all("readings" in each and "it is read again" in each for each in report.done)
    assert after["readings"] == [] and after == before | {"readings": []}
    Store(lab).close()


def test_repair_does_not_call_corrected_what_stays_invalid(lab):
    store = Store(lab)
    with store.index.transaction() as connection:
        connection.execute("UPDATE expectations SET expectation = '[NaN]'")
    store.close()
    before = contents(lab / "index.sqlite")
    report = repair_index(lab)
    assert report.done == [] and len(report.left) == len(before["expectations"]) > 0
    assert contents(lab / "index.sqlite") == before


def test_repair_drops_only_what_is_made_again(lab):
    connection = sqlite3.connect(lab / "index.sqlite")
    connection.executescript(
        """UPDATE readings SET reading = '{"another": 1}';
           UPDATE notes SET text = 'another note';
           UPDATE runs SET step = 3, seconds = 9 WHERE seed = 0;
           DELETE FROM snapshots WHERE run = (SELECT min(run) FROM snapshots);"""
    )
    connection.close()
    before = contents(lab / "index.sqlite")
    report = repair_index(lab)
    after = contents(lab / "index.sqlite")
    assert after["readings"] == []
    assert len(after["runs"]) == len(before["runs"]) / 2
    assert {name for name in before if before[name] != after[name]} == {"readings", "runs", "sums"}
    assert any("snapshots" in each and "lost" in each for each in report.done)
    assert [each for each in report.left if "notes" in each] == report.left
    assert len(report.left) == 1
    with pytest.raises(StoreError, match="notes"):
        Store(lab)
