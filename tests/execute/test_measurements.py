"""Measured speeds in a file that several processes change, or that something damaged."""

import json
import subprocess
import sys

import pytest

from ablab.execute.speeds import Speeds
from ablab.train.method import SOLO, STACK, Method
from tests.execute.test_speeds import FAR, SMALL, TWICE

COMPILED = Method("stack", True, "innermost", "plain", 1)
ADD = """
import json, sys
from pathlib import Path
from ablab.config.files import write_text_atomically
from ablab.execute.measurements import add_compiled, locked, read_measurements
path, name = Path(sys.argv[1]), sys.argv[2]
for number in range(40):
    with locked(path):
        data = read_measurements(path)
        add_compiled(data, f"{name} {number}", {"seconds": 1.0, "guess": 1.0})
        write_text_atomically(path, json.dumps(data))
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "speeds.json"


def test_what_another_command_saved_meanwhile_is_kept(path):
    one, two = Speeds(path), Speeds(path)
    one.note_step(SMALL, SOLO, 1, 1, 0.25)
    one.note_compiled(SMALL, COMPILED, 9.0)
    one.note_estimate("one", 1.0, 2.0)
    two.note_step(TWICE, STACK, 1, 1, 0.5)
    two.note_step(SMALL, SOLO, 1, 1, 1.0)
    two.note_start(7.0)
    two.note_estimate("two", 3.0, 4.0)
    two.save()
    one.save()
    one.save()  # nothing is added twice
    both = Speeds(path)
    assert both.step(TWICE, STACK, 1, 1) == 0.5
    assert both.step(SMALL, SOLO, 1, 1) == pytest.approx(0.5)  # as if one had measured after two
    assert both.compile_seconds(SMALL, COMPILED) < both.compile_seconds(FAR, COMPILED)
    assert both.start_seconds(2) == 7.0
    assert [each["name"] for each in both.estimates] == ["two", "one"]


def test_two_processes_lose_nothing(path):
    both = [subprocess.Popen([sys.executable, "-c", ADD, str(path), name]) for name in "ab"]
    assert [process.wait() for process in both] == [0, 0]
    assert len(json.loads(path.read_text())["compiled"]) == 80


GOOD = {
    "seconds": 1.0, "prior": 1.0, "family": "eager", "threads": 1, "workers": 1,
    "counts": [1.0, 1.0, 1.0, 1.0],
}  # fmt: skip


@pytest.mark.parametrize(
    "damage",
    [
        {"steps": {"a": 1}},
        {"steps": {"a": {}}},
        {"steps": {"a": GOOD | {"seconds": -1.0}}},
        {"steps": {"a": GOOD | {"counts": "x"}}},
        {"steps": {"a": GOOD | {"prior": float("nan")}}},
        {"compiled": {"a": {"seconds": 0.0, "guess": 1.0}}},
        {"estimates": [3]},
        {"power": "x"},
        {"start": []},
    ],
)
def test_damage_within_the_file_is_ignored(path, damage):
    path.write_text(json.dumps({"steps": {}, "compiled": {}, "estimates": []} | damage))
    speeds = Speeds(path)
    assert speeds.step(SMALL, SOLO, 1, 1) > 0
    assert speeds.compile_seconds(SMALL, COMPILED) > 0
    assert speeds.start_seconds(2) > 0
    assert speeds.estimates == []
    speeds.save()
    assert Speeds(path).step(SMALL, SOLO, 1, 1) > 0


def test_a_file_nested_too_deeply_is_ignored(path):
    path.write_text("[" * 100_000)
    assert Speeds(path).step(SMALL, SOLO, 1, 1) > 0
