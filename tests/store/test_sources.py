"""Copies of users' modules: models are built from the code that trained them, from any folder."""

import json
import os
import sys

import pytest
import torch
from click.testing import CliRunner

import ablab
from ablab.cli.main import ablab as command
from ablab.config import InputError
from ablab.store.check import check_store
from ablab.store.repair import repair_store
from ablab.store.sources import source_files, sources_in
from ablab.store.store import Store
from tests.store.makers import flip, train
from tests.users_code import ASKED, HELPED, HELPER

TOKENS = torch.tensor([[1, 2, 3]])
SOLO = {"engine": "solo", "compile": "off"}
OWN_NORM = "import torch\ndef norm(*a): return torch.nn.Identity()\n"
# Another module of the name, which must not run.
PLANTED = "raise SystemExit('the planted module was imported')\n"
# A model with a lazy import, in a package, that imports itself and its neighbours absolutely.
PACKAGED = HELPED.replace(
    "from helper import scale", "import pkg.helper\nfrom pkg import other"
).replace(
    "    def forward(self, tokens):\n        return self.head(scale(",
    "    def forward(self, tokens):\n        from pkg.helper import scale\n"
    "        assert pkg.helper.scale is scale and other.one == 1\n        return self.head(scale(",
)


@pytest.fixture
def trained(tmp_path, folder):
    """The store of a run of a user's model, its first run's id, and what its model answers."""
    folder.write(mine=HELPED, helper=HELPER)
    done = train(ASKED, tmp_path / "lab", **SOLO)
    first = done.runs[0].run
    logits = ablab.open(tmp_path / "lab").run(first).model()(TOKENS)
    return tmp_path / "lab", first, logits


def elsewhere(folder, tmp_path, monkeypatch):
    """Another working directory, with a planted module; what was imported is forgotten."""
    other = tmp_path / "elsewhere"
    other.mkdir(exist_ok=True)
    (other / "mine.py").write_text(PLANTED)
    (other / "helper.py").write_text(PLANTED)
    folder.forget()
    monkeypatch.chdir(other)


def test_a_model_is_built_from_its_source_in_any_folder(trained, folder, tmp_path, monkeypatch):
    lab, run, logits = trained
    elsewhere(folder, tmp_path, monkeypatch)
    path, files = list(sys.path), {*lab.rglob("*")}
    model = ablab.open(lab).run(run).model()
    assert torch.equal(model(TOKENS), logits)
    assert "mine" not in sys.modules
    assert "helper" not in sys.modules
    assert sys.path == path
    assert {*lab.rglob("*")} - files <= {lab / "index.sqlite-wal", lab / "index.sqlite-shm"}


def test_replay_and_generate_use_it_too(trained, folder, tmp_path, monkeypatch):
    lab, run, _ = trained
    elsewhere(folder, tmp_path, monkeypatch)
    report = ablab.open(lab).replay(run, watch=["activation/head/rms"], device="cpu")
    assert (report.compared, report.equal) == (4, 4)
    asked = ["generate", run, "--dataset", "held-out", "--json", "--store", str(lab)]
    done = CliRunner().invoke(command, asked, standalone_mode=False)
    assert json.loads(done.stdout)["samples"] > 0


def test_after_an_edit_the_model_is_still_the_trained_one(trained, folder):
    lab, run, logits = trained
    folder.write(helper=HELPER.replace("2.0", "3.0"))
    opened = ablab.open(lab)
    assert torch.equal(opened.run(run).model()(TOKENS), logits)
    current = opened.run(run, source="current").model()(TOKENS)
    assert not torch.equal(current, logits), "the user said so"
    folder.write(helper=HELPER + "# a comment\n")
    assert torch.equal(opened.run(run).model()(TOKENS), logits)
    assert sys.modules["mine"].__name__ == "mine", "the module itself has the same code"


def test_packages_and_imports_within_functions(tmp_path, folder, monkeypatch):
    files = {"pkg/mine.py": PACKAGED, "pkg/helper.py": HELPER, "pkg/other.py": "one = 1\n"}
    folder.write({**files, "pkg/__init__.py": "from .other import one\n"})
    asked = ASKED | {"model": {"kind": "pkg.mine:Mine"}}
    run = train(asked, tmp_path / "lab", **SOLO).runs[0].run
    logits = ablab.open(tmp_path / "lab").run(run).model()(TOKENS)
    folder.write(dict.fromkeys(files, PLANTED))
    assert torch.equal(ablab.open(tmp_path / "lab").run(run).model()(TOKENS), logits)


