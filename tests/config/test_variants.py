"""Components known by their files, and a user's own by import path."""

import subprocess
import sys

import pytest

from ablab.config import InputError
from ablab.experiments import experiment
from ablab.model.config import ACTIVATIONS, ATTENTION_ACTIVATIONS, NORMS, POSITIONS

BASE = {"name": "x", "task": {"kind": "addition"}, "model": {"d_model": 8, "n_heads": 2}}


@pytest.mark.parametrize("variants", [ACTIVATIONS, ATTENTION_ACTIVATIONS, NORMS, POSITIONS])
def test_every_file_registers_what_it_is_called(variants):
    assert len(variants.names()) >= 4
    for name in variants.names():
        found = variants.find(name)
        assert found.__module__.endswith(f".{name}")
        assert found.__doc__, "a variant says what it is"
        assert sys.modules[found.__module__].__doc__.strip()


def test_names_are_known_without_torch():
    code = (
        "import sys; from ablab.experiments import experiment;"
        "experiment({'name': 'x', 'task': {'kind': 'addition'},"
        " 'model': {'position': 'rope', 'norm': 'rms'}});"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.norm=rsm", "one of frobenius, layer, none, rms"),
        ("model.norm=rsm", "did you mean rms"),
        ("model.attention.activation=math:pi", "it is not callable"),
        ("model.attention.activation=nowhere:thing", "cannot import 'nowhere'"),
        ("model.attention.activation=os:system", "no source file"),
    ],
)
def test_what_is_not_there_is_said(override, expected):
    with pytest.raises(InputError, match=expected):
        _ = experiment(BASE, override).runs
