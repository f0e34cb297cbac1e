"""A single flipped bit in any file of a store is found by a check, and its content refused."""

import shutil

import polars as pl
import psutil
import pytest
import torch

import ablab
from ablab.logbook.entry import write_entry
from ablab.store import Store, StoreError
from ablab.store.artifacts import read_artifact, read_incident
from ablab.store.check import check_store
from ablab.store.metrics import append_rows, read_runs
from ablab.store.repair_plan import plan_repair
from ablab.store.snapshots import read_parameters
from tests.cli.command import run_command
from tests.store.makers import WILD, flip, train

PLACES = (0.0, 0.02, 0.3, 0.6, 0.97, 1.0)
CAPTURES = "watch.captures={what: logits, samples: 2, steps: [0, 20]}"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    lab = tmp_path_factory.mktemp("bits") / "lab"
    done = train(WILD, lab, "train.steps=40", "train.snapshots={every: 20}", CAPTURES)
    run = done.runs[0].run
    steps = list(range(1, 11))
    append_rows(done.store, pl.DataFrame({"run": [run] * 10, "step": steps, "grad/x/rms": 0.5}))
    write_entry(done.store, done.record)
    done.store.close()
    return lab, run


@pytest.fixture
def lab(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "lab")
    return tmp_path / "lab"


def files_of(lab, kind):
    return sorted((lab / kind).rglob("*.*"))


def read_everything(store, path):
    """Reads what a file holds, as the commands do."""
    kind, run, step = path.relative_to(store.path).parts[0], path.parent.name, path.stem
    if kind == "metrics":
        read_runs(store, [row["id"] for row in store.index.rows("SELECT id FROM runs")])
    elif kind == "snapshots":
        read_parameters(store, run, int(step))
    elif path.suffix == ".parquet":
        read_incident(store, run, int(step))
    else:
        read_artifact(store, kind.removesuffix("s"), run, int(step))


@pytest.mark.parametrize("kind", ["metrics", "snapshots", "captures", "flights"])
def test_a_flipped_bit_is_found_and_its_file_is_not_read(lab, kind):
    store = Store(lab)
    found = check_store(store)
    assert (found.problems, found.leftovers, found.uncovered) == ([], [], [])
    files = files_of(lab, kind)
    assert files
    for path in files:
        read_everything(store, path)
        for place in PLACES:
            before = flip(path, place)
            (problem,) = check_store(store).problems
            assert str(path) in problem
            with pytest.raises(StoreError, match="damaged") as caught:
                read_everything(store, path)
            assert "ablab check --repair" in str(caught.value)
            path.write_bytes(before)
    assert check_store(store).problems == []


def test_what_is_damaged_is_named_by_run_and_steps(made, lab):
    store = Store(lab)
    run = made[1]
    added = next(path for path in files_of(lab, "metrics") if pl.read_parquet(path).height == 10)
    flip(added, 0.5)
    (damage,) = check_store(store).damages
    assert damage.whose == f"run {run}, steps 1 to 10"
    with pytest.raises(StoreError, match=f"run {run}, steps 1 to 10"):
        read_runs(store, [run])


def test_only_the_damaged_share_of_a_part_is_lost(lab):
    """One run's column chunk is damaged; the other run's rows in the same file are sound."""
    store = Store(lab)
    one, other = (row["id"] for row in store.index.rows("SELECT id FROM runs ORDER BY id"))
    path = next(path for path in files_of(lab, "metrics") if pl.read_parquet(path).height > 10)
    frame = pl.read_parquet(path)
    wrong = pl.when(pl.col("run") == one).then(pl.col("train_loss") + 1e-9)
    changed = frame.with_columns(wrong.otherwise(pl.col("train_loss")).alias("train_loss"))
    changed.write_parquet(path, compression="zstd")
    (damage,) = check_store(store).damages
    assert [share.run for share in damage.lost] == [one]
    assert damage.sound == (other,)


def test_texts_that_are_read_back_are_checked(lab):
    from ablab.logbook.listing import listing

    store = Store(lab)
    (path,) = (lab / "logbook").rglob("findings.json")
    text = path.read_text()
    assert "negative" in text
    path.write_text(text.replace("negative", "negativf"))
    (problem,) = check_store(store).problems
    assert str(path) in problem
    (entry,) = listing(store)["entries"]
    assert f"ablab logbook {path.parent.name}`" in entry["sentences"][0]