def test_only_the_components_of_the_run_itself_are_imported(tmp_path, folder):
    """Its experiment names a module that raises, in another cell."""
    folder.write(mine=HELPED, helper=HELPER, bad=OWN_NORM)
    asked = ASKED | {"model": {"kind": "transformer", "d_model": 8, "n_heads": 2}}
    store = ablab.store.Store(tmp_path / "lab", create=True)
    made = ablab.experiment(asked, "model.norm='bad:norm',rms")
    store.register(made, "ablab run", {})
    folder.write(bad=PLANTED)
    run = made.variants[1].runs[0].id
    assert ablab.open(tmp_path / "lab").run(run).initial_model() is not None
    assert "bad" not in sys.modules
    other = ablab.open(tmp_path / "lab").run(made.variants[0].runs[0].id).initial_model()
    assert "Identity" in str(other), "its copy"


def test_without_a_copy_it_is_an_error_that_says_what_to_do(trained, folder, tmp_path, monkeypatch):
    lab, run, _ = trained
    for file in source_files(lab):
        file.unlink()
    assert ablab.open(lab).run(run).model() is not None, "the module here has the same code"
    folder.write(helper=HELPER.replace("2.0", "3.0"))
    for name in (["generate", run, "--dataset", "held-out"], ["replay", run]):
        done = CliRunner().invoke(command, [*name, "--store", str(lab)], standalone_mode=False)
        assert isinstance(done.exception, InputError)
        assert "--source current" in str(done.exception)
    asked = ["replay", run, "--store", str(lab), "--source", "current", "--quiet"]
    done = CliRunner().invoke(command, asked, standalone_mode=False)
    assert done.return_value == 1, "its losses are others"
    with pytest.raises(InputError, match="source has a wrong value"):
        _ = ablab.open(lab).run(run, source="newest").run


def test_reading_imports_nothing(trained, folder, tmp_path, monkeypatch):
    lab, run, _ = trained
    elsewhere(folder, tmp_path, monkeypatch)
    opened = ablab.open(lab)
    assert opened.run(run).metrics().height == 5
    assert opened.run(run).config["model"]["kind"] == "mine:Mine"
    assert not [name for name in sys.modules if name.startswith("ablab_archived_")]
    assert "mine" not in sys.modules


def test_a_changed_copy_is_not_run(trained, folder, tmp_path, monkeypatch):
    lab, run, logits = trained
    elsewhere(folder, tmp_path, monkeypatch)
    (copy,) = lab.glob("sources/*/helper.py")
    copy.write_text(HELPER.replace("2.0", "3.0"))
    with pytest.raises(InputError, match=r"(?s)archived source.*helper\.py"):
        ablab.open(lab).run(run).model()
    copy.write_text(HELPER + "# a comment\n")
    assert torch.equal(ablab.open(lab).run(run).model()(TOKENS), logits)


def test_a_flipped_bit_in_a_copy_or_a_list_is_found_and_repaired(trained, folder):
    lab, run, logits = trained
    store = Store(lab)
    assert check_store(store).problems == []
    for path in source_files(lab):
        before = flip(path, 0.5)
        (problem,) = check_store(store).problems
        assert str(path) in problem
        repair_store(store)
        assert not path.exists()
        assert check_store(store).problems == []
        train(ASKED, lab)
        assert path.read_bytes() == before
        assert torch.equal(ablab.open(lab).run(run).model()(TOKENS), logits)


@pytest.mark.parametrize("plant", ["link", "folder", "outside", "pipe", "list"])
def test_nothing_outside_the_folder_is_read(trained, folder, tmp_path, monkeypatch, plant):
    lab, run, _ = trained
    elsewhere(folder, tmp_path, monkeypatch)
    (copy,) = lab.glob("sources/*/helper.py")
    (listed,) = lab.glob("sources/*.json")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "helper.py").write_text(HELPER)
    (outside / "mine.py").write_text(HELPED)
    if plant == "link":
        copy.unlink()
        copy.symlink_to(outside / "helper.py")
    elif plant == "folder":
        copy.parent.rename(tmp_path / "moved")
        copy.parent.symlink_to(outside)
    elif plant == "outside":
        about = json.loads(listed.read_text())
        about["copies"]["helper"] = "../../../outside/helper.py"
        listed.write_text(json.dumps(about))
    elif plant == "pipe":
        copy.unlink()
        os.mkfifo(copy)
    else:
        listed.write_text("[]")
    with pytest.raises(InputError, match="archived source"):
        ablab.open(lab).run(run).model()


def test_components_are_found_in_a_trajectory():
    shape = {
        "model": {
            "kind": "a:A", "source": "1", "norm": "b:B", "norm_source": "2",
            "attention": {"activation": "softmax"},
            "blocks": {"1": {"norm": "c:C", "norm_source": "3"}},
        },
        "train": {"optimizer": {"kind": "d:D", "rho": 1}, "optimizer_source": "4"},
        "task": {"kind": "addition"},
    }  # fmt: skip
    assert sources_in(shape) == {"a:A": "1", "b:B": "2", "c:C": "3", "d:D": "4"}
