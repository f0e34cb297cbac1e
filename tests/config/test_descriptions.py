import subprocess
import sys

from pydantic import Field

from ablab.config import Config, field_descriptions


class Base(Config):
    """Has a docstring of its own, which describes no field."""

    width: int = 1
    """How wide
    it is."""

    depth: int = 2
    """How deep it is."""

    bare: int = 3

    named: int = Field(4, description="What the field says.")
    """What stands below."""

    def method(self) -> int:
        inner: int = 5
        """Not a field."""
        return inner


class Derived(Base):
    depth: int = 3

    extra: str = ""
    """Its own."""


def test_descriptions_are_the_strings_below_the_fields():
    assert field_descriptions(Base) == {
        "width": "How wide\nit is.",
        "depth": "How deep it is.",
        "bare": "",
        "named": "What the field says.",
    }


def test_fields_inherit_their_descriptions_unless_they_are_declared_anew():
    assert field_descriptions(Derived) == field_descriptions(Base) | {
        "depth": "",
        "extra": "Its own.",
    }


def test_a_class_in_a_function_has_them_and_one_without_a_file_has_none():
    class Inside(Config):
        width: int = 1
        """How wide it is."""

    assert field_descriptions(Inside) == {"width": "How wide it is."}
    namespace = {"Config": Config, "__name__": "nowhere"}
    exec("class Typed(Config):\n    width: int = 1\n    'How wide it is.'", namespace)
    assert field_descriptions(namespace["Typed"]) == {"width": ""}


def test_defining_a_configuration_does_not_parse_its_source():
    code = (
        "import ast, inspect\n"
        "def fail(*_): raise AssertionError\n"
        "inspect.getsource = inspect.findsource = ast.parse = fail\n"
        "import ablab.config\n"
        "class Mine(ablab.config.Config):\n    width: int = 1\n    'How wide it is.'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
