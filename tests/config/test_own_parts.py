"""Checks of the parts that users write, and their import paths."""

import functools
import importlib.util
import runpy
from abc import ABC, abstractmethod

import pytest

from ablab.config import InputError
from ablab.config.own_parts import check_arguments, check_members, has_argument, import_path


class Base(ABC):
    @abstractmethod
    def documented(self, tokens):
        """What it does.

        And more.
        """

    @abstractmethod
    def plain(self, a, *rest): ...

    @property
    @abstractmethod
    def size(self):
        """The size."""

    @classmethod
    @abstractmethod
    def made(cls, path):
        """Reads one."""

    @staticmethod
    @abstractmethod
    def helper(x): ...


class Part(Base):
    def documented(self, tokens): ...


class Whole:
    pass


LAMBDAS = [lambda: 0]


def part(step):
    return step


def test_all_that_is_missing_is_told_with_the_lines_to_add():
    with pytest.raises(InputError) as caught:
        check_members(Part, "mymod:Part", "task.kind")
    (problem,) = caught.value.problems
    assert problem.message == "task.kind: mymod:Part lacks helper, made, plain, size"
    assert problem.lines == (
        "class Part(…):",
        "    @staticmethod",
        "    def helper(x): ...",
        "    @classmethod",
        "    def made(cls, path): ...  # Reads one.",
        "    def plain(self, a, rest): ...",
        "    @property",
        "    def size(self): ...  # The size.",
    )
    check_members(Whole, "mymod:Whole", "task.kind")
    check_members(part, "mymod:part", "task.kind")


def test_arguments_are_checked_in_their_order():
    check_arguments(part, ["step"], "mymod:part", "train.schedule")
    check_arguments(max, ["a", "b"], "builtins:max", "train.schedule")
    with pytest.raises(InputError, match=r"cannot be called with step, total \(") as caught:
        check_arguments(part, ["step", "total"], "m:part", "train.schedule", "def part(a, b): ...")
    assert caught.value.problems[0].lines == ("def part(a, b): ...",)
    assert has_argument(part, "step")
    assert not has_argument(part, "total")


def test_what_can_be_imported_has_a_path():
    assert import_path(part) == f"{__name__}:part"
    assert import_path(Whole) == f"{__name__}:Whole"


def test_what_cannot_be_imported_is_told_with_the_reason(tmp_path):
    def inner(): ...

    @functools.wraps(part)
    def wrapper(): ...

    path = tmp_path / "nowhere.py"
    path.write_text("def part(): ...")
    spec = importlib.util.spec_from_file_location("nowhere_at_all", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    ran = runpy.run_path(str(path), run_name="ran_somewhere")["part"]
    Lost = type("Lost", (), {"__module__": __name__})
    for component, reason in (
        (LAMBDAS[0], "a lambda has no name"),
        (inner, "it is defined inside a function or class"),
        (wrapper, f"{__name__} has another part"),
        (Lost, f"{__name__} has no Lost"),
        (module.part, "the module nowhere_at_all cannot be imported (ModuleNotFoundError: "),
        (ran, "the module ran_somewhere cannot be imported (ModuleNotFoundError: "),
    ):
        with pytest.raises(InputError) as caught:
            import_path(component)
        assert f"cannot be imported by other processes: {reason}" in str(caught.value)
