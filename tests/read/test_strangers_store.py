"""Reading a stranger's store runs nothing of it, fetches nothing and reads nothing outside.

Every command that reads, every page and the Python API read a store whose definitions name modules
and corpora, in a process that records imports, opened files, connections and started programs.
(Files that Parquet's reader opens are not seen; their names come from the index of the store.)
"""

import json
import os
import re
import site
import subprocess
import sys
import sysconfig
from pathlib import Path

import matplotlib
import pytest

from ablab.cli.main import ablab as commands
from ablab.open_store import OpenStore
from tests.read.recording import READING
from tests.read.strangers import MARKUP, STRANGE, strangers_store

ROOT = Path(__file__).resolve().parents[2]
# Commands that train, build a model that the user asks for, or do not read a store.
OTHER = {
    "run", "settle", "plan", "new", "replay", "generate", "doctor", "data", "recipes", "analyses",
    "analyze",
}  # fmt: skip
KINDS = [*READING, "open"]
SYSTEM = (
    ":memory:",
    "/dev/null",
    "/dev/urandom",
    "/proc/",
    "/sys/",
    "/etc/",
    "/usr/share/",
    "/usr/local/share/",
    "/usr/lib/",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stranger")
    strangers_store(folder)
    return folder


REMOVED = "metrics|snapshots|findings|captures|flights|sources|tokenizers|[0-9a-f]{12}"
# What differs where an older release registered the experiments.
OLD = ["effects", "serve"]


def record(folder, name, *kinds):
    """What each step of some kinds did with a store; its folder and all steps."""
    report = folder / f"{name}.json"
    for other in ("home", "cache"):
        (folder / other).mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "ABLAB_DATA"} | {
        "HOME": str(folder / "home"),
        "ABLAB_CACHE": str(folder / "cache"),
        "MPLCONFIGDIR": matplotlib.get_cachedir(),  # its list of fonts takes seconds to make
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT), str(folder / "modules")]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.read.recording", str(folder / name), str(report), *kinds],
        cwd=folder / "work",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder, folder / name, json.loads(report.read_text())


@pytest.fixture(scope="module")
def new(folder):
    return record(folder, "lab")


@pytest.fixture(scope="module")
def old(folder):
    return record(folder, "old", *OLD)


def of_kind(recorded, kind):
    steps = [step for step in recorded[2] if step["kind"] == kind]
    assert steps, f"nothing was done with {kind}"
    return steps


every_kind = pytest.mark.parametrize(
    ("store", "kind"), [*(("new", kind) for kind in KINDS), *(("old", kind) for kind in OLD)]
)


@pytest.fixture
def recorded(store, request):
    return request.getfixturevalue(store)


def test_every_command_is_known_to_read_or_not():
    assert set(commands.commands) == READING.keys() | OTHER
    assert not READING.keys() & OTHER


@every_kind
def test_no_module_of_a_stranger_is_imported(recorded, kind):
    for step in of_kind(recorded, kind):
        asked = {event[1].partition(".")[0] for event in step["events"] if event[0] == "import"}
        assert not asked & {"mine", "evilmod"}, step["name"]


@pytest.mark.parametrize("store", ["new", "old"])
def test_no_module_of_a_stranger_ran(recorded):
    marker = recorded[0] / "imported"
    assert not marker.exists(), marker.read_text()


@every_kind
def test_nothing_is_fetched_and_no_program_is_started(recorded, kind):
    for step in of_kind(recorded, kind):
        others = [event for event in step["events"] if event[0] not in ("import", "open")]
        assert not others, step["name"]


@every_kind
def test_nothing_outside_is_read(recorded, kind):
    folder, store, _ = recorded
    own = [store, ROOT / "src", Path(matplotlib.get_cachedir()), Path(sys.prefix),
           Path(sys.base_prefix), *map(Path, sysconfig.get_paths().values()),
           Path(site.getusersitepackages()), ROOT / "tests"]  # fmt: skip
    work = folder / "work"
    written = {work / name for name in ("out.svg", "out.csv", "out.parquet", "out.zip")}
    for step in of_kind(recorded, kind):
        if "stranger.yaml" in step["name"]:
            written.add(work / "stranger.yaml")  # which the user named
        for _, path, *_ in (event for event in step["events"] if event[0] == "open"):
            plain = Path(os.path.normpath(path.removeprefix("file://").partition("?")[0]))
            inside = plain.relative_to(folder).parts if plain.is_relative_to(folder) else ()
            named = any(name.startswith(".partial-") for name in inside[:2])
            if kind in ("pack", "unpack") and plain.parent == work and not plain.exists():
                # A folder of a temporary store that is removed is opened by its name alone.
                named = named or re.fullmatch(REMOVED, plain.name) is not None
            assert (
                named
                or plain in (work, *written)  # a folder is opened to sync it
                or str(plain).startswith(SYSTEM)
                or any(plain.is_relative_to(each) for each in own)
            ), f"{step['name']} opened {path}"


@every_kind
def test_what_can_be_read_is_read(recorded, kind):
    """Nothing is refused for being a stranger's, except where a name cannot be a file's."""
    for step in of_kind(recorded, kind):
        assert "Traceback" not in step["err"], step
        markup = MARKUP in step["name"] or step["name"] == "logbook"
        good = (0, 1) if kind == "check" else (0, 200)  # made-up runs have no snapshots
        assert step["code"] in (*good, *((2, 503) if markup else ())), step


@pytest.mark.parametrize("store", ["new"])
@pytest.mark.parametrize("kind", [kind for kind in READING if kind != "serve"])
def test_names_are_shown_without_their_control_characters(recorded, kind):
    for step in of_kind(recorded, kind):
        for text in (step["out"], step["err"]):
            found = {c for c in text if ord(c) < 32 or 127 <= ord(c) < 160} - {"\n", "\t"}
            assert not found, step["name"]


@pytest.mark.parametrize("store", ["new", "old"])
def test_no_page_has_a_strangers_markup(recorded):
    for step in of_kind(recorded, "serve"):
        assert step["name"].endswith("/data") or "<script>alert" not in step["out"], step["name"]


@pytest.mark.parametrize("store", ["new", "old"])
def test_the_base_of_a_comparison_is_known_without_its_module(recorded, store):
    """The store says what its release registered; without that, what the definition says."""
    shown = {}
    for step in of_kind(recorded, "effects"):
        if not step["name"].endswith("--json"):
            shown[step["name"].removeprefix("effects ")] = step["out"]
    for name in set(STRANGE) - {"marked"}:
        # An older release did not record defaults, and whose they are is not known without imports.
        unknown = store == "old" and name in ("module", "norms")
        base = "model.d_model=8 (the first value)" if unknown else "model.d_model=32"
        assert f"base: {base}\n" in shown[name], name


def test_the_python_api_is_covered():
    methods = {name for name in vars(OpenStore) if not name.startswith("_")}
    assert methods == {"experiments", "runs", "run", "metrics", "measure", "readings", "effects",
                       "verdicts", "replay", "plot", "shown"}  # fmt: skip
