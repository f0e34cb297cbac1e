import io

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

import ablab
from ablab.config import InputError
from ablab.experiments.unquoted_calls import load_calls


def load(text):
    return YAML(typ="safe").load(text)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("{a: geomspace(1e-4, 1e-2, 8)}", {"a": "geomspace(1e-4, 1e-2, 8)"}),
        (
            "{a: uniform(0, 1, 8), b: uniform(0, 1, 8), c: 3}",
            {"a": "uniform(0, 1, 8)", "b": "uniform(0, 1, 8)", "c": 3},
        ),
        ("a: {n: 4, over: {b: uniform(0, 1)}}", {"a": {"n": 4, "over": {"b": "uniform(0, 1)"}}}),
        ("[uniform(0, 1, 2), 3]", ["uniform(0, 1, 2)", 3]),
        ("a: uniform(0, 1, 2)", {"a": "uniform(0, 1, 2)"}),
        ("{a: 'uniform(0, 1, 2)'}", {"a": "uniform(0, 1, 2)"}),
        ('{a: "x: uniform(0, 1), y"}', {"a": "x: uniform(0, 1), y"}),
        ("a: |\n  see {uniform(0, 1)}\n", {"a": "see {uniform(0, 1)}\n"}),
        ("{a: log(10)}", {"a": "log(10)"}),
        # Other text stays as it is beside a call.
        (
            "question: Is x, f(1, 2), good?\na: {b: uniform(0, 1)}",
            {"question": "Is x, f(1, 2), good?", "a": {"b": "uniform(0, 1)"}},
        ),
        (
            "a: |\n  see {f(1, 2)}, g\nb: [uniform(0, 1), 2]",
            {"a": "see {f(1, 2)}, g\n", "b": ["uniform(0, 1)", 2]},
        ),
        (
            'a: "Does it depend on [f(1, 2)]?"\nb: {c: uniform(0, 1)}',
            {"a": "Does it depend on [f(1, 2)]?", "b": {"c": "uniform(0, 1)"}},
        ),
        (
            "{a: 'of [f(1, 2), x]', b: uniform(0, 1, 2)} # [f(1, 2)]",
            {"a": "of [f(1, 2), x]", "b": "uniform(0, 1, 2)"},
        ),
        ("- x\n- see f(1, 2)\n- [see f(1, 2)]", ["x", "see f(1, 2)", ["see f(1", "2)"]]),
        ("\ufeffa: {b: uniform(0, 1)}", {"a": {"b": "uniform(0, 1)"}}),
        ("{a: uniform(0, 1, 2)  # two\n}", {"a": "uniform(0, 1, 2)"}),
        (
            "{a: uniform(0, 1, 2) # two\n  # more, f(1, 2)\n , b: 1}",
            {"a": "uniform(0, 1, 2)", "b": 1},
        ),
        ("{a: uniform(0,\n  1, 2), b: 1}", {"a": "uniform(0, 1, 2)", "b": 1}),
        ("[uniform(\r\n  0, 1,\r\n  2\r\n), 3]", ["uniform( 0, 1, 2 )", 3]),
        ("{é: 1, b: uniform(0, 1)}\r\n", {"é": 1, "b": "uniform(0, 1)"}),
    ],
)
def test_calls_in_flow_style_are_values(text, tree):
    assert load_calls(text, load) == tree


VALUES = st.text("f1,:{}# '", max_size=9) | st.sampled_from(["f(1, 2)", "x: f(1, 2), y", "f()"])


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), VALUES, max_size=4))
def test_what_is_written_by_a_library_is_read_as_it_is(tree):
    file = io.StringIO()
    YAML(typ="safe").dump(tree, file)
    try:
        assert load(file.getvalue()) == tree
    except YAMLError:  # ruamel.yaml itself cannot read {a: : 1}, which it wrote
        reject()
    assert load_calls(file.getvalue(), load) == tree


def test_a_file_in_flow_style(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "task: {kind: addition}\n"
        "grid:\n"
        "  sobol: {n: 4, over: {train.lr: loguniform(1e-4, 1e-2), train.eps: [1e-8, 1e-6]}}\n"
    )
    assert len(ablab.experiment(path).variants) == 4
    path.write_text("task: {kind: addition}\ngrid: {train.lr: geomspace(1e-2, 1e-4, 3)}\n")
    with pytest.raises(InputError, match="lo < hi") as caught:
        ablab.experiment(path)
    assert caught.value.problems[0].source == f"{path}, line 2"


def test_comments_after_a_call_take_no_time():
    lines = ["train.lr: loguniform(1e-4, 1e-2, 4)"]
    lines += ["# train.momentum: 0.1  # slower # and # slower"] * 40
    text = "\n".join(lines)
    assert load_calls(text, YAML(typ="safe", pure=True).load) == {
        "train.lr": "loguniform(1e-4, 1e-2, 4)"
    }
