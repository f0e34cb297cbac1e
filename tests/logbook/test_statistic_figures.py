import json
import re
import sys

import polars as pl
import pytest

import ablab
from ablab.config import InputError
from ablab.logbook.draw import draw
from ablab.logbook.exports import export
from ablab.logbook.layers import layer_groups
from tests.cli.command import run_command
from tests.store.makers import train_and_write

ASKED = {
    "name": "asked",
    "task": {"kind": "addition", "n_digits": 2, "target": "last"},
    "model": {"kind": "transformer", "n_layers": 2, "d_model": 8, "n_heads": 2},
    "train": {"steps": 20, "batch_size": 16, "evaluate": {"every": 10, "samples": 16}},
    "watch": {
        "every": "log",
        "statistics": ["default", "activation/*", "activation_grad/logits/*"],
        "captures": {"what": ["blocks.*.attn.pattern", "param/blocks.0.mlp.linear.weight"]},
    },
    "grid": {"train.lr": [1e-3, 1e-2]},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched") / "lab"
    train_and_write(ASKED, folder, compile="off")
    return folder


def test_the_entry_draws_what_was_watched(lab):
    (folder,) = (lab / "logbook").glob("2*")
    page = (folder / "index.html").read_text()
    assert "activation/blocks.*.attn.pattern/mean_entropy, as a heat map" in page
    assert "activation/blocks.0.attn.pattern of run" in page
    assert re.search(
        r"mean over \d+ samples, for 2 heads of block 0; run [0-9a-f]{12}, seed 0", page
    )
    assert '<option value="activation/logits/mean_margin">' in page
    text = (folder / "entry.md").read_text()
    drawn = [
        line.partition("](")[2].rstrip(")") for line in text.splitlines() if "](figures" in line
    ]
    assert len(drawn) > 8
    assert all((folder / path).is_file() for path in drawn)


def test_any_statistic_and_capture_is_drawn(lab):
    run = ablab.open(lab).run(ablab.open(lab).runs()[0].run)
    assert run.captures == [0, 1, 2, 4, 8, 16]
    for name, kind in [
        ("activation/blocks.*.resid_post/rms", "curves"),
        ("activation/blocks.*.resid_post/rms", "heat"),
        ("blocks.1.attn.pattern", "patterns"),
        ("param/blocks.0.mlp.linear.weight", "histogram"),
    ]:
        assert draw(run, name, kind).startswith("<svg")
    for name, kind, said in [
        ("activation/*", "curves", "a figure shows only one"),
        ("activation/ln_finl/rms", "curves", "no column"),
        ("blocks.9.attn.pattern", "patterns", "did you mean activation/blocks"),
        ("activation/ln_final/rms", "curve", "did you mean curves"),
    ]:
        with pytest.raises(InputError, match=said):
            draw(run, name, kind)


def test_layers_come_in_their_order():
    names = [f"grad/blocks.{n}.mlp.linear.weight/rms" for n in (10, 2, 0)] + ["param/model/rms"]
    groups = layer_groups(names)
    assert [list(group.columns) for group in groups] == [[0, 2, 10], [0]]


def test_exports_hold_the_metrics(lab, tmp_path):
    opened = ablab.open(lab)
    record = opened.store.experiment("asked")
    metrics = opened.metrics("asked", ["train_loss", "grad/*/rms"])
    columns = ("train_loss", "grad/*/rms")
    path, runs = export(opened.store, record, "parquet", tmp_path / "a.parquet", columns)
    assert runs == 2 and pl.read_parquet(path).equals(metrics)
    path, _ = export(opened.store, record, "csv", tmp_path / "a.csv", columns)
    assert pl.read_csv(path).columns == metrics.columns


def test_tensorboard_reads_its_events(lab, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    opened = ablab.open(lab)
    record = opened.store.experiment("asked")
    for _ in range(2):  # written anew, not added to
        path, _ = export(opened.store, record, "tensorboard", tmp_path / "tb", ("train_loss",))
    folder = sorted(path.iterdir())[0]
    found = accumulator.EventAccumulator(str(folder))
    found.Reload()
    run = folder.name.rpartition("-")[2]
    own = opened.run(run).metrics(["train_loss"]).drop_nulls()
    assert [event.step for event in found.Scalars("train_loss")] == own["step"].to_list()
    values = [event.value for event in found.Scalars("train_loss")]
    assert values == pytest.approx(own["train_loss"].to_list())


@pytest.mark.slow
def test_wandb_keeps_its_runs_offline(lab, tmp_path):
    pytest.importorskip("wandb")
    opened = ablab.open(lab)
    record = opened.store.experiment("asked")
    path, runs = export(opened.store, record, "wandb", tmp_path, ("train_loss",), offline=True)
    assert len(list(path.glob("wandb/offline-run-*/*.wandb"))) == runs == 2


def test_a_missing_package_and_a_wrong_form_are_said(lab, monkeypatch):
    opened = ablab.open(lab)
    record = opened.store.experiment("asked")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r"pip install 'ablab\[wandb\]'"):
        export(opened.store, record, "wandb")
    with pytest.raises(InputError, match="did you mean parquet"):
        export(opened.store, record, "parqet")


def test_commands(lab, tmp_path):
    run = ablab.open(lab).runs()[0].run
    store = ["--store", str(lab)]
    code, out, _ = run_command("replay", run, "--steps", "3:9", "--watch", "grad/*/rms", *store)
    assert code == 0 and "all 7 are equal to the stored ones, bit for bit" in out
    code, out, _ = run_command(
        "figure", run, "activation/ln_final/rms", "--out", str(tmp_path / "a.svg"), *store
    )
    assert code == 0 and (tmp_path / "a.svg").read_text().startswith("<svg")
    dotted = tmp_path / "rms_0.5"  # no other format
    code, _, _ = run_command("figure", run, "activation/ln_final/rms", "--out", str(dotted), *store)
    assert code == 0 and dotted.read_text().startswith("<svg")
    code, out, _ = run_command("show", run, *store)
    assert code == 0 and "captures     after steps 0, 1, 2, 4, 8, 16" in out
    for wrong, said in [
        (["replay", run, "--steps", "a:b"], "--steps is not a range"),
        (["replay", run, "--every", "0"], "--every 0 is below 1"),
        (["replay", "zzz"], "no run 'zzz'"),
        (["export", "asked", "--to", "xml"], "unknown export format 'xml'"),
        (["export", "nothing", "--to", "csv"], "no experiment called 'nothing'"),
        (["figure", run, "nothing"], "no column"),
    ]:
        code, out, err = run_command(*wrong, *store)
        assert (code, out) == (2, ""), wrong
        assert said in err and "Traceback" not in err


def test_without_a_name_the_command_lists_what_can_be_drawn(lab):
    run = ablab.open(lab).runs()[0].run
    code, out, _ = run_command("figure", run, "--json", "--store", str(lab))
    found = json.loads(out)
    assert code == 0 and {each["name"] for each in found["figures"]} >= {"curves", "patterns"}
    assert "activation/blocks.*.resid_post/rms" in found["statistics"]
    assert "train_loss" in found["statistics"]
    assert "param/blocks.0.mlp.linear.weight" in found["captures"]
    stored = ablab.open(lab).run(run)
    for name in found["statistics"][:3]:
        assert draw(stored, name, "heat").startswith("<svg")
    for name in found["captures"]:
        assert draw(stored, name, "histogram").startswith("<svg")
    code, out, _ = run_command("figure", run, "--store", str(lab))
    assert code == 0 and "--as heat" in out and "    activation/blocks.0.attn.pattern" in out


def test_figures_of_a_users_own_are_drawn(lab, tmp_path, monkeypatch):
    run = ablab.open(lab).runs()[0].run
    own, store = "tests.logbook.my_figures:", ["--store", str(lab)]
    monkeypatch.chdir(tmp_path)
    code, out, err = run_command("figure", run, "--as", own + "norms", *store)
    assert code == 0, err
    drawn = (tmp_path / out.strip()).read_text()
    assert "blocks.0.mlp.linear.weight" in drawn
    drawn = draw(ablab.open(lab).run(run), "activation/blocks.*.resid_post/rms", own + "last")
    assert "layer 1" in drawn


def test_what_a_figure_cannot_draw_is_said(lab):
    run = ablab.open(lab).run(ablab.open(lab).runs()[0].run)
    with pytest.raises(InputError, match="needs the name of a statistic"):
        draw(run, None, "heat")
    with pytest.raises(InputError, match=r"not an attention pattern(.|\n)*shape \("):
        draw(run, "param/blocks.0.mlp.linear.weight", "patterns")
