import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablab.tasks.polynomial import canonical, evaluate, parse_polynomial

LEAVES = st.sampled_from(["a", "b", "0", "3", "17", "(-2)"])
POLYNOMIALS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]}{t[1]} {t[2]})"),
        inner.map(lambda text: f"-({text})"),
        st.tuples(inner, st.integers(0, 5)).map(lambda t: f"({t[0]})**{t[1]}"),
    ),
    max_leaves=8,
)


@given(
    text=POLYNOMIALS.filter(lambda text: len(text) <= 200),
    p=st.integers(2, 1000),
    a=st.integers(0, 999),
    b=st.integers(0, 999),
)
def test_values_are_those_of_whole_numbers(text, p, a, b):
    a, b = a % p, b % p
    expected = eval(text, {"__builtins__": {}}, {"a": a, "b": b}) % p  # made above, of no user
    found = evaluate(parse_polynomial(text), np.array([a]), np.array([b]), p)
    assert found.tolist() == [expected]
    again = evaluate(parse_polynomial(canonical(text)), np.array([a]), np.array([b]), p)
    assert again.tolist() == [expected]


@given(
    text=st.one_of(
        st.text(),
        st.text(alphabet="ab0123456789+-*() ._/[]{}'\",:=lmdfxnriots\n"),
        st.lists(st.sampled_from(["a", "b", "**", "(", ")", "-", "2", " ", "0b1"])).map("".join),
    )
)
def test_anything_else_is_refused_and_nothing_is_run(text):
    try:
        tree = parse_polynomial(text)
    except ValueError as error:
        assert str(error)
        return
    assert set(text) <= set("ab0123456789+-*() ")
    numbers = np.arange(7)
    values = evaluate(tree, numbers, numbers[::-1], 7)
    assert ((values >= 0) & (values < 7)).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a/b", "'/' is not allowed in an operation; expected a polynomial in a and b"),
        ("x+1", "'x' is not allowed"),
        ("__import__('os')", "'_' is not allowed"),
        ("a+", "cannot be parsed"),
        ("", "cannot be parsed"),
        ("ab", "'ab' is neither a nor b"),
        ("a(b)", r"'a\(b\)' is not allowed"),
        ("()", "is not allowed"),
        ("a**b", "an exponent must be a number from 0 to 64"),
        ("a**-1", "an exponent must be a number from 0 to 64"),
        ("a**65", "exponent 65 is above 64"),
        ("a+" * 100 + "a", "at most 200 characters"),
        ("(" * 100 + ")" * 100, "expected a polynomial"),
        ("a\n+b", "is not allowed in an operation"),
    ],
)
def test_errors_say_what_is_wrong(text, message):
    with pytest.raises(ValueError, match=message):
        parse_polynomial(text)


def test_an_operation_has_one_way_to_be_written():
    assert canonical(" (a) +b*1 ") == canonical("a+(b * 1)") == "a + b * 1"
    assert canonical("a-(b-a)") != canonical("a-b-a")
