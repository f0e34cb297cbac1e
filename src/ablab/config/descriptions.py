"""What the settings of a configuration mean: the docstrings below their declarations.

pydantic can collect them (``use_attribute_docstrings``), but it does so while a class is defined,
which takes a fifth of the time of ``import ablab.experiments``. Few commands show them.
"""

import ast
import inspect
import textwrap
from itertools import pairwise

from ablab.config.base import Config


def field_descriptions(cls: type[Config]) -> dict[str, str]:
    """The description of each field, in their order; empty where there is none.

    A class inherits the descriptions of its bases, except for fields that it declares anew. The
    ``description`` of a ``pydantic.Field`` takes precedence.
    """
    written: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if issubclass(base, Config):
            found = _attribute_docstrings(base)
            written |= {name: found.get(name, "") for name in inspect.get_annotations(base)}
    return {
        name: field.description or written.get(name, "") for name, field in cls.model_fields.items()
    }


def _attribute_docstrings(cls: type) -> dict[str, str]:
    """The strings that directly follow the annotated attributes of a class, by attribute."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):  # without a file, such as in an interactive session
        return {}
    (definition,) = tree.body
    assert isinstance(definition, ast.ClassDef), "the source of a class"
    found = {}
    for declaration, after in pairwise(definition.body):
        match declaration, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = inspect.cleandoc(text)
    return found
