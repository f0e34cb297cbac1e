import ast
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ablab.config import syntax
from ablab.config.syntax import syntax_digest

FIXTURE = Path(__file__).parent / "fixtures" / "every_node.py.txt"
# Under Python 3.11, 3.12 and 3.13. If this changes, every run of a user's code is trained anew.
RECORDED = "7ccc35d91b04693f0866d3e6388c4e565484918b2dba06409c19d5721ce5cfcd"

CODE = b"""
def f(a, b=1):
    return f"{a}{b:>3}" + "text"
class C:
    x: int = 1
"""


def test_the_digest_of_every_kind_of_syntax_is_the_recorded_one():
    source = FIXTURE.read_bytes()
    tree = ast.parse(source)  # not the digest of its bytes
    found = {type(node) for node in ast.walk(tree)}
    every = {
        kind
        for kind in vars(ast).values()
        if isinstance(kind, type) and issubclass(kind, ast.stmt | ast.expr | ast.pattern)
    }
    newer = {"TypeAlias", "TemplateStr", "Interpolation"}  # than the oldest Python
    old = {"Num", "Str", "Bytes", "NameConstant", "Ellipsis"}  # in no tree any more
    bases = {"stmt", "expr", "pattern"}
    assert {kind.__name__ for kind in every - found} <= newer | old | bases
    assert syntax_digest(source) == RECORDED


def _python(minor):
    """A Python of this version that starts: on the path, or one that pyenv has installed."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [shutil.which(f"python3.{minor}"), *sorted(pyenv.glob(f"3.{minor}.*/bin/python"))]
    for each in found:
        if each and not subprocess.run([each, "-c", ""], capture_output=True).returncode:
            return str(each)
    return None


@pytest.mark.parametrize("minor", [11, 12, 13, 14])
def test_another_python_gives_the_same_digest(minor):
    program = (
        "import runpy, sys; found = runpy.run_path(sys.argv[1]); "
        "print(found['syntax_digest'](open(sys.argv[2], 'rb').read()))"
    )
    python = _python(minor)
    if python is None:
        pytest.skip(f"there is no Python 3.{minor} on the path or among pyenv's")
    command = [python, "-c", program, str(syntax.__file__), str(FIXTURE)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == RECORDED


@pytest.mark.parametrize(
    "same",
    [
        CODE.replace(b"def f", b"# a comment\n\n\ndef f"),
        CODE.replace(b"return f", b"'''A docstring.'''\n    return f"),
        CODE.replace(b"x: int = 1", b'"""Doc."""\n    x: int = 1\n    """About x."""'),
        b'"""A docstring."""' + CODE,
        CODE.replace(b"(a, b=1)", b"(\n    a,\n    b = 0x1,\n)"),
        CODE.replace(b'"text"', b"('te' \"xt\")"),
        CODE.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + CODE,
    ],
)
def test_comments_docstrings_and_formatting_do_not_count(same):
    assert syntax_digest(same) == syntax_digest(CODE)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"b=1", b"b=True"),
        (b"b=1", b"b=1.0"),
        (b"b=1", b"b=2"),
        (b"b=1", b"*, b=1"),
        (b"a, b", b"a, /, b"),
        (b"+", b"-"),
        (b">3", b">4"),
        (b"text", b"test"),
        (b'"text"', b'b"text"'),
        (b"x: int", b"y: int"),
        (b"{a}{b", b"{a!r}{b"),
        (b"class C:", b"class C(D):"),
        (b"def f", b"@g\ndef f"),
        (b"def f", b"async def f"),
        (b"return f", b"yield f"),
    ],
)
def test_whatever_changes_the_code_counts(before, after):
    assert before in CODE
    assert syntax_digest(CODE.replace(before, after)) != syntax_digest(CODE)


def test_numbers_and_texts_count_exactly():
    sources = [
        b"0.1",
        b"0.1000000000000001",
        b"'1'",
        b"b'1'",
        b"1",
        b"1j",
        b"None",
        b"...",
        b"-0.0",
    ]
    assert len({syntax_digest(b"x = " + each) for each in sources}) == len(sources)
    assert syntax_digest(b"x = ''") != syntax_digest(b"x = 0")
    assert syntax_digest(b"f('a>', 'b')") != syntax_digest(b"f('a', '>b')")


def test_an_else_of_another_statement_counts():
    inner = b"for i in x:\n  if i:\n    a\n  else:\n    b\n"
    outer = b"for i in x:\n  if i:\n    a\nelse:\n    b\n"
    assert syntax_digest(inner) != syntax_digest(outer)


def test_long_sums_and_files_that_are_not_python():
    long = b"x = " + b" + ".join([b"a"] * 900)
    assert syntax_digest(long) != syntax_digest(long + b" + a")
    assert syntax_digest(b"x = (") != syntax_digest(b"x = ((")
