"""Generated pages: those in the repository are today's. YAML on pages can be read."""

import importlib.util
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ablab.read.documents import DOCUMENTS, schema_text

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), DOCS.parent / "README.md"]


def test_the_page_of_settings_is_todays():
    spec = importlib.util.spec_from_file_location("settings_page", DOCS / "settings_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (DOCS / "settings.md").read_text() == module.settings_page(), "run make docs"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_schemas_are_todays(name):
    text = (DOCS / "schemas" / f"{name}.json").read_text(encoding="utf-8")
    assert text == schema_text(name), "run make docs"


def test_the_page_of_logbooks_has_what_is_written_by_hand():
    page = (DOCS / "logbooks.md").read_text()
    found = sorted((DOCS / "logbooks").glob("FINDINGS*.md"))
    assert len(found) == 7
    for each in found:
        assert each.read_text().strip() in page, f"{each.name} is newer than docs/logbooks.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS.parent)))
def test_yaml_on_pages_can_be_read(page):
    for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        for document in YAML(typ="safe").load_all(block):
            assert document is not None
