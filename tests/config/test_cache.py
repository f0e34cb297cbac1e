import os
from pathlib import Path

import platformdirs
import pytest

from ablab.config.cache import cache_folder, default_cache_folder
from ablab.execute.speeds import Speeds, persist_compiled_programs
from ablab.tasks.corpora import downloaded_path


def test_the_environment_says_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("ABLAB_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    assert default_cache_folder() == Path(platformdirs.user_cache_dir("ablab"))
    monkeypatch.setenv("ABLAB_CACHE", "~/elsewhere")
    assert cache_folder() == Path.home() / "elsewhere"


@pytest.mark.parametrize("environment", [{}, {"ABLAB_CACHE": ""}])
def test_without_it_the_cache_is_the_users(monkeypatch, environment):
    monkeypatch.delenv("ABLAB_CACHE")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(platformdirs.user_cache_dir("ablab"))


def test_everything_that_is_cached_is_below_it(tmp_path, monkeypatch):
    monkeypatch.setenv("ABLAB_CACHE", str(tmp_path))
    monkeypatch.setitem(os.environ, "TORCHINDUCTOR_CACHE_DIR", "")
    del os.environ["TORCHINDUCTOR_CACHE_DIR"]
    Speeds().save()
    assert {path.name.partition("-")[0] for path in tmp_path.iterdir()} == {"speeds"}
    persist_compiled_programs()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "compiled")
    assert downloaded_path("tinyshakespeare") == tmp_path / "data" / "tinyshakespeare.txt"
