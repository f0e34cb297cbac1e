import hashlib
import importlib
import sys
import threading

import pytest

from ablab.config import InputError, Registry, load_object, source_digest


def test_names_are_found_by_the_place_of_their_modules():
    registry = Registry("task", "ablab.tasks", suffix="_config")
    assert registry.names() == []  # the shipped tasks have registered with their own registry
    registry.register("mine")(int)
    assert registry.find("mine", "task.kind") is int


def test_two_components_cannot_share_a_name():
    registry = Registry("thing", "ablab.tasks", suffix="_none")
    registry.register("a")(int)
    with pytest.raises(ValueError, match="two things"):
        registry.register("a")(str)


def test_an_unknown_name_suggests_the_nearest():
    registry = Registry("thing", "ablab.tasks", suffix="_none")
    registry.register("cosine")(int)
    with pytest.raises(InputError) as caught:
        registry.find("cosin", "x.kind")
    assert caught.value.problems[0].suggestion == "cosine"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (":", "not an import path"),
        ("math:", "not an import path"),
        ("no_such_module:x", "cannot import"),
        ("math:sqrtt", "has no 'sqrtt'"),
        (".x:Thing", "not an import path"),
    ],
)
def test_bad_import_paths_are_named(path, message):
    with pytest.raises(InputError, match=message):
        load_object(path, "model.kind")


def test_the_working_directory_is_searched_for_users_modules(tmp_path, monkeypatch):
    (tmp_path / "my_component.py").write_text("class Thing: pass\n")
    monkeypatch.chdir(tmp_path)
    thing = load_object("my_component:Thing", "model.kind")
    expected = hashlib.sha256((tmp_path / "my_component.py").read_bytes()).hexdigest()
    assert source_digest(thing).former == expected, "by this, earlier releases knew it"
    assert [file.module for file in source_digest(thing).files] == ["my_component"]
    del sys.modules["my_component"]


def test_a_users_module_that_raises_is_an_error_about_it(tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="ZeroDivisionError"):
        load_object("broken_module:Thing", "task.kind")


def test_threads_that_ask_at_once_all_find_it(tmp_path, monkeypatch):
    package = tmp_path / "slow_things"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from ablab.config import Registry\n"
        "THINGS = Registry('thing', 'slow_things', suffix='_config')\n"
    )
    (package / "one_config.py").write_text(
        "import time\ntime.sleep(0.2)\n"
        "from slow_things import THINGS\nTHINGS.register('one')(int)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    things = importlib.import_module("slow_things").THINGS
    found = []
    threads = [threading.Thread(target=lambda: found.append(things.names())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [["one"]] * 4
