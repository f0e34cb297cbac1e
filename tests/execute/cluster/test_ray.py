"""The executor ray, on a cluster of two nodes that are processes of this machine."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from ablab.config import InputError
from ablab.execute.executors.ray import RayCluster
from ablab.execute.options import Options
from ablab.store.store import Store
from tests.cli.command import run_command
from tests.execute.stored_steps import steps, wait_until
from tests.store.makers import train
from tests.store.packing import metrics, sound
from tests.users_code import ASKED, HELPED, HELPER

ray = pytest.importorskip("ray", reason="the extra ray is not installed")
PINNED = ["--engine", "solo", "--compile", "off"]
GRID = [
    "addition", "model.d_model=8", "model.n_heads=1", "seeds=2", "train.steps=300",
    "train.snapshots={every: 50, logarithmic: false}", "train.evaluate={every: 100, samples: 32}",
]  # fmt: skip


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    store = {"object_store_memory": 80 * 2**20}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **store})
    for _ in range(2):
        made.add_node(num_cpus=1, **store)
    yield made
    made.shutdown()


def started(store, cluster, *arguments, **popen):
    return subprocess.Popen(
        [sys.executable, "-m", "ablab", "run", *arguments, *PINNED, "--store", str(store),
         "--executor", "ray", "--address", cluster.address],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, **popen,
    )  # fmt: skip


def run(store, cluster, *arguments, **popen):
    process = started(store, cluster, *arguments, **popen)
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return out, errors


def test_a_command_that_is_killed_is_taken_over(tmp_path, cluster):
    first = started(tmp_path / "lab", cluster, *GRID)
    wait_until(lambda: any(steps(tmp_path / "lab").values()), first)
    assert first.poll() is None
    first.send_signal(signal.SIGKILL)
    first.communicate()
    _, errors = run(tmp_path / "lab", cluster, *GRID)
    assert "has gone on with" in errors
    assert set(steps(tmp_path / "lab").values()) == {300}
    assert sound(tmp_path / "lab").problems == []
    local = ["run", *GRID, *PINNED, "--workers", "1", "--store", str(tmp_path / "local")]
    assert run_command(*local)[0] == 0
    assert metrics(tmp_path / "lab").equals(metrics(tmp_path / "local"))
    opened = Store(tmp_path / "lab")
    assert opened.index.rows("SELECT 1 FROM runs WHERE owner IS NOT NULL") == []


def test_a_command_that_is_asked_to_end_saves_everything_first(tmp_path, cluster):
    more = [each.replace("every: 50", "every: 500") for each in GRID]
    more = [each.replace("train.steps=300", "train.steps=1600") for each in more]
    first = started(tmp_path / "lab", cluster, *more)
    wait_until(lambda: any(steps(tmp_path / "lab").values()), first)  # those of step 500
    assert first.poll() is None
    first.send_signal(signal.SIGTERM)
    _, errors = first.communicate(timeout=120)
    assert "interrupted; run the same command again to continue" in errors
    assert 0 < max(steps(tmp_path / "lab").values()) < 1600
    run(tmp_path / "lab", cluster, *more)
    assert set(steps(tmp_path / "lab").values()) == {1600}


def test_users_modules_travel(tmp_path, folder, cluster):
    # Neither the nodes nor their processes have this folder on their path.
    folder.write(mine=HELPED, helper=HELPER)
    (folder.path / "asked.yaml").write_text(json.dumps(ASKED))
    run(tmp_path / "lab", cluster, "asked.yaml", cwd=folder.path)
    train(ASKED, tmp_path / "local", engine="solo", compile="off")
    assert metrics(tmp_path / "lab").equals(metrics(tmp_path / "local"))


def test_a_gpu_that_torch_does_not_find_is_not_used(tmp_path, cluster):
    """The cores of its machine, and of the others, train."""
    node = cluster.add_node(num_cpus=2, num_gpus=1, object_store_memory=80 * 2**20)
    more = [each.replace("seeds=2", "seeds=8") for each in GRID]
    try:
        _, errors = run(tmp_path / "lab", cluster, *more, "--device", "auto")
        assert re.search(r"/GPU \d is not used: no cuda device is available", errors)
        assert set(steps(tmp_path / "lab").values()) == {300}
    finally:
        cluster.remove_node(node)


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'ablab\[ray\]'"):
        RayCluster.capacity(Options(executor="ray"))


@pytest.mark.parametrize("text", ["soon", "0", "-1", "inf"])
def test_the_time_of_silence_is_a_number(monkeypatch, text):
    monkeypatch.setenv("ABLAB_SILENT_SECONDS", text)
    with pytest.raises(InputError, match="ABLAB_SILENT_SECONDS"):
        RayCluster.capacity(Options(executor="ray"))
