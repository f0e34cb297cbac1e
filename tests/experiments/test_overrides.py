import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablab.config import InputError
from ablab.experiments.overrides import as_override, parse_overrides


@pytest.mark.parametrize(
    ("text", "value", "is_axis"),
    [
        ("train.lr=1e-3", 1e-3, False),
        ("model.d_model=8", 8, False),
        ("model.d_model=8,16", [8, 16], True),
        ("model.d_model=choice(8,16)", [8, 16], True),
        ("model.n_layers=range(1,4)", [1, 2, 3], True),
        ("train.lr=1e-3,range(1,4)", [1e-3, 1, 2, 3], True),
        ("train.betas=[0.9,0.99]", [0.9, 0.99], False),
        ("train.betas=[0.9,0.99],[0.5,0.9]", [[0.9, 0.99], [0.5, 0.9]], True),
        ("model.mlp=null", None, False),
        ("model.residual=false", False, False),
        ("train.stop={below:0.1}", {"below": 0.1}, False),
        ("section='1 bigram'", "1 bigram", False),
        ("task.corpus=python-stdlib", "python-stdlib", False),
    ],
)
def test_hydras_grammar(text, value, is_axis):
    (override,) = parse_overrides([text])
    assert (override.key, override.value, override.is_axis) == (
        text.partition("=")[0],
        value,
        is_axis,
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "model.d_model",
        "=3",
        "x=[1",
        "+x=1",
        "~x",
        "x@y=1",
        "x=interval(0,1)",
        "x=1,interval(0,1)",
        "x=glob(*)",
    ],
)
def test_what_is_not_an_override_is_an_error(text):
    with pytest.raises(InputError):
        parse_overrides([text])


def test_a_key_is_overridden_once():
    with pytest.raises(InputError, match="twice"):
        parse_overrides(["train.lr=1", "train.lr=2"])


@given(st.text(max_size=30))
def test_any_text_is_an_override_or_a_clear_error(text):
    try:
        parse_overrides([text])
    except InputError as error:
        assert str(error)


@given(
    key=st.from_regex(r"[a-z_]+(\.[a-z_]+){0,3}", fullmatch=True),
    values=st.lists(st.integers(-(10**6), 10**6), min_size=2, max_size=5),
)
def test_lists_of_numbers_are_axes(key, values):
    (override,) = parse_overrides([f"{key}={','.join(map(str, values))}"])
    assert override.is_axis
    assert override.value == values


@pytest.mark.parametrize(
    "value",
    [8, 0.25, 1e-5, True, None, "gelu", "16 wide, 16 heads", 'a "quoted" one', "1", "null", "a=b"],
)
def test_a_value_is_written_as_an_override_and_read_back(value):
    (override,) = parse_overrides([as_override("a.b", value)])
    assert (override.key, override.value, override.is_axis) == ("a.b", value, False)


def test_hydra_is_imported_only_where_a_text_is_parsed():
    code = (
        "import sys; from ablab.experiments.overrides import parse_overrides; import ablab.store;"
        "parse_overrides([]); first = 'hydra' in sys.modules;"
        "parse_overrides(['train.lr=0.1']); print(first, 'hydra' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False True\n"
