"""The digest of Python source: its syntax tree, without comments, docstrings and formatting.

The serialisation is ablab's own, because ``ast.dump`` and some trees differ between releases of
Python. It uses the standard library only, so that any interpreter can run this file. What it
leaves out of a tree never changes what the code does:

- fields that are absent or empty (releases add fields, such as ``type_params``), the context of a
  name (load or store, which its place implies), type comments and the prefix ``u`` of a string;
- statements that are only a string: docstrings, and those after an attribute;
- how the parts of an f-string are split into constants, and empty format specifications.
"""

import ast
import hashlib
from collections.abc import Iterator
from typing import Any

_LEFT_OUT = ("ctx", "type_comment", "type_ignores", "kind")


def syntax_digest(source: bytes) -> str:
    """SHA-256 of the syntax tree of a Python file (hexadecimal); of its bytes if it has none.

    Args:
        source: The content of the file.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return hashlib.sha256(b"bytes\n" + source).hexdigest()
    digest = hashlib.sha256(b"syntax 1\n")
    for token in _tokens(tree):
        digest.update(token.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _tokens(tree: ast.AST) -> Iterator[str]:
    """The tokens of a tree, in an order that depends on nothing but the tree."""
    waiting: list[Any] = [tree]  # not recursive: a long sum is a deep tree
    while waiting:
        node = waiting.pop()
        if isinstance(node, _Token):
            yield node
        elif isinstance(node, ast.AST):
            waiting += reversed([_Token(f"({type(node).__name__}"), *_fields(node), _Token(")")])
        elif isinstance(node, list):
            waiting += reversed([_Token("["), *node, _Token("]")])
        else:
            yield _constant(node)


class _Token(str):
    """Text that is written as it is."""


def _fields(node: ast.AST) -> Iterator[Any]:
    """The names and values of the fields that count, sorted by name."""
    for name in sorted(node._fields):
        value = getattr(node, name, None)
        if name in _LEFT_OUT:
            continue
        if name in ("body", "orelse", "finalbody") and isinstance(value, list):
            value = [each for each in value if not _is_text(each)]
            if name == "body" and not value:
                value = [ast.Pass()]
        if isinstance(node, ast.JoinedStr):
            value = _joined(node.values)
        empty_format = name == "format_spec" and value is not None and not _joined(value.values)
        nothing = value is None and not isinstance(node, ast.Constant | ast.MatchSingleton)
        if nothing or value == [] or empty_format:
            continue
        yield _Token(f" {name}=")
        yield value


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a string that nothing uses."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _joined(parts: list[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string, with neighbouring constants joined and empty ones dropped."""
    found: list[ast.expr] = []
    for part in parts:
        last = found[-1] if found else None
        if isinstance(part, ast.Constant) and isinstance(last, ast.Constant):
            found[-1] = ast.Constant(str(last.value) + str(part.value))
        elif not isinstance(part, ast.Constant) or part.value:
            found.append(part)
    return found


def _constant(value: Any) -> str:
    """A constant, exactly and with its type."""
    if isinstance(value, bool) or value is None or value is ...:
        return f"<{value}>"
    if isinstance(value, str):
        return f"<str {len(value)} {value}>"
    if isinstance(value, bytes):
        return f"<bytes {value.hex()}>"
    if isinstance(value, int):
        return f"<int {value:x}>"
    if isinstance(value, float):
        return f"<float {value.hex()}>"
    return f"<complex {value.real.hex()} {value.imag.hex()}>"