@pytest.mark.parametrize("which", ["LOGBOOK.md", "*/index.html", "*/figures/train_loss.svg"])
def test_files_for_people_are_checked_and_written_again(lab, which):
    (path,) = (lab / "logbook").glob(which)
    sound = path.read_bytes()
    path.write_bytes(sound[:-9] + bytes([sound[-9] ^ 4]) + sound[-8:])
    store = Store(lab)
    checked = check_store(store)
    assert [each.path for each in checked.damages] == [path]
    (action,) = plan_repair(store, checked).actions
    words = action.then.split()
    assert words[:2] == ["ablab", "logbook"]
    code, out, err = run_command(*words[1:], "--store", str(lab))
    assert code == 0, out + err
    assert check_store(store).problems == []
    assert path.read_bytes() == sound


def test_damage_in_a_store_without_digests_is_an_error_not_a_crash(lab):
    """Polars panics on some of these; a panic is not an Exception."""
    store = Store(lab)
    with store.index.transaction() as connection:
        connection.execute("DELETE FROM digests")
        connection.execute("DELETE FROM shares")
    path = next(path for path in files_of(lab, "metrics") if pl.read_parquet(path).height > 10)
    run = store.runs()[0].run
    assert check_store(store).problems == []
    assert path in check_store(store).uncovered
    refused = 0
    for place in range(0, 100):
        before = flip(path, place / 100, place % 8)
        check_store(store)
        try:
            read_runs(store, [run])
        except StoreError:
            refused += 1
        path.write_bytes(before)
    assert refused > 10


def test_a_capture_that_is_replaced_may_have_either_digest(made, lab, monkeypatch):
    """A process that is killed between the rename and the transaction leaves a sound store."""
    from ablab.store import artifacts

    store, run = Store(lab), made[1]
    before = read_artifact(store, "capture", run, 20)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(artifacts, "record_digests", killed)
    with pytest.raises(KeyboardInterrupt):
        artifacts.save_artifact(store, "capture", run, 20, {"param/w": torch.ones(2)}, {})
    assert check_store(store).problems == []
    assert set(read_artifact(store, "capture", run, 20)) == {*before, "param/w"}


def test_a_damaged_capture_is_set_aside_when_it_is_captured_again(made, lab):
    from ablab.store.artifacts import artifact_path, save_artifact

    store, run = Store(lab), made[1]
    path = artifact_path(store, "capture", run, 20)
    flip(path, 0.9)
    damaged = path.read_bytes()
    save_artifact(store, "capture", run, 20, {"param/w": torch.ones(2)}, {})
    assert set(read_artifact(store, "capture", run, 20)) == {"param/w"}
    assert (lab / "damaged" / path.relative_to(lab)).read_bytes() == damaged


def test_a_part_that_does_not_fit_in_memory_is_refused_before_it_is_read(lab, monkeypatch):
    store = Store(lab)
    rows = 2_000_000
    append_rows(store, pl.DataFrame({"run": ["b"] * rows, "step": [1] * rows, "x": [0.5] * rows}))
    large = max(files_of(lab, "metrics"), key=lambda path: path.stat().st_mtime_ns)
    assert large.stat().st_size < 100_000
    memory = psutil.virtual_memory()._replace(available=10**7)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(pl, "read_parquet", None)
    with pytest.raises(StoreError, match="GB of memory"):
        read_runs(store, ["b"])


def test_a_resume_says_which_snapshot_it_skips(lab, made):
    run = made[1]
    path = lab / "snapshots" / run / "40.safetensors"
    flip(path, 0.5)
    said = []
    from ablab.execute.options import Options
    from ablab.execute.orchestrate import orchestrate
    from ablab.execute.progress import QuietReporter

    class Listening(QuietReporter):
        def event(self, event):
            said.append(event.get("text") or "")

    longer = ablab.experiment(WILD, "train.steps=60", "train.snapshots={every: 20}", CAPTURES)
    orchestrate(longer, Store(lab), Options(workers=1), "ablab.run(…)", Listening(), lambda: False)
    (line,) = [text for text in said if "cannot be read" in text]
    assert f"run {run} continues from step 20" in line and "step 40" in line
