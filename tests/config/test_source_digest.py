import hashlib
import sys

import pytest

from ablab.config import InputError, component_source, load_object, source_digest
from ablab.config.source_digest import check_sources

PARTIAL = "import functools\ndef rms(x, eps): return x\nnorm = functools.partial(rms, eps=1e-5)\n"
CALLABLE = (
    "class Scale:\n    def __init__(self, by): self.by = by\n"
    "    def __call__(self, x): return x * self.by\nnorm = Scale(2.0)\n"
)


def source(path="mine:norm"):
    return component_source(path, "model.norm")


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        (PARTIAL, "return x", "return x + eps"),
        (PARTIAL, "eps=1e-5", "eps=1e-6"),
        (CALLABLE, "return x * self.by", "return x"),
        (CALLABLE, "Scale(2.0)", "Scale(3.0)"),
    ],
)
def test_editing_what_a_callable_object_does_changes_its_digest(folder, text, old, new):
    folder.write(mine=text)
    before = source()
    folder.write(mine=text.replace(old, new))
    assert source() != before


def test_the_digest_of_a_partial_was_one_of_functools(folder):
    folder.write(mine=PARTIAL)
    assert source().former is None, "it says nothing about the user's code"
    folder.write(mine=CALLABLE)
    expected = hashlib.sha256((folder.path / "mine.py").read_bytes()).hexdigest()
    assert source().former == expected


@pytest.mark.parametrize(
    ("imports", "beside"),
    [
        ("import helper", "helper.py"),
        ("from helper import x", "helper.py"),
        ("import pkg.inner", "pkg/inner.py"),
        ("from pkg import inner", "pkg/inner.py"),
        ("from pkg.inner import *", "pkg/inner.py"),
        ("import pkg.inner as other", "pkg/__init__.py"),
        ("def norm(): import helper", "helper.py"),
    ],
)
def test_what_a_module_imports_from_beside_it_counts(folder, imports, beside):
    folder.write({"helper.py": "x = 1\n", "pkg/__init__.py": "", "pkg/inner.py": "x = 1\n"})
    folder.write(mine=f"{imports}\ndef norm(): return 1\n")
    before = source()
    folder.write({beside: "x = 2\n"})
    assert source() != before
    folder.write({beside: "x = 2  # why\n"})
    again = source()
    folder.write(unrelated="x = 1\n")
    assert source() == again


def test_relative_and_indirect_imports_count(folder):
    folder.write(
        {
            "pkg/__init__.py": "",
            "pkg/far.py": "y = 1\n",
            "pkg/near.py": "from .far import y\n",
            "pkg/mine.py": "from . import near\ndef norm(): return near.y\n",
        }
    )
    before = source("pkg.mine:norm")
    assert [file.module for file in before.files] == ["pkg", "pkg.far", "pkg.mine", "pkg.near"]
    folder.write({"pkg/far.py": "y = 2\n"})
    assert source("pkg.mine:norm") != before


def test_installed_modules_the_standard_library_and_ablab_do_not_count(folder):
    text = "import json, torch, click\nfrom ablab.model.base import Model\ndef norm(): pass\n"
    folder.write(mine=text, json="x = 1\n")
    assert [file.module for file in source().files] == ["mine"]
    own = component_source("torch.nn:Softplus", "model.mlp.activation")
    assert [file.module for file in own.files] == ["torch.nn.modules.activation"]
    recipe = component_source("ablab.recipes.attention_bugs:RMSNormWithoutDim", "model")
    assert [file.module for file in recipe.files] == ["ablab.recipes.attention_bugs"]


def test_modules_that_import_each_other_end(folder):
    folder.write(mine="import helper\ndef norm(): pass\n", helper="import mine\n")
    assert [file.module for file in source().files] == ["helper", "mine"]


def test_a_digest_depends_on_which_file_has_which_code(folder):
    folder.write(mine="import a, b\ndef norm(): pass\n", a="x = 1\n", b="x = 2\n")
    before = source()
    folder.write(a="x = 2\n", b="x = 1\n")
    assert source() != before


def test_code_that_was_edited_after_its_import_is_refused(folder):
    folder.write(mine="def norm(): return 1\n")
    before = source()
    (folder.path / "mine.py").write_text("def norm(): return 1  # why\n")
    check_sources([source()])
    (folder.path / "mine.py").write_text("def norm(): return 2\n")
    assert source() == before, "it is still the code that would run"
    with pytest.raises(InputError, match=r"mine\.py has changed since it was imported"):
        check_sources([source()])
    del sys.modules["mine"]
    check_sources([source()])
    assert source() != before


def test_what_has_no_source_is_a_clear_error():
    with pytest.raises(InputError, match="needed to identify its runs"):
        source_digest(load_object("sys:intern", "model.norm"))
