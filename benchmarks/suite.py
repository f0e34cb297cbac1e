"""The size of the test suite, to compare before and after a change: tests, assertions, seconds.

``python benchmarks/suite.py [PATH …] [--junit FILE]`` counts test functions and written assertions
in modules under the paths, by default all of ``tests``. Assertions are ``assert`` statements,
``pytest.raises``, ``pytest.warns`` and ``pytest.fail``, and calls of ``assert_…`` functions, as in
``numpy.testing``. With a report of ``pytest --junit-xml FILE`` it also prints how many tests ran,
each set of parameters for itself, and the slowest tests and modules.
"""

import argparse
import ast
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

_PYTEST = {"raises", "warns", "fail", "deprecated_call"}


def count(source: str) -> Counter[str]:
    """Tests and assertions of a module."""
    found: Counter[str] = Counter()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            found["tests"] += 1
        elif isinstance(node, ast.Assert):
            found["assert"] += 1
        elif isinstance(node, ast.Call):
            found[_kind(node.func)] += 1
    del found[""]
    return found


def _kind(function: ast.expr) -> str:
    """What sort of assertion a call is; empty where it is none."""
    name = ast.unparse(function)
    owner, _, last = name.rpartition(".")
    if owner == "pytest" and last in _PYTEST:
        return f"pytest.{last}"
    if last.startswith("assert_"):
        return f"{owner or 'module'}.assert_*" if "testing" in owner else "assert_*()"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, default=[Path("tests")])
    parser.add_argument("--junit", type=Path, help="a report of pytest --junit-xml")
    parser.add_argument("--slowest", type=int, default=10)
    given = parser.parse_args()
    files = [file for path in given.paths for file in sorted(path.rglob("*.py")) or [path]]
    total = sum((count(file.read_text(encoding="utf-8")) for file in files), Counter())
    tests = total.pop("tests")
    print(f"{len(files)} modules, {tests} test functions, {sum(total.values())} assertions")
    for kind, number in total.most_common():
        print(f"  {number:5} {kind}")
    if given.junit:
        report(given.junit, given.slowest)


def report(junit: Path, slowest: int) -> None:
    """Prints what ran, and the slowest tests and modules."""
    cases = list(ET.parse(junit).getroot().iter("testcase"))
    skipped = sum(case.find("skipped") is not None for case in cases)
    modules: Counter[str] = Counter()
    for case in cases:
        modules[case.get("classname", "")] += float(case.get("time", 0))
    print(f"{len(cases)} tests ran or were skipped ({skipped}), {sum(modules.values()):.0f} s")
    by_time = sorted(cases, key=lambda case: -float(case.get("time", 0)))
    for case in by_time[:slowest]:
        print(f"  {float(case.get('time', 0)):6.1f} s  {case.get('classname')}::{case.get('name')}")
    print("modules")
    for name, seconds in modules.most_common(slowest):
        print(f"  {seconds:6.1f} s  {name}")


if __name__ == "__main__":
    main()
